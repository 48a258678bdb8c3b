"""StyleGAN2 networks in the files that their authors publish, read without running anything in them.

NVIDIA's network pickles (the stylegan2-ada-pytorch and stylegan3 releases, `.pkl`), and rosinality's `.pt`.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.cache import file_sha256
from models.inert_pickle import RefusedFileError
from models.nvidia_stylegan2 import read_nvidia_stylegan2
from models.rosinality import read_rosinality_stylegan2
from models.stylegan2 import NetworkShapeError, StyleGAN2, faithful_skips

__all__ = ["OfficialNetwork", "RefusedFileError", "read_official_network"]

_MOST_BYTES = 2 << 30  # the largest published file, with its discriminator, has some 400 MB
_JUDGED = 4  # faces by which smaller pictures are judged


@dataclass(frozen=True, slots=True)
class OfficialNetwork:
    """A network, the file's sha256, who laid the file out, and w_avg (w_dim,) where the file holds it."""

    network: StyleGAN2
    sha256: str
    layout: str
    w_avg: Tensor | None


def read_official_network(path: Path) -> OfficialNetwork:
    """Read a `.pkl` or `.pt` file. Raises RefusedFileError for any other, or a damaged or hostile one."""
    size = path.stat().st_size
    if not 0 < size <= _MOST_BYTES:
        raise RefusedFileError("the file is empty" if not size else "the file is larger than any network's")
    if path.suffix == ".pkl":
        layout = "NVIDIA"
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
            tensors = read_nvidia_stylegan2(stream)
    else:
        layout, tensors = "rosinality", read_rosinality_stylegan2(path)
    w_avg = tensors.pop("w_avg", None)
    try:
        network = StyleGAN2(tensors)
        if w_avg is not None and w_avg.shape != (network.w_dim,):
            raise RefusedFileError("w_avg has another number of components than w")
        z = torch.randn(_JUDGED, network.w_dim, generator=torch.Generator().manual_seed(0))
        smaller = faithful_skips(network, network.mapping(z))
        return OfficialNetwork(StyleGAN2(tensors, smaller), file_sha256(path), layout, w_avg)
    except NetworkShapeError as error:
        raise RefusedFileError(str(error)) from error
