"""Each similarity loss against an independent computation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.window import Window
from pipeline.similarity import SIMILARITIES, PixelDistance, StructuralDistance, picture_distance
from tests.tiny import random_metric
from tests.unit.test_features import compared, disc, picture


def test_pixel_distance_is_the_mean_absolute_error_inside_the_mask() -> None:
    raw, mask = picture(1, 64), disc(64)
    mask[20:30, 20:30] = 0.25
    drawn = torch.stack([picture(2, 64), picture(3, 64)])
    found = PixelDistance((raw * mask)[None], mask[None, None])(drawn * mask)
    share = np.broadcast_to(mask.numpy(), (3, 64, 64))
    for k in range(2):
        # Masked pictures: a half-covered pixel's error counts by its cover twice.
        error = np.abs((drawn[k] * mask).numpy() - (raw * mask).numpy()) / 2
        assert found[k].item() == pytest.approx(np.average(error, weights=share), rel=1e-5)


def test_structural_distance_is_the_feature_of_that_name() -> None:
    """`test_features` holds d_xstr against MS-SSIM written out; the window must not show."""
    raw, norm, mask = picture(1), picture(2), disc()
    expected = compared(raw, norm, mask).d_xstr
    window = Window(256, 32, 224, 16, 240)
    cut = (..., window.rows, window.columns)
    structural = StructuralDistance((raw * mask)[None][cut], window)
    assert structural((norm * mask)[None][cut]).item() == pytest.approx(expected, rel=1e-4)
    assert structural((raw * mask)[None][cut]).item() == pytest.approx(0, abs=1e-6)


def test_structural_distance_needs_room_for_five_scales() -> None:
    with pytest.raises(ValueError, match="161 px"):
        StructuralDistance(torch.zeros(1, 3, 160, 160), Window.whole(160))
    StructuralDistance(torch.zeros(1, 3, 161, 161), Window.whole(161))


@pytest.mark.parametrize("name", ["pixel", "structural"])
def test_gradient_points_away_from_the_target(name: str) -> None:
    raw, mask = picture(1), disc()[None, None]
    distance = picture_distance(name, raw[None] * mask, mask, Window.whole(256))
    assert distance is not None
    drawn = (picture(2)[None] * mask).requires_grad_()
    before = distance(drawn)
    (gradient,) = torch.autograd.grad(before.sum(), drawn)
    assert gradient.abs().max() > 0
    assert distance(drawn - 1e-3 * gradient / gradient.abs().max()).item() < before.item()


def test_names() -> None:
    mask = disc()[None, None]
    for name in SIMILARITIES:
        found = picture_distance(name, picture(1)[None] * mask, mask, Window.whole(256))
        assert (found is None) == name.startswith("perceptual")
    with pytest.raises(ValueError, match="perceptual_vgg16"):
        picture_distance("sharpness", picture(1)[None], mask, Window.whole(256))
    assert random_metric().trunk == "alexnet"
