"""Measures of kept cases that no feature of the service takes: landmarks, finer pictures, raw inversion.

A row of `bench.measure_cases` keeps its latents, from which normalized face and raw inversion are drawn anew.
What is measured here are the figures that `bench.feature_study` asks for what they would add to a score.
Resumable; run several side by side with --share.

    python -m bench.further_measures --photos DIR --rows out/validation --output out/further
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from bench.judge_again import add_rows_arguments, face_of, share_of_rows
from bench.validation_rows import claim_folder, setup_of
from models.allocator import keep_freed_memory
from models.catalog import GENERATOR
from models.generator import Generator, load_generator
from models.lpips import Lpips, load_metric
from pipeline.face import FaceFinder, load_face_finder
from pipeline.features import FEATURE_SIDE, to_picture, to_tensor
from pipeline.locating import AlignedFace
from pipeline.objective import resized

FINE_SIDE = 512
"""Side, in pixels, of the pictures on which the metric is tried beside `FEATURE_SIDE`."""

MAP_SIDE = 64
_CANDIDATES = 2  # of five: the figures hardly differ between them
_FIT_SIDE = 640
_FITS = 6  # times four of the 27 boxes


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--output", type=Path, default=Path("out/further"))
    add_rows_arguments(arguments)
    options = arguments.parse_args()
    keep_freed_memory()
    device = torch.device("cpu")
    generator, metric, finder = load_generator(GENERATOR, device), load_metric(device), load_face_finder()
    claim_folder(options.output, setup_of(options.rows))
    paths = share_of_rows(options)
    kept = {path: options.output / f"{path.stem}.safetensors" for path in paths}
    for path in track([p for p in paths if not kept[p].exists()], "measuring"):
        row = json.loads(path.read_text("utf-8"))
        if "features" not in row:
            continue
        face = face_of(row, path, generator, options)
        latents = load_file(path.with_suffix(".safetensors"))
        part = kept[path].with_suffix(".part")
        save_file(measured(face, latents, generator, metric, finder), part)
        part.rename(kept[path])


@torch.no_grad()
def measured(
    face: AlignedFace, latents: dict[str, Tensor], generator: Generator, metric: Lpips, finder: FaceFinder
) -> dict[str, Tensor]:
    """Return what is measured of a face, its normalized pictures and its raw inversion.

    `landmarks`: (P, 68, 2) in px of the frame, of the photograph, the raw inversion and the normalized
    pictures. `maps_256`, `maps_512`: (P - 1, MAP_SIDE, MAP_SIDE), local LPIPS of the photograph with each of
    the others, on pictures of that side. `distances_256`, `distances_512`: (P - 1,), masked LPIPS. `beyond`:
    (P - 2, MAP_SIDE, MAP_SIDE), of the raw inversion with the normalized pictures. `mask`: (MAP_SIDE,
    MAP_SIDE).
    """
    w = torch.cat([latents["w_raw"].float().reshape(1, -1), latents["w_norm"].float()[:_CANDIDATES]])
    drawn = torch.cat([generator.network.synthesis(one[None]).clamp(-1, 1) for one in w])
    mask = torch.from_numpy(face.mask)[None, None]
    seen = torch.cat([to_tensor(face.picture, mask.device)[None], drawn])
    found: dict[str, Tensor] = {
        "landmarks": torch.from_numpy(np.stack([landmarks_in(finder, one, face.landmarks) for one in seen])),
        "mask": functional.interpolate(mask, (MAP_SIDE,) * 2, mode="area")[0, 0],
    }
    for side in (FEATURE_SIDE, FINE_SIDE):
        inside = functional.interpolate(mask, (side,) * 2, mode="area")
        taps = metric.features(resized(seen, side) * inside)
        raw = [tap[:1] for tap in taps]
        others = [tap[1:] for tap in taps]
        found[f"distances_{side}"] = metric.distance(others, raw, metric.tap_weights(inside, raw))
        found[f"maps_{side}"] = metric.map(others, raw, MAP_SIDE)[:, 0]
        if side == FEATURE_SIDE:
            found |= judged(generator, metric, taps, resized(seen, side) * inside, inside)
            found["beyond"] = metric.map([t[2:] for t in taps], [t[1:2] for t in taps], MAP_SIDE)[:, 0]
    return {name: value.contiguous() for name, value in found.items()}


def judged(
    generator: Generator, metric: Lpips, taps: Sequence[Tensor], seen: Tensor, mask: Tensor
) -> dict[str, Tensor]:
    """Return what each member of the anomaly network says of the photograph beside each other picture.

    `judged`: (2, M, P - 1, 32, 32), as they are and as mirror images, turned back; `severity`: (2, M, P - 1).
    """
    if generator.anomaly_network is None:
        raise SystemExit(f"{generator.name} has no anomaly network")
    maps, severities, others = [], [], len(seen) - 1
    for turned in (False, True):
        pictures, inside = (seen.flip(-1), mask.flip(-1)) if turned else (seen, mask)
        features = metric.features(pictures) if turned else taps
        for member in generator.anomaly_network.network.members:
            answer = member(
                [tap[:1].expand(others, *tap.shape[1:]) for tap in features],
                [tap[1:] for tap in features],
                pictures[:1].expand(others, *pictures.shape[1:]),
                pictures[1:],
                inside.expand(others, *inside.shape[1:]),
            )
            maps.append(answer.map[:, 0].flip(-1) if turned else answer.map[:, 0])
            severities.append(answer.severity)
    members = len(maps) // 2
    return {
        "judged": torch.stack(maps).unflatten(0, (2, members)),
        "severity": torch.stack(severities).unflatten(0, (2, members)),
    }


def landmarks_in(finder: FaceFinder, picture: Tensor, near: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the landmarks, (68, 2) in px of the frame, of a picture (3, H, W) whose face is about there."""
    scale = _FIT_SIDE / picture.shape[-1]
    rgb = np.ascontiguousarray(to_picture(resized(picture[None], _FIT_SIDE)[0]))
    there = (near + 0.5) * scale - 0.5
    fits = [finder.fitted_near(rgb, there, seed) for seed in range(_FITS)]
    return (np.mean(fits, axis=0) + 0.5) / scale - 0.5


if __name__ == "__main__":
    main()
