"""Each feature against its definition, computed another way."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.features import FEATURE_SIDE, FeatureExtractor, mean_features, to_picture, to_tensor
from pipeline.result import Features
from tests.tiny import random_metric


def picture(seed: int, side: int = FEATURE_SIDE) -> Tensor:
    """(3, side, side) in [-0.9, 0.9], smooth with some noise."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 8, 8, generator=random) * 1.6 - 0.8
    smooth = functional.interpolate(coarse, (side, side), mode="bilinear", align_corners=False)[0]
    return smooth + 0.1 * torch.rand(3, side, side, generator=random)


def disc(side: int = FEATURE_SIDE) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (((rows - side / 2) ** 2 + (columns - side / 2) ** 2) < (side / 3) ** 2).float()


def latent(seed: int) -> Tensor:
    return torch.randn(32, generator=torch.Generator().manual_seed(seed)) * 0.4 + 0.1


def compared(raw: Tensor, norm: Tensor, mask: Tensor, w_raw: Tensor | None = None) -> Features:
    extractor = FeatureExtractor(random_metric(), raw[None], mask[None])
    w_raw = latent(1) if w_raw is None else w_raw
    return extractor.compare(norm[None], w_raw[None], latent(2)[None])[0][0]


def test_psnr_is_that_of_eight_bit_pictures_inside_the_mask() -> None:
    raw, norm, mask = picture(1), picture(2), disc()
    inside = mask.numpy() > 0
    errors = 255 / 2 * (raw - norm).numpy()[:, inside].astype(np.float64)
    expected = 10 * np.log10(255**2 / np.mean(errors**2))
    assert compared(raw, norm, mask).d_xpsnr == pytest.approx(expected, abs=1e-3)


def test_bray_curtis_and_correlation_of_the_latents() -> None:
    features = compared(picture(1), picture(2), disc())
    u, v = latent(1).double().numpy(), latent(2).double().numpy()
    assert features.d_wbc == pytest.approx(np.abs(u - v).sum() / np.abs(u + v).sum())
    assert features.d_wcorr == pytest.approx(1 - np.corrcoef(u, v)[0, 1])


def test_perceptual_distance_is_the_masked_metric() -> None:
    raw, norm, mask = picture(1), picture(2), disc()
    expected = random_metric()(norm[None] * mask, raw[None] * mask, mask[None, None])
    assert compared(raw, norm, mask).d_xperc == pytest.approx(expected.item(), rel=1e-5)


def test_structural_distance_is_ms_ssim() -> None:
    """Wang, Simoncelli, Bovik 2003, written out: 11 px Gaussian windows, five scales, K 0.01 and 0.03."""
    raw, norm, mask = picture(1), picture(2), disc()
    a, b = (((p * mask + 1) / 2).double()[None] for p in (raw, norm))
    expected = (1 - ms_ssim(a, b)) / 2
    assert 0.05 < expected < 0.5
    assert compared(raw, norm, mask).d_xstr == pytest.approx(expected, abs=1e-5)


def ms_ssim(a: Tensor, b: Tensor) -> float:
    exponents = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    result = torch.ones(3, dtype=torch.float64)
    for scale, exponent in enumerate(exponents):
        luminance, contrast = ssim_parts(a, b)
        last = scale == len(exponents) - 1
        result *= ((luminance * contrast if last else contrast).mean((0, 2, 3))) ** exponent
        a, b = (functional.avg_pool2d(p, 2) for p in (a, b))
    return float(result.mean())


def ssim_parts(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    x = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-(x**2) / (2 * 1.5**2))
    line = line / line.sum()
    window = torch.outer(line, line)[None, None].repeat(3, 1, 1, 1)

    def blurred(p: Tensor) -> Tensor:
        return functional.conv2d(p, window, groups=3)

    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    covariance = blurred(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    return luminance, (2 * covariance + 0.03**2) / (var_a + var_b + 0.03**2)


def test_equal_faces_are_at_no_distance() -> None:
    extractor = FeatureExtractor(random_metric(), picture(3)[None], disc()[None])
    ((features,), _) = extractor.compare(picture(3)[None], latent(4)[None], latent(4)[None])
    assert features.d_xperc == 0
    assert 0 <= features.d_xstr < 1e-6
    assert features.d_xpsnr == 80
    assert features.d_wbc == 0
    assert features.d_wcorr == pytest.approx(0, abs=1e-12)


def test_what_lies_outside_the_mask_does_not_count() -> None:
    raw, norm, mask = picture(1), picture(2), disc()
    elsewhere = torch.where(mask > 0, norm, picture(7))
    assert compared(raw, elsewhere, mask) == compared(raw, norm, mask)
    assert compared(torch.where(mask > 0, raw, picture(8)), norm, mask) == compared(raw, norm, mask)
    assert compared(raw, torch.where(mask > 0, raw, norm), mask).d_xpsnr == 80


def test_pictures_of_another_size_are_compared_at_the_same_one() -> None:
    raw, norm, mask = picture(1), picture(2), disc()
    double = [p.repeat_interleave(2, -1).repeat_interleave(2, -2) for p in (raw, norm, mask)]
    for name, value in compared(*double).as_dict().items():
        assert value == pytest.approx(getattr(compared(raw, norm, mask), name), rel=1e-5)


def test_every_candidate_is_measured_on_its_own() -> None:
    extractor = FeatureExtractor(random_metric(), picture(1)[None], disc()[None])
    pictures, w = torch.stack([picture(2), picture(3)]), torch.stack([latent(2), latent(3)])
    together, _ = extractor.compare(pictures, latent(1)[None], w)
    for k in range(2):
        ((alone,), _) = extractor.compare(pictures[k : k + 1], latent(1)[None], w[k : k + 1])
        assert list(together[k].as_dict().values()) == pytest.approx(list(alone.as_dict().values()), rel=1e-5)


def test_more_difference_is_more_distance() -> None:
    raw, mask = picture(1), disc()
    features = [compared(raw, raw + share * (picture(2) - raw), mask) for share in (0.1, 0.4, 1.0)]
    for name, rising in (("d_xperc", True), ("d_xstr", True), ("d_xpsnr", False)):
        values = [getattr(f, name) for f in features]
        assert values == sorted(values, reverse=not rising)
        assert len(set(values)) == 3


def test_values_beyond_the_range_of_a_picture_are_clipped_first() -> None:
    raw, mask = picture(1), disc()
    assert compared(raw, 3 * picture(2), mask) == compared(raw, (3 * picture(2)).clamp(-1, 1), mask)


def test_mean_over_candidates() -> None:
    one, other = Features(0.1, 0.2, 20, 0.3, 0.4), Features(0.3, 0.4, 30, 0.5, 0.8)
    assert mean_features([one]) == one
    mean = mean_features([one, other]).as_dict()
    assert list(mean.values()) == pytest.approx([0.2, 0.3, 25, 0.4, 0.6])


@pytest.mark.parametrize("name", Features.names())
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_features_are_finite(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        replace(Features(0.1, 0.2, 20, 0.3, 0.4), **{name: value})


def test_pictures_and_tensors_are_each_others_inverse() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (16, 12, 3)).astype(np.uint8)
    tensor = to_tensor(rgb, torch.device("cpu"))
    assert tensor.shape == (3, 16, 12)
    assert tensor.min() >= -1
    assert tensor.max() <= 1
    np.testing.assert_array_equal(to_picture(tensor), rgb)
    assert to_picture(torch.full((3, 1, 1), 1.7)).max() == 255
    assert to_picture(torch.full((3, 1, 1), -1.7)).max() == 0
