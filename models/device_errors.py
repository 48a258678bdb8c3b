"""Which of PyTorch's errors lie with the GPU, neither with its inputs nor with the program.

It has classes for some of them; cuDNN, cuBLAS and cuSOLVER raise plain RuntimeErrors.
"""

from __future__ import annotations

import torch

_MARKS = ("CUDA error", "CUDA driver error", "cuDNN error", "CUDNN_STATUS", "CUBLAS_STATUS", "cusolver error")
# cuDNN finds no engine where it has no memory to work in.
_OF_MEMORY = ("out of memory", "ALLOC_FAILED", "unable to find an engine")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the GPU has no memory for what was asked of it."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error)
    on_device = isinstance(error, torch.AcceleratorError) or any(mark in text for mark in _MARKS)
    return (on_device or "unable to find an engine" in text) and any(mark in text for mark in _OF_MEMORY)


def is_device_error(error: RuntimeError) -> bool:
    """Whether the GPU failed, memory included."""
    if isinstance(error, torch.AcceleratorError) or is_out_of_memory(error):
        return True
    return any(mark in str(error) for mark in _MARKS)
