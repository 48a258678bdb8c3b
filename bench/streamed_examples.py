"""Examples for the anomaly network without end: banked faces with free anomalies, each seen once only.

A process draws them on the faces of `bench.face_bank`, at 256 px. The face beside is one of the bank's two,
and displacements are drawn on it in part, since normalizing follows what lies within the generator's faces
(docs/validation.md, "The person kept, the anomaly removed"); colours it leaves away.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from bench.face_bank import FaceBank
from bench.varied_faces import SEEN_SIDE
from pipeline.alignment import ALIGNED_SIDE
from pipeline.anomaly_free import free_pieces
from pipeline.mask import BORDER

_VARIANTS = 6
_VARIED_SHARE = 0.8
_UNDEFORMED_SHARE = 0.15
_LEAST_STRENGTH = 0.15
_FIRST_REFERENCE_SHARE = 0.65
_FOLLOWED = (0.1, 0.9)
"""How much of a displacement the face beside shows, too."""

_TURN, _SCALE, _SHIFT, _FIT = 0.6, 0.012, 1.0, 0.7
"""How far the frame and the landmarks are off (one deviation): degrees, share, and px of 256 for both."""

_NICENESS = 15
"""Of the process: training needs all cores at once, and waits for the one that another takes from it."""

_WAITING = 12  # batches that the process may be ahead
Pictures = NDArray[np.uint8]
Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True)
class StreamedBatch:
    """seen, undeformed, beside: uint8 (N, 256, 256, 3), the first with an anomaly. mask: (N, 256, 256)."""

    seen: Pictures
    undeformed: Pictures
    beside: Pictures
    mask: Pictures


class ExampleStream(Generic[Batch]):
    """Batches that another process draws."""

    def __init__(
        self, folder: Path, batch: int, seed: int, draw: Callable[[FaceBank, int, np.random.Generator], Batch]
    ) -> None:
        """folder: of a face bank. batch: examples in each. seed: of what is drawn. draw: makes a batch."""
        context = multiprocessing.get_context("spawn")
        self._queue: Queue[Batch] = context.Queue(_WAITING)
        arguments = (self._queue, draw, FaceBank.read(folder), batch, seed)
        self._process = context.Process(target=_draw_batches, args=arguments, daemon=True)
        self._process.start()

    def next(self) -> Batch:
        """Return the next batch; raises queue.Empty where the process has ended."""
        return self._queue.get(timeout=300)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def _draw_batches(
    queue: Queue[Batch],
    draw: Callable[[FaceBank, int, np.random.Generator], Batch],
    bank: FaceBank,
    batch: int,
    seed: int,
) -> None:
    os.nice(_NICENESS)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    random = np.random.default_rng(seed)
    while True:
        queue.put(draw(bank, batch, random))


def drawn_batch(bank: FaceBank, batch: int, random: np.random.Generator) -> StreamedBatch:
    """Return that many examples of faces that are drawn at random, in random order."""
    rows: list[tuple[Pictures, Pictures, Pictures, Pictures]] = []
    while len(rows) < batch:
        person, landmarks, references = bank.person(random, _VARIED_SHARE)
        for _ in range(_VARIANTS):
            first = random.random() < _FIRST_REFERENCE_SHARE
            beside = references[0 if first else 1]
            try:
                seen, beside = _with_anomaly(person, beside, landmarks, random)
            except ValueError:  # a piece too small to be lit
                continue
            rows.append(_in_another_frame(seen, person, beside, landmarks, random))
    chosen = [rows[n] for n in random.permutation(batch)]
    return StreamedBatch(*(np.stack([row[n] for row in chosen]) for n in range(4)))


def _with_anomaly(
    person: Pictures, beside: Pictures, landmarks: NDArray[np.float64], random: np.random.Generator
) -> tuple[Pictures, Pictures]:
    if random.random() < _UNDEFORMED_SHARE:
        return person, beside
    seen, strength = person, float(random.uniform(_LEAST_STRENGTH, 1))
    for piece in free_pieces(landmarks, int(random.integers(2**31))):
        seen = piece.drawn_on(seen, strength)
        if piece.moves:
            beside = piece.drawn_on(beside, strength * float(random.uniform(*_FOLLOWED)))
    return seen, beside


def _in_another_frame(
    seen: Pictures,
    person: Pictures,
    beside: Pictures,
    landmarks: NDArray[np.float64],
    random: np.random.Generator,
) -> tuple[Pictures, Pictures, Pictures, Pictures]:
    """Move the face as landmarks that are found anew move it; return what a `StreamedBatch` holds."""
    middle = (SEEN_SIDE - 1) / 2
    turn = cv2.getRotationMatrix2D(
        (middle, middle), float(random.normal(0, _TURN)), float(1 + random.normal(0, _SCALE))
    )
    turn = np.asarray(turn, np.float64) + np.array([[0, 0, 1], [0, 0, 1]]) * random.normal(0, _SHIFT, (2, 1))
    moved = [
        np.asarray(
            cv2.warpAffine(
                one, turn, (SEEN_SIDE,) * 2, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
            ),
            np.uint8,
        )
        for one in (seen, person)
    ]
    found = (landmarks + random.normal(0, _FIT, landmarks.shape)) @ turn[:, :2].T + turn[:, 2]
    return moved[0], moved[1], beside, _mask(found)


def _mask(landmarks: NDArray[np.float64]) -> Pictures:
    """Return about what `pipeline.mask.face_mask` gives at 256 px, in a tenth of its time."""
    mask, eighths = np.zeros((SEEN_SIDE,) * 2, np.uint8), 3
    hull = cv2.convexHull(np.rint(landmarks * 2**eighths).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 255, cv2.LINE_AA, eighths)
    border = 2 * BORDER * SEEN_SIDE // ALIGNED_SIDE
    cv2.polylines(mask, [hull], True, 255, border, cv2.LINE_AA, eighths)
    return mask
