"""The drawn face that is compared: that of the whole picture, without what lies outside the mask."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from pipeline.drawn_face import drawn_face
from pipeline.objective import resized
from tests.tiny import latents, tiny_generator


@pytest.mark.parametrize("side", [16, 32, 64, 48])
def test_inside_the_mask_it_is_the_whole_picture_reduced(side: int) -> None:
    generator, w = tiny_generator(), latents(2, seed=3)
    mask = torch.zeros(64, 64)
    mask[20:44, 24:40] = 1
    small = functional.interpolate(mask[None, None], (side, side), mode="area")
    whole = resized(generator.network.synthesis(w).clamp(-1, 1), side)
    torch.testing.assert_close(drawn_face(generator, w, mask[None], side) * small, whole * small)


def test_what_lies_far_from_the_mask_is_not_drawn() -> None:
    mask = torch.zeros(64, 64)
    mask[48:60, 48:60] = 1
    drawn = drawn_face(tiny_generator(), latents(1, seed=3), mask[None], 64)
    assert not drawn[..., :16, :16].any()
    assert drawn[..., 48:60, 48:60].any()


def test_of_several_faces_each_is_drawn_as_far_as_its_own_mask_reaches() -> None:
    generator, w = tiny_generator(), latents(2, seed=3)
    masks = torch.zeros(2, 64, 64)
    masks[0, 4:20, 8:24] = 1
    masks[1, 40:60, 30:60] = 1
    whole = resized(generator.network.synthesis(w).clamp(-1, 1), 64)
    torch.testing.assert_close(drawn_face(generator, w, masks, 64) * masks[:, None], whole * masks[:, None])
