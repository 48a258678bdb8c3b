"""What Newton's steps minimise: how far drawn faces are from the photographed ones of a batch.

One call of generator and metric serves the rows of all photographs. Row n of the latents belongs to
photograph n % B. What differs from photograph to photograph are tensors of fixed shapes, kept apart from
the rest, so that a GPU can record a step once and replay it for other photographs (`models.captured`).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.generator import Generator
from models.lpips import Lpips
from models.window import Window
from pipeline.objective import face_window, resized, resized_to

_RECURRING_SHARE = 4  # a recurring window's edges are multiples of this share of the side


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """How pictures are drawn and compared, whichever photographs they are compared with.

    window: the part of a picture of side `window.side` that is compared. drawn_window: that part as it is
    drawn, before it is reduced.
    """

    generator: Generator
    metric: Lpips
    window: Window
    drawn_window: Window

    @property
    def key(self) -> Hashable:
        """Two comparisons with the same key do the same."""
        return (id(self.generator.network), id(self.metric), self.window, self.drawn_window)

    def terms(self, w: Tensor, average: Tensor, mask: Tensor, *taps: Tensor) -> tuple[Tensor, Tensor]:
        """Return L_S (masked LPIPS) and L_A (mean absolute error), each (N,), for latents (N, w_dim).

        average: (B, w_dim), what L_A is the distance from. mask: (B, 1, rows, columns). taps: the
        photographs' features of each tap (B, C, H, W), then the mask's weights at each of them
        (B, 1, H, W). N is a multiple of B.
        """
        half = len(taps) // 2
        target, weights = ([for_rows(x, len(w)) for x in part] for part in (taps[:half], taps[half:]))
        drawn = self.generator.network.synthesis(w, self.drawn_window.side, self.drawn_window).to(w.dtype)
        seen = resized_to(drawn, (mask.shape[-2], mask.shape[-1])) * for_rows(mask, len(w))
        similarity = self.metric.distance(self.metric.features(seen), target, weights)
        return similarity, (w - for_rows(average, len(w))).abs().mean(1)


class SharedObjective:
    """A comparison with the photographs that it is for; their features are computed once.

    inputs: what `Comparison.terms` takes after w.
    """

    def __init__(
        self,
        generator: Generator,
        metric: Lpips,
        x_raw: Tensor,
        masks: Tensor,
        metric_resolution: int,
        draw_resolution: int = 0,
        recurring: bool = False,
        average: Tensor | None = None,
    ) -> None:
        """Prepare the comparison in the window that holds all the masks.

        x_raw: (B, 3, H, W) in [-1, 1]; masks: (B, H, W) of 0 and 1. recurring: take a larger window, one of
        few, so that shapes recur from one photograph to the next. average: (B, w_dim), w_avg by default.
        """
        side, resolutions = metric_resolution, generator.network.resolutions
        drawn_side = min((r for r in resolutions if r >= max(side, draw_resolution)), default=resolutions[-1])
        whole = functional.interpolate(masks[:, None], (side,) * 2, mode="area")
        window = face_window(whole[:, 0].amax(0))
        if recurring:
            window = recurring_window(window)
        scale, rest = divmod(drawn_side, side)
        if rest or not scale:  # no whole number of drawn pixels makes one of the metric's
            window = Window.whole(side)
        drawn_window = Window.whole(drawn_side) if rest or not scale else window.scaled(scale)
        mask = whole[..., window.rows, window.columns]
        with torch.no_grad():
            target = metric.features(resized(x_raw, side)[..., window.rows, window.columns] * mask)
        self.comparison = Comparison(generator, metric, window, drawn_window)
        average = generator.w_avg[None] if average is None else average
        self.inputs: tuple[Tensor, ...] = (average, mask, *target, *metric.tap_weights(mask, target))

    def terms(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return L_S and L_A, each (N,), for latents (N, w_dim); N is a multiple of the photographs."""
        return self.comparison.terms(w, *self.inputs)


def recurring_window(window: Window) -> Window:
    """Return the window with its edges moved outwards to the next quarter of the side."""
    step = max(1, window.side // _RECURRING_SHARE)
    return Window(
        window.side,
        window.top // step * step,
        min(window.side, -(-window.bottom // step) * step),
        window.left // step * step,
        min(window.side, -(-window.right // step) * step),
    )


def for_rows(x: Tensor, rows: int) -> Tensor:
    """Return x (B, ...) over and over, until there are as many as `rows`; one broadcasts."""
    if len(x) == 1:
        return x
    return x.repeat(rows // len(x), *(1,) * (x.dim() - 1))
