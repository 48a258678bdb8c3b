"""What everything else asks of a generator's network, whichever architecture it has."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from models.window import Window


class FaceNetwork(Protocol):
    """Maps z to w, and draws w. `models.mobilestylegan` and `models.stylegan2` are such networks.

    levels, heads: the modules that `models.precision` may convert, the last ones of which take most of the
    time; heads by the side, in pixels, of what they draw. resolution: the side of the full picture.
    """

    levels: nn.ModuleList
    heads: nn.ModuleDict
    resolution: int
    w_dim: int

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The side lengths, in pixels, that `synthesis` can draw, the full one last."""

    def mapping(self, z: Tensor) -> Tensor:
        """Map normal z (N, w_dim) to w (N, w_dim)."""

    def synthesis(self, w: Tensor, resolution: int | None = None, window: Window | None = None) -> Tensor:
        """Draw w (N, w_dim) as (N, 3, r, r) about [-1, 1]; only the window's part where one is given.

        resolution: one of `resolutions`, the full one by default. Raises KeyError for another.
        """
