"""CUDA graphs: a function of tensors recorded once and replayed.

A Newton step is a thousand small operations, and on a GPU it takes longer to ask for them than to do them.
A graph asks once. What it needs is that shapes never change and that nothing is read back on the way; a
gradient that the function itself takes (`torch.autograd.grad`) is recorded with the rest. Elsewhere than on
a GPU the function is simply called.

See "CUDA graphs" in PyTorch's notes on CUDA semantics: static inputs, warm-up on a side stream, one pool of
memory for graphs that never run at the same time.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.device_errors import is_device_error

Function = Callable[..., tuple[Tensor, ...]]
Recorder = Callable[[Function, Sequence[Tensor]], tuple[Callable[[], None], tuple[Tensor, ...]]]
"""(function, inputs) -> (replay, outputs): replay fills `outputs` from what `inputs` then hold."""

_WARM_UP_CALLS = 3
_MOST_GRAPHS = 12


@dataclass(frozen=True, slots=True)
class _Recording:
    function: Function  # kept, so that nothing that a key names by its id is replaced by another thing
    inputs: tuple[Tensor, ...]
    replay: Callable[[], None]
    outputs: tuple[Tensor, ...]


class Captures:
    """Calls functions of tensors, on a GPU by graphs that are kept from one call to the next.

    The graphs of one device share their memory, so one call has to end before the next begins. The graph that
    was not used for longest is dropped when there are more than `most`: it holds memory. Where recording
    fails, a warning says so once, and functions are called as they are from then on.
    """

    def __init__(self, recorder: Recorder | None, most: int = _MOST_GRAPHS) -> None:
        """Without a recorder every function is called as it is."""
        self._recorder, self._most = recorder, most
        self._recordings: OrderedDict[Hashable, _Recording] = OrderedDict()

    @staticmethod
    def on(device: torch.device) -> Captures:
        """Return what suits the device: graphs on CUDA, plain calls elsewhere."""
        return Captures(CudaRecorder(device) if device.type == "cuda" else None)

    @property
    def records(self) -> bool:
        """Whether shapes that are the same from one photograph to the next save time."""
        return self._recorder is not None

    def forget(self) -> None:
        """Let go of every graph, and of the memory that they hold."""
        self._recordings.clear()
        if isinstance(self._recorder, CudaRecorder):
            self._recorder.begin_anew()

    def call(self, key: Hashable, function: Function, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return function(*inputs), tensors that carry no gradient.

        key: says which function this is, with everything that it takes from elsewhere than its inputs; the
        inputs' shapes and types are added to it. The function must neither read a value back from the
        device nor change its inputs or anything else.
        """
        if self._recorder is None:
            return function(*inputs)
        whole = (key, *((tuple(x.shape), x.dtype) for x in inputs))
        recording = self._recordings.get(whole)
        if recording is None:
            static = tuple(x.detach().clone() for x in inputs)
            try:
                recording = _Recording(function, static, *self._recorder(function, static))
            except RuntimeError as error:
                if is_device_error(error):
                    raise  # calling the function as it is would be no help
                # Slower, but it scores; whoever reads the log can tell.
                reason = str(error).splitlines()[0]
                warnings.warn(f"no CUDA graph could be recorded, so none is used: {reason}", stacklevel=2)
                self._recorder = None
                self._recordings.clear()
                return function(*inputs)
            self._recordings[whole] = recording
            if len(self._recordings) > self._most:
                self._recordings.popitem(last=False)
        self._recordings.move_to_end(whole)
        for static_input, x in zip(recording.inputs, inputs, strict=True):
            static_input.copy_(x)
        recording.replay()
        # The next replay overwrites them.
        return tuple(x.clone() for x in recording.outputs)


class CudaRecorder:
    """Records on one CUDA device; its graphs share one pool of memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None  # torch's type of it is private

    def begin_anew(self) -> None:
        """Take another pool of memory: one whose graphs have all gone cannot be recorded into again."""
        self._pool = None

    def __call__(
        self, function: Function, inputs: Sequence[Tensor]
    ) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
        """Record function(*inputs), after calls that let the libraries set up what cannot be recorded."""
        with torch.cuda.device(self._device):
            if self._pool is None:
                self._pool = torch.cuda.graph_pool_handle()
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            current = torch.cuda.current_stream()
            side.wait_stream(current)
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP_CALLS):
                    function(*inputs)
            current.wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool):
                outputs = function(*inputs)
        return graph.replay, outputs
