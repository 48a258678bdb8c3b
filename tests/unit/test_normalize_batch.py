"""Several photographs in one batch: each gets what it gets alone, and a step can be recorded."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from models.captured import Captures, Function
from models.window import Window
from pipeline.latents import Latents
from pipeline.newton_normalization import StepEngine
from pipeline.normalization import normalize, normalize_batch
from pipeline.objective import Objective
from pipeline.profile import Profile
from pipeline.proximal_newton import NewtonState, newton
from pipeline.shared_objective import SharedObjective, recurring_window
from tests.tiny import latents, random_metric, tiny_generator

NEWTON = Profile(
    steps=5,
    metric_resolution=64,
    lambda_sim=10.0,
    lambda_avg=0.1,
    candidates=3,
    start_spread=0.5,
    method="newton",
    candidate_steps=2,
    full_steps=3,
    raw_steps=2,
)
ADAM = replace(NEWTON, method="adam", learning_rate=0.1)


def faces(count: int) -> tuple[Tensor, Tensor]:
    """Pictures (count, 3, 64, 64) that the generator does not draw exactly, and masks of various sizes."""
    pictures = tiny_generator().network.synthesis(latents(count, seed=1)).clamp(-1, 1)
    masks = torch.zeros(count, 64, 64)
    for n in range(count):
        pictures[n, :, 20 + n : 40, 20:40] *= -1
        masks[n, 6 + n : 56, 8 + 2 * n : 60] = 1
    return pictures, masks


def exactly(chosen: Sequence[int], profile: Profile) -> list[Latents]:
    """The same in float64: in float32 rounding, another on every machine, may turn a step down."""
    plain = tiny_generator()
    generator = replace(
        plain,
        network=copy.deepcopy(plain.network).double(),
        **{name: getattr(plain, name).double() for name in ("w_avg", "w_std", "w_low", "w_high")},
        curvature=None if plain.curvature is None else plain.curvature.double(),
        encoder=None,
    )
    pictures, masks = (x.double()[list(chosen)] for x in faces(4))
    return normalize_batch(generator, copy.deepcopy(random_metric()).double(), pictures, masks, profile, 0)


def together(
    chosen: Sequence[int], profile: Profile = NEWTON, engine: StepEngine | None = None
) -> list[Latents]:
    pictures, masks = faces(4)
    return normalize_batch(
        tiny_generator(),
        random_metric(),
        pictures[list(chosen)],
        masks[list(chosen)],
        profile,
        0,
        engine=engine,
    )


def assert_same(one: Latents, other: Latents, atol: float) -> None:
    torch.testing.assert_close(one.w_norm, other.w_norm, rtol=0, atol=atol)
    torch.testing.assert_close(one.w_raw, other.w_raw, rtol=0, atol=atol)
    torch.testing.assert_close(one.similarity, other.similarity, rtol=0, atol=atol)
    torch.testing.assert_close(one.averageness, other.averageness, rtol=0, atol=atol)


def test_rows_belong_to_their_photographs() -> None:
    """Row n is compared with photograph n % B, as a comparison with that photograph alone says."""
    pictures, masks = faces(2)
    shared = SharedObjective(tiny_generator(), random_metric(), pictures, masks, 64)
    w = latents(6, seed=5)
    similarity, averageness = shared.terms(w)
    for row in range(6):
        alone = Objective(tiny_generator(), random_metric(), pictures[row % 2], masks[row % 2], 64)
        expected = alone.terms(w[row, None])
        # The windows differ, and what the metric sees at a window's edge with them: hence not more exact.
        assert float(similarity[row]) == pytest.approx(float(expected[0]), rel=2e-2)
        assert float(averageness[row]) == pytest.approx(float(expected[1]), rel=1e-5)


@pytest.mark.parametrize("profile", [NEWTON, ADAM], ids=["newton", "adam"])
def test_photograph_gets_the_same_whoever_shares_the_batch(profile: Profile) -> None:
    """Photographs 0 and 3 span the window of all four, so only rounding differs."""
    all_four, two = exactly(range(4), profile), exactly([0, 3], profile)
    assert_same(all_four[0], two[0], 1e-6)
    assert_same(all_four[3], two[1], 1e-6)
    assert (all_four[0].w_norm - all_four[3].w_norm).abs().max() > 0.1, "the photographs differ"


def test_photograph_alone_gets_nearly_what_it_gets_in_a_batch() -> None:
    """Its own window is smaller, and the metric sees a little else at a window's edge (measured: 1.4 %)."""
    pictures, masks = faces(4)
    shared = together(range(4))
    for n in range(4):
        alone = normalize(tiny_generator(), random_metric(), pictures[n], masks[n], NEWTON, 0)
        objective = SharedObjective(tiny_generator(), random_metric(), pictures[n, None], masks[n, None], 64)

        def total(found: Latents) -> float:
            similarity, averageness = objective.terms(found.w_norm[:1])  # noqa: B023
            return float(10 * similarity + 0.1 * averageness)

        assert total(shared[n]) == pytest.approx(total(alone), rel=0.03)


def test_a_recorded_step_gives_what_a_plain_one_gives() -> None:
    class Recorder:
        count = 0

        def __call__(self, function: Function, inputs: Sequence[Tensor]) -> tuple[Callable[[], None], Any]:
            self.count += 1
            outputs = function(*inputs)

            def replay() -> None:
                for output, value in zip(outputs, function(*inputs), strict=True):
                    output.copy_(value)

            return replay, outputs

    recorder = Recorder()
    generator, metric = tiny_generator(), random_metric()
    recording = StepEngine(generator, metric, Captures(recorder))
    first, second = together([0], engine=recording), together([1], engine=recording)
    # Of one row, drawn cheaply and wholly, evaluation and step; of two with the raw inversion step and last
    # step; of two candidates evaluation, the same step and the same last one. The cheap picture of the tiny
    # generator is its whole one.
    recorded = recorder.count
    assert recorded == 5
    again = together([0], engine=recording)
    assert recorder.count == recorded, "other photographs need no other recording"
    assert torch.equal(again[0].w_norm, first[0].w_norm)
    assert (second[0].w_norm - first[0].w_norm).abs().max() > 0.1


class RecordableOnly(TorchDispatchMode):
    """Refuses what a CUDA graph cannot hold: values read back, and tensors made of the program's numbers."""

    REFUSED = (
        "_local_scalar_dense",
        "nonzero",
        "lift_fresh",
        "masked_select",
        "equal",
        "is_nonzero",
        "unique",
    )

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().removeprefix("aten::").split(".")[0]
        assert name not in self.REFUSED, f"{name} cannot be recorded"
        return func(*args, **(kwargs or {}))


def test_a_step_reads_nothing_back_from_the_device() -> None:
    pictures, masks = faces(2)
    generator = tiny_generator()
    assert generator.curvature is not None
    goal = SharedObjective(generator, random_metric(), pictures, masks, 64)
    called: list[Function] = []

    class Strict(Captures):
        def call(self, key: Any, function: Function, *inputs: Tensor) -> tuple[Tensor, ...]:
            called.append(function)
            before = [x.clone() for x in inputs]
            with RecordableOnly():
                result = function(*inputs)
            assert all(torch.equal(x, y) for x, y in zip(before, inputs, strict=True))
            return result

    begin = NewtonState.at(generator.w_avg.expand(2, -1), 20 * generator.curvature)
    newton(goal, begin, 10.0, torch.full((2,), 0.1), 2, lambda: None, Strict(None), ends=True)
    assert len(called) == 3
    with pytest.raises(AssertionError, match="cannot be recorded"), RecordableOnly():
        float(torch.ones(1) + 1)


def test_bfloat16_steps_reach_nearly_the_same_objective() -> None:
    generator, metric = tiny_generator(), random_metric()
    pictures, masks = faces(1)
    objective = SharedObjective(generator, metric, pictures, masks, 64)
    start = float(10 * objective.terms(generator.w_avg[None])[0])
    totals = []
    for precision in ("float32", "bfloat16"):
        (found,) = together([0], engine=StepEngine.on_device(generator, metric, precision))
        similarity, averageness = objective.terms(found.w_norm[:1])
        totals.append(float(10 * similarity + 0.1 * averageness))
        assert found.w_norm.dtype == torch.float32
    assert totals[0] != totals[1]
    assert totals[1] == pytest.approx(totals[0], rel=0.1)
    assert totals[1] < 0.6 * start


def test_recurring_windows_are_few_and_hold_the_face() -> None:
    for edges in ((64, 256, 16, 224), (80, 256, 32, 240), (64, 240, 0, 208)):
        window = Window(256, *edges)
        assert recurring_window(window) == Window(256, 64, 256, 0, 256)
        window.inside(recurring_window(window))
    assert recurring_window(Window.whole(64)) == Window.whole(64)
