"""Several averages of a generator's latents, of which one is nearer to a person than the mean over everybody.

They are the centres of clusters of latents (`bench.fit_averages`), kept beside the generator's weights.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

AVERAGES_KEY = "w_averages"


class AveragesError(ValueError):
    """What should be averages is none; the message says what to do."""


@dataclass(frozen=True, slots=True)
class LatentAverages:
    """w: (A, w_dim), an average in every row. sha256: of the file that they came from."""

    w: Tensor
    sha256: str = ""

    def __post_init__(self) -> None:
        """Raise AveragesError for another shape, or values that are no finite numbers."""
        if self.w.dim() != 2 or not len(self.w) or not bool(torch.isfinite(self.w).all()):
            raise AveragesError("averages are rows of finite numbers; find them anew")


def averages_path(weights: Path) -> Path:
    """Return where the averages of the generator in `weights` are kept: `NAME-averages.safetensors`."""
    return weights.with_name(f"{weights.stem}-averages.safetensors")


def load_averages(path: Path, device: torch.device) -> LatentAverages | None:
    """Read a file of averages, or return None where there is none; raises AveragesError for a wrong one."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    try:
        w = load(content)[AVERAGES_KEY]
    except (SafetensorError, KeyError) as error:
        raise AveragesError(
            f"{path.name} holds no {AVERAGES_KEY!r}; take it away, or find them anew"
        ) from error
    return LatentAverages(w.to(device), hashlib.sha256(content).hexdigest())
