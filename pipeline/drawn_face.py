"""A drawn face as it is compared: the masked part only, at the metric's side.

Nobody looks outside the mask, and the network need not draw what nobody looks at (`models.window`).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from models.generator import Generator
from pipeline.objective import face_window, resized_to
from pipeline.shared_objective import recurring_window


@torch.no_grad()
def drawn_face(generator: Generator, w: Tensor, masks: Tensor, side: int) -> Tensor:
    """Return (N, 3, side, side) in [-1, 1]: w (N, w_dim) drawn by the whole network, 0 far off the masks.

    masks: (F, H, W) of 0 and 1; what lies in one of them is drawn for all. There each pixel is that of the
    whole picture averaged over area.
    """
    network = generator.network
    scale, rest = divmod(network.resolution, side)
    if rest:
        return resized_to(network.synthesis(w).clamp(-1, 1), (side, side))
    window = face_window(functional.interpolate(masks.amax(0)[None, None], (side, side), mode="area")[0, 0])
    if w.device.type == "cuda":  # where a shape that has not been seen before has to be prepared for
        window = recurring_window(window)
    picture = w.new_zeros(len(w), 3, side, side)
    part = picture[..., window.rows, window.columns]
    drawn = network.synthesis(w, network.resolution, window.scaled(scale)).clamp(-1, 1)
    part.copy_(resized_to(drawn, (part.shape[-2], part.shape[-1])))
    return picture
