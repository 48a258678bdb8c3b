"""Faces whose landmarks are known though they are displaced: what `bench.train_landmarks` learns from.

On the faces of `bench.face_bank` free anomalies are drawn, then everything is moved smoothly and turned.
Where each landmark goes is known from the drawing. Beside it stands where a landmark model that follows a
part of the way might have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.face_bank import FaceBank
from bench.face_finding import moved_by, recorded_bumps
from bench.varied_faces import SEEN_SIDE
from pipeline.anomaly_free import free_pieces
from pipeline.face_shape import PARTS, Points

Pictures = NDArray[np.uint8]

_VARIED_SHARE = 0.4
_VARIANTS = 4
_MOST_ANOMALIES = 3
_LEAST_STRENGTH = 0.15
_STILL_SHARE = 0.35  # of the pieces that displace nothing, left out
_MOVE, _TURN, _SCALE, _SHIFT = 3.0, 2.0, 0.035, 3.0
"""px of 256, degrees, share, px: how far whole faces differ (one deviation; of the first at most)."""

_FOLLOWED = (0.15, 0.75)
_OF_PART, _OF_POINT, _OF_FACE = 1.2, 0.6, 0.5  # px: noise of what is found
_GRAIN = np.random.default_rng(0).normal(0, 0.015 * 255, (16, SEEN_SIDE, SEEN_SIDE, 3)).astype(np.float32)
_MOVED_TOGETHER = (range(6), range(6, 11), range(11, 17), *PARTS)  # the outline has no part in PARTS


@dataclass(frozen=True, slots=True)
class LandmarkBatch:
    """face: uint8 (N, 256, 256, 3). there, found: float32 (N, 68, 2), px of it, true and as a model says."""

    face: Pictures
    there: NDArray[np.float32]
    found: NDArray[np.float32]


def landmark_batch(bank: FaceBank, batch: int, random: np.random.Generator) -> LandmarkBatch:
    """Return that many examples of faces that are drawn at random."""
    rows: list[tuple[Pictures, Points, Points]] = []
    while len(rows) < batch:
        person, landmarks, _ = bank.person(random, _VARIED_SHARE)
        for _ in range(_VARIANTS):
            try:
                face, there = _displaced(person, landmarks, random)
            except ValueError:  # a piece too small to be lit
                continue
            half_way = landmarks + random.uniform(*_FOLLOWED) * (there - landmarks)
            taken, (there, found) = _as_taken(face, (there, half_way), random)
            rows.append((_in_light(taken, random), there, _noisy(found, random)))
    chosen = [rows[n] for n in random.permutation(len(rows))[:batch]]
    face, there, found = (np.stack([row[n] for row in chosen]) for n in range(3))
    return LandmarkBatch(face.astype(np.uint8), there.astype(np.float32), found.astype(np.float32))


def _displaced(person: Pictures, landmarks: Points, random: np.random.Generator) -> tuple[Pictures, Points]:
    face = person
    with recorded_bumps() as steps:
        for _ in range(int(random.integers(_MOST_ANOMALIES + 1))):
            for piece in free_pieces(landmarks, int(random.integers(2**31))):
                if piece.moves or random.random() > _STILL_SHARE:
                    face = piece.drawn_on(face, float(random.uniform(_LEAST_STRENGTH, 1)))
    return face, moved_by(landmarks, steps)


def _as_taken(
    face: Pictures, points: Sequence[Points], random: np.random.Generator
) -> tuple[Pictures, list[Points]]:
    """Move the face smoothly, turn, scale and shift it; return it and where each of the points goes."""
    cells, far = int(random.integers(4, 9)), _MOVE * random.random()
    coarse = (far * random.normal(0, 1, (cells, cells, 2))).astype(np.float32)
    field = cv2.resize(coarse, (SEEN_SIDE,) * 2, interpolation=cv2.INTER_CUBIC).astype(np.float64)
    angle, scale = np.deg2rad(random.normal(0, _TURN)), 1 + random.normal(0, _SCALE)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.full(2, (SEEN_SIDE - 1) / 2)
    shift = middle - turn @ middle + random.normal(0, _SHIFT, 2)
    rows, columns = np.mgrid[0:SEEN_SIDE, 0:SEEN_SIDE]
    came = (np.stack([columns, rows], -1) - shift) @ np.linalg.inv(turn).T + field
    x, y = (np.ascontiguousarray(came[..., n], np.float32) for n in range(2))
    taken = cv2.remap(face, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(taken, np.uint8), [_carried(one, field, turn, shift) for one in points]


def _noisy(found: Points, random: np.random.Generator) -> Points:
    """Return landmarks as a model may be off, all of them, part by part and each for itself."""
    noisy = found + random.normal(0, _OF_POINT, found.shape) + random.normal(0, _OF_FACE, 2)
    for part in _MOVED_TOGETHER:
        noisy[list(part)] += random.normal(0, _OF_PART, 2)
    return noisy


def _in_light(face: Pictures, random: np.random.Generator) -> Pictures:
    """Vary contrast, colour balance, light, sharpness and noise, as `bench.train_anomaly_network` does."""
    soft, mix = cv2.blur(face, (3, 3)), float(random.random())
    picture = cv2.addWeighted(soft, mix, face, 1 - mix, 0)
    values = (np.arange(256) / 255) ** np.exp(random.normal(0, 0.12)) * 255
    curves = np.stack([values * np.exp(random.normal(0, 0.03)) for _ in range(3)], -1)
    picture = cv2.LUT(picture, np.clip(np.rint(curves), 0, 255).astype(np.uint8)[None])
    coarse = random.normal(0, 0.05, (4, 4)).astype(np.float32)
    light = np.exp(cv2.resize(coarse, (SEEN_SIDE,) * 2, interpolation=cv2.INTER_CUBIC))[..., None]
    grain = _GRAIN[int(random.integers(len(_GRAIN)))] * np.float32(random.random())
    return np.clip(np.rint(picture * light + grain), 0, 255).astype(np.uint8)


def _carried(points: Points, field: Points, turn: Points, shift: Points) -> Points:
    """Return where points go: a pixel at q shows what was at turn⁻¹(q - shift) + field(q)."""
    at = points @ turn.T + shift
    for _ in range(6):
        column, row = np.clip(np.rint(at).astype(int), 0, SEEN_SIDE - 1).T
        at = (points - field[row, column]) @ turn.T + shift
    return at
