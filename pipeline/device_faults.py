"""Errors of a GPU, told from all others: they lie neither in the photograph nor in the program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipeline.computation import DeviceFault, DeviceFaultError

# How the texts of RuntimeErrors begin that PyTorch has no class of their own for.
_OF_THE_DEVICE = ("CUDA error", "CUDA driver error", "cuDNN error", "CUBLAS_STATUS", "CUDNN_STATUS", "NVML")


@contextmanager
def device_faults() -> Iterator[None]:
    """Raise DeviceFaultError for what PyTorch raises when a GPU is out of memory, or gone."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise DeviceFaultError(DeviceFault.OUT_OF_MEMORY) from None
    except torch.AcceleratorError:
        raise DeviceFaultError(DeviceFault.LOST) from None
    except RuntimeError as error:
        if str(error).startswith(_OF_THE_DEVICE):
            raise DeviceFaultError(DeviceFault.LOST) from None
        raise
