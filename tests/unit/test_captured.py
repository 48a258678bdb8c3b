"""What is recorded once and replayed gives what a plain call gives."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from models.captured import Captures, CudaRecorder, Function
from tests.tiny import latents, random_metric, tiny_generator

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


class EagerRecorder:
    """Keeps a graph's promise with plain calls: replay reads the inputs' memory and fills the outputs'."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(
        self, function: Function, inputs: Sequence[Tensor]
    ) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
        self.recorded += 1
        outputs = function(*inputs)

        def replay() -> None:
            self.replayed += 1
            for output, value in zip(outputs, function(*inputs), strict=True):
                output.copy_(value)

        return replay, outputs


def square_and_slope(x: Tensor) -> tuple[Tensor, ...]:
    x = x.detach().requires_grad_()
    squares = x.square()
    (slope,) = torch.autograd.grad(squares.sum(), x)
    return squares.detach(), slope


def test_a_device_that_fails_while_recording_is_no_reason_to_record_no_more() -> None:
    inner, errors = EagerRecorder(), [torch.OutOfMemoryError("CUDA out of memory")]

    def recorder(
        function: Function, inputs: Sequence[Tensor]
    ) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
        if errors:
            raise errors.pop()
        return inner(function, inputs)

    captures = Captures(recorder)
    with pytest.raises(torch.OutOfMemoryError):
        captures.call("square", square_and_slope, numbers(2.0))
    captures.forget()
    assert captures.call("square", square_and_slope, numbers(3.0))[0].item() == 9
    assert captures.records
    assert inner.recorded == 1


def numbers(*values: float) -> Tensor:
    return torch.tensor(values)


def test_without_a_recorder_the_function_itself_is_called() -> None:
    captures = Captures.on(torch.device("cpu"))
    result = numbers(1.0)
    assert not captures.records
    assert captures.call("same", lambda x: (result,), numbers(2.0))[0] is result


def test_every_call_sees_its_own_inputs_and_keeps_its_own_results() -> None:
    recorder = EagerRecorder()
    captures = Captures(recorder)
    given = numbers(2.0, 3.0)
    first = captures.call("square", square_and_slope, given)
    second = captures.call("square", square_and_slope, numbers(5.0, 7.0))
    assert first[0].tolist() == [4, 9], "a later call leaves earlier results alone"
    assert first[1].tolist() == [4, 6]
    assert second[0].tolist() == [25, 49]
    assert second[1].tolist() == [10, 14]
    assert given.tolist() == [2, 3]
    assert (recorder.recorded, recorder.replayed) == (1, 2)


def test_other_shapes_types_and_keys_are_recorded_anew() -> None:
    recorder = EagerRecorder()
    captures = Captures(recorder)
    captures.call("a", square_and_slope, numbers(1.0))
    captures.call("a", square_and_slope, numbers(1.0, 2.0))
    captures.call("a", square_and_slope, numbers(1.0).double())
    captures.call("b", square_and_slope, numbers(1.0))
    assert recorder.recorded == 4
    captures.call("a", square_and_slope, numbers(9.0))
    assert recorder.recorded == 4


def test_the_longest_unused_recording_is_dropped() -> None:
    recorder = EagerRecorder()
    captures = Captures(recorder, most=2)
    for key in ("a", "b", "a", "c", "a"):
        captures.call(key, square_and_slope, numbers(1.0))
    assert recorder.recorded == 3
    captures.call("b", square_and_slope, numbers(1.0))
    assert recorder.recorded == 4


def test_where_nothing_can_be_recorded_a_warning_says_so_and_the_function_is_called() -> None:
    tried = []

    def failing(
        function: Function, inputs: Sequence[Tensor]
    ) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
        tried.append(function)
        raise RuntimeError("operation not permitted when stream is capturing")

    captures = Captures(failing)
    with pytest.warns(UserWarning, match="not permitted"):
        assert captures.call("square", square_and_slope, numbers(3.0))[0].tolist() == [9]
    assert captures.call("square", square_and_slope, numbers(4.0))[0].tolist() == [16]
    assert len(tried) == 1
    assert not captures.records


@needs_cuda
def test_a_graph_replays_picture_and_gradient() -> None:
    device = torch.device("cuda")
    network, metric = tiny_generator().network, random_metric()
    moved_network, moved_metric = copy.deepcopy(network).to(device), copy.deepcopy(metric).to(device)
    captures = Captures(CudaRecorder(device))

    def distance(w: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        w = w.detach().requires_grad_()
        total = moved_metric(moved_network.synthesis(w), target)
        return total.detach(), torch.autograd.grad(total.sum(), w)[0]

    target = network.synthesis(latents(2, seed=8)).to(device)
    for seed in (1, 2, 3):
        w = latents(2, seed=seed).to(device)
        for replayed, plain in zip(
            captures.call("distance", distance, w, target), distance(w, target), strict=True
        ):
            torch.testing.assert_close(replayed, plain, rtol=1e-4, atol=1e-5)
