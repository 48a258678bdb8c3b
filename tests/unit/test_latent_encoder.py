"""The encoder's arithmetic, and the optimisation that starts from its answer."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.latent_encoder import ENCODER_SIDE, LatentEncoder, encoder_inputs
from pipeline.normalization import encoded, normalize
from pipeline.objective import Objective
from pipeline.profile import Profile
from tests.tiny import latents, random_metric, tiny_generator

_INPUTS = 3 * 8 * 16 + 3 * 16 * 16  # three taps of 8 channels on a grid of 4, and a thumbnail


def tensors(seed: int = 0, axes: int = 4) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    values = {
        "mean": torch.randn(_INPUTS, generator=random) * 0.1,
        "scale": torch.rand(_INPUTS, generator=random) + 0.5,
        "axes": torch.randn(_INPUTS, axes, generator=random) * 0.02,
        "layers.0.weight": torch.randn(6, axes, generator=random),
        "layers.0.bias": torch.randn(6, generator=random),
        "layers.1.weight": torch.randn(32, 6, generator=random),
        "layers.1.bias": torch.randn(32, generator=random),
        "centre": tiny_generator().w_avg,
    }
    return {f"encoder.{name}": value for name, value in values.items()}


def pictures(count: int, seed: int = 1) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, ENCODER_SIDE, ENCODER_SIDE, generator=random) * 2 - 1


def test_answer_is_the_networks_formula() -> None:
    x, values = pictures(2), tensors()
    features = random_metric().features(x)
    parts = []
    for tap in (1, 2, 4):
        f = features[tap]
        bounds = [[(n * s // 4, -(-(n + 1) * s // 4)) for n in range(4)] for s in (f.shape[-2], f.shape[-1])]
        cells = [f[:, :, r0:r1, c0:c1].mean((2, 3)) for r0, r1 in bounds[0] for c0, c1 in bounds[1]]
        parts.append(torch.stack(cells, 2).flatten(1))
    parts.append(x.reshape(2, 3, 16, 16, 16, 16).mean((3, 5)).flatten(1))
    inputs = torch.cat(parts, 1)
    torch.testing.assert_close(encoder_inputs(x, features), inputs, rtol=1e-4, atol=1e-5)
    hidden = (inputs - values["encoder.mean"]) / values["encoder.scale"] @ values["encoder.axes"]
    hidden = hidden @ values["encoder.layers.0.weight"].T + values["encoder.layers.0.bias"]
    hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2  # GELU by its definition
    answer = hidden @ values["encoder.layers.1.weight"].T + values["encoder.layers.1.bias"]
    expected = answer + tiny_generator().w_avg
    torch.testing.assert_close(LatentEncoder(values)(x, features), expected, rtol=1e-3, atol=1e-3)


def test_rows_are_answered_apart() -> None:
    encoder, x, metric = LatentEncoder(tensors()), pictures(3), random_metric()
    together = encoder(x, metric.features(x))
    for row in range(3):
        alone = encoder(x[row : row + 1], metric.features(x[row : row + 1]))
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-4)
    assert (together[0] - together[1]).abs().max() > 0.01


def test_half_precision_files_answer_in_single() -> None:
    x = pictures(1)
    halves = {name: value.half() for name, value in tensors().items()}
    answer = LatentEncoder(halves)(x, random_metric().features(x))
    assert answer.dtype == torch.float32
    whole = LatentEncoder(tensors())(x, random_metric().features(x))
    torch.testing.assert_close(answer, whole, rtol=0, atol=0.05)


def test_missing_tensor_is_named() -> None:
    values = tensors()
    del values["encoder.layers.1.bias"]
    with pytest.raises(KeyError, match=r"layers\.1\.bias"):
        LatentEncoder(values)


def test_encoder_without_layers_is_refused() -> None:
    values = {name: value for name, value in tensors().items() if "layers" not in name}
    with pytest.raises(ValueError, match="no layer"):
        LatentEncoder(values)


def test_answer_lies_in_the_generators_box_and_ignores_what_is_masked_out() -> None:
    wild = tensors()
    wild["encoder.layers.1.weight"] *= 100
    generator = replace(tiny_generator(), encoder=LatentEncoder(wild))
    picture, mask = pictures(1), torch.zeros(1, ENCODER_SIDE, ENCODER_SIDE)
    mask[:, 60:200, 60:200] = 1
    w = encoded(generator, random_metric(), picture, mask)
    assert w.shape == (1, 32)
    assert (w >= generator.w_low).all()
    assert (w <= generator.w_high).all()
    assert (w == generator.w_low).any() or (w == generator.w_high).any()
    elsewhere = torch.where(mask > 0, picture, -picture)
    assert torch.equal(encoded(generator, random_metric(), elsewhere, mask), w)


def test_optimisation_starts_from_the_answer() -> None:
    """An encoder that knows the face leaves little to do; the result is never worse than its answer."""
    w = latents(1, seed=3)
    values = tensors() | {
        "encoder.layers.1.weight": torch.zeros(32, 6),
        "encoder.layers.1.bias": torch.zeros(32),
    }
    values["encoder.centre"] = w[0]
    generator = replace(tiny_generator(), encoder=LatentEncoder(values), w_low=w[0] - 5, w_high=w[0] + 5)
    face, mask = generator.network.synthesis(w)[0], torch.ones(64, 64)
    profile = Profile(1, 64, 10.0, 0.0, candidates=1, start="encoder", learning_rate=1e-4)
    known = normalize(generator, random_metric(), face, mask, profile, seed=0)
    unknown = normalize(generator, random_metric(), face, mask, replace(profile, start="average"), seed=0)
    torch.testing.assert_close(known.w_norm, w, rtol=0, atol=1e-3)
    start, _ = Objective(generator, random_metric(), face, mask, 64).terms(w)
    assert known.similarity.max() <= start.item() + 1e-6
    assert known.similarity.max() < 0.01 * unknown.similarity.min()
