"""A validation case as a picture: photograph taken, anomaly drawn at its severity, face aligned."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from bench.validation_cases import Case, photograph_of
from models.lpips import Lpips, load_metric
from pipeline.alignment import align
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.capture_variation import vary_capture
from pipeline.face import FaceFinder, load_face_finder
from pipeline.face_regions import region_labels
from pipeline.features import FEATURE_SIDE, to_tensor
from pipeline.locating import AlignedFace, locate_face
from pipeline.perceptual_severity import amplitude_for, perceptual_severity
from pipeline.photograph import read_photograph
from pipeline.region_shares import region_deviation
from pipeline.rejection import UnscorablePhotographError
from pipeline.stopwatch import Stopwatch

_CHOOSING_SIDE = 512  # the amplitude is chosen on a smaller picture


@dataclass(frozen=True, slots=True)
class CasePicture:
    """face: aligned as the node does it, None where none was found in the deformed photograph.

    severity: of what was drawn, on the common scale. regions: what the drawing changes in each, mean LPIPS.
    """

    face: AlignedFace | None
    severity: float
    regions: dict[str, float] = field(default_factory=dict)


def case_picture(case: Case, photos: Path | None, drawn: NDArray[np.uint8] | None) -> CasePicture:
    """Make the case's picture; drawn: the generated face, uint8 RGB, where it is not of --photos."""
    finder, metric = tools()
    rgb = (
        drawn
        if drawn is not None
        else read_photograph(photograph_of(photos or Path(), case.person, case.view))
    )
    if drawn is not None:
        rgb = vary_capture(rgb, float(np.random.default_rng(case.seed).uniform(0, 0.5)), case.seed)
    rgb = _retaken(rgb, case.view)
    original = located(finder, rgb)
    if original is None:
        return CasePicture(None, 0.0)
    if not case.kind:
        return CasePicture(original, 0.0)
    kind, landmarks = AnomalyKind(case.kind), original.alignment.to_photograph(original.landmarks)
    amplitude = drawing_amplitude(metric, original, kind, case)
    deformed = draw_anomaly(rgb, landmarks, kind, amplitude, case.seed)
    changed = align(deformed, original.alignment)
    distance, local = _change(metric, original.picture, changed, original.mask)
    regions = region_deviation(local, region_labels(original.landmarks, FEATURE_SIDE))
    return CasePicture(
        located(finder, deformed), perceptual_severity(distance), {str(r): v for r, v in regions.items()}
    )


def drawing_amplitude(metric: Lpips, face: AlignedFace, kind: AnomalyKind, case: Case) -> float:
    """Return the amplitude at which the kind has the case's severity on this face."""
    scale = _CHOOSING_SIDE / face.picture.shape[0]
    small = np.asarray(
        cv2.resize(face.picture, (_CHOOSING_SIDE,) * 2, interpolation=cv2.INTER_AREA), np.uint8
    )
    landmarks = (face.landmarks + 0.5) * scale - 0.5

    def distance_at(amplitude: float) -> float:
        changed = draw_anomaly(small, landmarks, kind, amplitude, case.seed)
        return _change(metric, small, changed, face.mask)[0]

    return amplitude_for(case.level, distance_at)


@torch.no_grad()
def _change(
    metric: Lpips, a: NDArray[np.uint8], b: NDArray[np.uint8], mask: NDArray[np.float32]
) -> tuple[float, NDArray[np.float32]]:
    """Return the masked LPIPS of two pictures, and its map (256, 256), 0 off the mask."""
    side, device = (FEATURE_SIDE,) * 2, torch.device("cpu")
    inside = torch.from_numpy(cv2.resize(mask, side, interpolation=cv2.INTER_AREA))[None, None]
    small = (np.asarray(cv2.resize(p, side, interpolation=cv2.INTER_AREA), np.uint8) for p in (a, b))
    one, other = (metric.features(to_tensor(p, device)[None] * inside) for p in small)
    distance = float(metric.distance(one, other, metric.tap_weights(inside, one))[0])
    local = metric.map(one, other, FEATURE_SIDE) * (inside > 0.5)
    return distance, np.asarray(local[0, 0].numpy(), dtype=np.float32)


def _retaken(rgb: NDArray[np.uint8], view: str) -> NDArray[np.uint8]:
    """Take the picture again in one of the ways of `RETAKES`."""
    if view == "recompressed":
        _, code = cv2.imencode(".jpg", rgb[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 40))
        return np.ascontiguousarray(np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])
    if view == "turned":
        rows, columns = rgb.shape[:2]
        matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), 4, 1)
        return np.asarray(
            cv2.warpAffine(
                rgb, matrix, (columns, rows), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
            ),
            np.uint8,
        )
    if view == "resized":
        return np.asarray(cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    if view == "relit":
        across = np.linspace(0.82, 1.12, rgb.shape[1], dtype=np.float32)[None, :, None]
        lit = np.power(rgb.astype(np.float32) / 255, 0.9) * across * np.array((1.04, 1.0, 0.95), np.float32)
        return np.clip(lit * 255 + 0.5, 0, 255).astype(np.uint8)
    return rgb


def located(finder: FaceFinder, rgb: NDArray[np.uint8]) -> AlignedFace | None:
    """Return the face as the node finds and aligns it, None where it would reject the photograph."""
    try:
        return locate_face(finder, rgb, Stopwatch())
    except UnscorablePhotographError:
        return None


@cache
def tools() -> tuple[FaceFinder, Lpips]:
    """Return the finder and the metric, loaded once a process."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    return load_face_finder(), load_metric(torch.device("cpu"))
