"""Errors of a GPU, told from all others: they lie neither in the photograph nor in the program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from models.device_errors import is_device_error, is_out_of_memory
from pipeline.computation import DeviceFault, DeviceFaultError


@contextmanager
def device_faults() -> Iterator[None]:
    """Raise DeviceFaultError for what PyTorch raises when a GPU is out of memory, or gone."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise DeviceFaultError(DeviceFault.OUT_OF_MEMORY) from None
        if is_device_error(error):
            raise DeviceFaultError(DeviceFault.LOST) from None
        raise
