"""Examples for the anomaly network: varied faces beside normalized ones, with where and how much they differ.

Processes draw and align, the generator's device normalizes. The normalized face of an example is what some
number of steps has reached, none to many, so that the network learns to read an unsettled one as well.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from bench.varied_faces import DRAWING_SIDE, SEEN_SIDE, VariedFace, varied_faces
from models.anomaly_network import ANSWER_SIDE
from models.generator import Generator
from models.lpips import Lpips
from pipeline.features import to_picture
from pipeline.newton_normalization import StepEngine
from pipeline.normalization import average_and_goal
from pipeline.profile import Profile
from pipeline.proximal_newton import NewtonState, newton
from pipeline.shared_objective import SharedObjective

_TRUNCATION = (0.6, 1.0)
STEPS = ((12, 4), (12, 0), (4, 0), (12, 0), (12, 0))
"""Cheap steps, then whole ones: what successive batches are normalized with."""

CHEAP_STEPS = ((4, 0), (12, 0), (4, 0))
"""The same for a CPU."""

_TENSORS = ("seen", "norm", "mask", "where", "distance")
_DRAWN_TOGETHER = 8
_AHEAD = 200  # faces that the processes may be ahead


@dataclass(frozen=True, slots=True)
class Examples:
    """seen, norm: uint8 (N, 3, 256, 256), the latter 0 to 255 for -1 to 1.

    mask: uint8 (N, 1, 256, 256), 255 inside. where: float16 (N, 1, 32, 32), root of the anomaly's local
    LPIPS. distance: (N,), its masked LPIPS. kinds: N names.
    """

    seen: Tensor
    norm: Tensor
    mask: Tensor
    where: Tensor
    distance: Tensor
    kinds: tuple[str, ...]

    def save(self, path: Path) -> None:
        """Write them, for other networks to learn from."""
        tensors = {name: getattr(self, name).cpu().contiguous() for name in _TENSORS}
        save_file(tensors, path, {"kinds": ",".join(self.kinds)})

    @staticmethod
    def read(path: Path, device: torch.device) -> Examples:
        """Read what `save` has written."""
        with safe_open(path, "pt", str(device)) as file:
            kinds = file.metadata()["kinds"].split(",")
            return Examples(**{name: file.get_tensor(name) for name in _TENSORS}, kinds=tuple(kinds))

    @staticmethod
    def joined(parts: list[Examples]) -> Examples:
        """Return all of them in one."""
        tensors = {name: torch.cat([getattr(p, name) for p in parts]) for name in _TENSORS}
        return Examples(**tensors, kinds=tuple(k for p in parts for k in p.kinds))


def make_examples(
    generator: Generator,
    metric: Lpips,
    faces: int,
    batch: int,
    seed: int,
    workers: int,
    told: Callable[[int], None],
    seconds: float = float("inf"),
    step_counts: Sequence[tuple[int, int]] = STEPS,
) -> Examples:
    """Return the examples of so many faces, or of those that were done after so many seconds.

    batch: examples that are normalized together, a multiple of 8.
    """
    engine = StepEngine.on_device(generator, metric)
    began, parts, waiting, number = time.perf_counter(), [], [], 0
    for variants in _varied(generator, faces, seed, workers):
        waiting += variants
        while len(waiting) >= batch:
            steps = step_counts[number % len(step_counts)]
            parts.append(_example_batch(generator, metric, engine, waiting[:batch], steps))
            waiting, number = waiting[batch:], number + 1
            told(number * batch)
        if time.perf_counter() - began > seconds:
            break
    return Examples.joined(parts)


def _varied(generator: Generator, faces: int, seed: int, workers: int) -> Iterator[list[VariedFace]]:
    """Yield each face's variants, drawn and found by `workers` processes."""
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    waiting: deque[Future[list[VariedFace]]] = deque()
    try:
        for first in range(0, faces, _DRAWN_TOGETHER):
            for n, picture in enumerate(_pictures(generator, first, seed)):
                waiting.append(pool.submit(varied_faces, picture, first + n, seed))
            while len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@torch.no_grad()
def _pictures(generator: Generator, first: int, seed: int) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng([seed, first, 7])
    z = torch.from_numpy(random.standard_normal((_DRAWN_TOGETHER, generator.network.w_dim))).float()
    psi = torch.from_numpy(random.uniform(*_TRUNCATION, (_DRAWN_TOGETHER, 1))).float().to(generator.device)
    w = generator.network.mapping(z.to(generator.device))
    drawn = generator.network.synthesis(generator.w_avg + psi * (w - generator.w_avg))
    small = functional.interpolate(drawn, (DRAWING_SIDE,) * 2, mode="area")
    return [to_picture(p) for p in small]


def _example_batch(
    generator: Generator, metric: Lpips, engine: StepEngine, faces: list[VariedFace], steps: tuple[int, int]
) -> Examples:
    device = generator.device
    mask = torch.from_numpy(np.stack([f.mask for f in faces]))[:, None].to(device).float() / 255
    seen, deformed, undeformed = (
        torch.from_numpy(np.stack([getattr(f, k) for f in faces])).permute(0, 3, 1, 2).to(device)
        for k in ("seen", "deformed", "undeformed")
    )
    with torch.no_grad():
        a, b = (metric.features(to_unit(p) * mask) for p in (deformed, undeformed))
        distance = metric.distance(a, b, metric.tap_weights(mask, a))
        local = metric.map(a, b, SEEN_SIDE) * mask
        where = functional.adaptive_avg_pool2d(local, ANSWER_SIDE).sqrt()
    w = _quick_normals(generator, engine, metric, to_unit(seen), mask[:, 0], steps)
    with torch.no_grad():
        norm = torch.cat([drawn_small(generator, part) for part in torch.split(w, _DRAWN_TOGETHER)])
    return Examples(
        seen,
        ((norm + 1) * 127.5).round().byte(),
        (mask * 255).round().byte(),
        where.half(),
        distance.cpu(),
        tuple(f.kind for f in faces),
    )


def drawn_small(generator: Generator, w: Tensor) -> Tensor:
    """Return the pictures of latents w (N, w_dim), (N, 3, 256, 256) in [-1, 1]."""
    drawn = generator.network.synthesis(w).clamp(-1, 1)
    picture: Tensor = functional.interpolate(drawn, (SEEN_SIDE,) * 2, mode="area")
    return picture


def to_unit(pictures: Tensor) -> Tensor:
    """uint8 -> float32 in [-1, 1]."""
    return pictures.float() / 127.5 - 1


def _quick_normals(
    generator: Generator,
    engine: StepEngine,
    metric: Lpips,
    x_raw: Tensor,
    masks: Tensor,
    steps: tuple[int, int],
) -> Tensor:
    """Return w_norm (B, w_dim) after some of the `fast` profile's steps, one candidate, no raw inversion."""
    profile = Profile.from_card(generator.card.profiles["fast"])
    average, goal = average_and_goal(generator, metric, x_raw, masks, profile)
    w = average + profile.start_share * (goal - average)
    if generator.curvature is None:
        raise SystemExit(f"{generator.name} has no curvature, which the steps need")
    lambda_sim, pull = profile.lambda_sim, w.new_full((len(w),), profile.lambda_avg)
    state = NewtonState.at(w, 2 * lambda_sim * generator.curvature)
    for count, side in zip(steps, (0, generator.network.resolution), strict=True):
        if not count:
            continue
        parts = []
        together = _DRAWN_TOGETHER if side else len(w)  # whole pictures take much memory
        for first in range(0, len(w), together):
            part = slice(first, first + together)
            goal_of_part = SharedObjective(
                generator, engine.metric, x_raw[part], masks[part], SEEN_SIDE, side,
                recurring=True, average=average[part],
            )  # fmt: skip
            begin = NewtonState(state.w[part], state.curvature[part])
            parts.append(
                newton(goal_of_part, begin, lambda_sim, pull[part], count, lambda: None, engine.captures)[0]
            )
        state = NewtonState(torch.cat([p.w for p in parts]), torch.cat([p.curvature for p in parts]))
    return state.w


def workers_here() -> int:
    """Return how many processes may draw: all cores but one."""
    return max(1, multiprocessing.cpu_count() - 1)
