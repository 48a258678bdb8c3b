"""Our LPIPS against the original package, and what a masked distance must and must not see."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from models.cache import cached_path
from models.catalog import LPIPS_TRUNKS
from models.lpips import Lpips, head_file
from tests.real_weights import real_metric
from tests.tiny import random_metric


def smooth_pictures(count: int, side: int, seed: int) -> Tensor:
    """(count, 3, side, side) in [-1, 1]: noise of several scales, as photographs have."""
    random = np.random.default_rng(seed)
    pictures = np.zeros((count, side, side, 3), np.float32)
    for n in range(count):
        for cells in (4, 16, side):
            grid = random.uniform(-0.4, 0.4, (cells, cells, 3)).astype(np.float32)
            pictures[n] += cv2.resize(grid, (side, side), interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(np.clip(pictures, -1, 1)).permute(0, 3, 1, 2).contiguous()


@pytest.mark.real_weights
@pytest.mark.parametrize(("trunk", "network"), [("alexnet", "alex"), ("vgg16", "vgg")])
def test_distances_are_the_original_packages(trunk: str, network: str, tmp_path: Path) -> None:
    pairs = {}
    for n, side in enumerate((64, 256)):
        one = smooth_pictures(2, side, seed=n)
        pairs[f"a{n}"] = one
        pairs[f"b{n}"] = (one + 0.8 * smooth_pictures(2, side, seed=n + 10)).clamp(-1, 1)
    np.savez(tmp_path / "pictures.npz", **{name: value.numpy() for name, value in pairs.items()})
    weights = cached_path(LPIPS_TRUNKS, f"{trunk}.safetensors")
    files = (weights, tmp_path / "pictures.npz", tmp_path / "distances.npy")
    subprocess.run(
        [sys.executable, "-m", "tests.original_lpips", network, *files],
        check=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    expected = np.load(tmp_path / "distances.npy")
    metric = real_metric(trunk)
    with torch.no_grad():
        found = torch.cat([metric(pairs[f"a{n}"], pairs[f"b{n}"]) for n in range(2)])
    assert expected.min() > 0.03
    # Measured: 3e-8.
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-6)


def test_equal_pictures_are_at_no_distance_and_order_does_not_matter() -> None:
    metric, (one, other) = random_metric(), smooth_pictures(2, 64, seed=1).split(1)
    assert metric(one, one).item() == 0
    assert metric(one, other).item() > 0
    assert metric(one, other).item() == metric(other, one).item()


def test_rows_are_measured_apart() -> None:
    metric, a, b = random_metric(), smooth_pictures(3, 64, seed=2), smooth_pictures(3, 64, seed=3)
    alone = torch.cat([metric(a[n : n + 1], b[n : n + 1]) for n in range(3)])
    torch.testing.assert_close(metric(a, b), alone, rtol=1e-5, atol=1e-7)


def test_mask_of_ones_is_no_mask() -> None:
    metric, a, b = random_metric(), smooth_pictures(2, 64, seed=4), smooth_pictures(2, 64, seed=5)
    torch.testing.assert_close(metric(a, b, torch.ones(1, 1, 64, 64)), metric(a, b))


def test_size_of_the_mask_does_not_scale_the_distance() -> None:
    metric, mask = random_metric(), torch.zeros(1, 1, 64, 64)
    mask[..., 8:56, 8:56] = 1
    features = metric.features(smooth_pictures(1, 64, seed=6))
    for weight in metric.tap_weights(mask, features):
        assert weight.sum().item() == pytest.approx(1)
    for once, thrice in zip(
        metric.tap_weights(mask, features), metric.tap_weights(3 * mask, features), strict=True
    ):
        torch.testing.assert_close(once, thrice)


def test_difference_out_of_the_masks_reach_is_not_seen() -> None:
    """The deepest tap of the AlexNet sees about 100 px to each side."""
    metric, (one, other) = random_metric(), smooth_pictures(2, 256, seed=7).split(1)
    changed = one.clone()
    changed[..., 200:] = other[..., 200:]
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., :64] = 1
    assert metric(one, changed, mask).item() == 0
    assert metric(one, changed).item() > 0
    assert metric(one, changed, 1 - mask).item() > metric(one, changed).item()


def test_distance_grows_with_the_difference() -> None:
    metric, (one, other) = random_metric(), smooth_pictures(2, 64, seed=8).split(1)
    distances = [metric(one, one + share * (other - one)).item() for share in (0, 0.05, 0.2, 0.6)]
    assert distances == sorted(distances)
    assert len(set(distances)) == 4


def test_map_adds_up_to_the_distance_and_shows_where() -> None:
    metric, one = random_metric(), smooth_pictures(1, 256, seed=9)
    changed = one.clone()
    changed[..., 150:190, 60:100] *= -1
    features = metric.features(one), metric.features(changed)
    local = metric.map(*features, 256)
    assert local.shape == (1, 1, 256, 256)
    # Bilinear enlargement keeps a tap's mean up to its rim.
    assert local.mean().item() == pytest.approx(metric.distance(*features).item(), rel=0.1)
    row, column = divmod(int(local.argmax()), 256)
    assert 140 < row < 200
    assert 50 < column < 110
    assert local[..., :40, 200:].max() == 0


def test_gradient_reaches_the_picture_and_is_finite_for_equal_ones() -> None:
    metric, one = random_metric(), smooth_pictures(1, 64, seed=10)
    drawn = one.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(metric(drawn, one).sum(), drawn)
    assert torch.isfinite(gradient).all()
    drawn = (one + 0.1).requires_grad_()
    (gradient,) = torch.autograd.grad(metric(drawn, one).sum(), drawn)
    assert gradient.abs().max() > 0


def test_no_features_are_refused() -> None:
    with pytest.raises(ValueError, match="no features"):
        Lpips.distance([], [])


def test_heads_are_the_installed_packages() -> None:
    for trunk in ("alexnet", "vgg16"):
        assert head_file(trunk).is_file()
