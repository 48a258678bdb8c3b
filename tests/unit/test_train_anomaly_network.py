"""Learning of the anomaly network, on noise: what it learns from, and that examples can be kept."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bench.anomaly_examples import Examples
from bench.train_anomaly_network import Fit, natural_moves, trained
from bench.varied_faces import FREE, UNDEFORMED
from models.anomaly_network import ANSWER_SIDE, AnomalyNetwork
from tests.real_weights import real_metric

_KINDS = (UNDEFORMED, FREE, FREE, "scar") * 4


@pytest.fixture(scope="module")
def examples() -> Examples:
    random, count, side = torch.Generator().manual_seed(5), len(_KINDS), (256, 256)
    pictures = torch.randint(0, 256, (2, count, 3, *side), generator=random, dtype=torch.uint8)
    mask = torch.zeros(count, 1, *side, dtype=torch.uint8)
    mask[..., 60:200, 60:200] = 255
    where = torch.rand(count, 1, ANSWER_SIDE, ANSWER_SIDE, generator=random).half()
    distance = 0.02 * torch.rand(count, generator=random)
    return Examples(*pictures, mask, where, distance, _KINDS)


@pytest.mark.real_weights
def test_named_kinds_are_learned_only_where_asked_for(examples: Examples) -> None:
    learned = {}
    for kinds in (False, True):
        _, record = trained(examples, real_metric(), Fit(epochs=1, batch=8, width=16, kinds=kinds))
        learned[kinds] = record["learned_from"]
    assert learned == {False: 12, True: 15}  # the last, a scar, is held out


@pytest.mark.real_weights
def test_a_network_is_trained_further_from_where_it_was(examples: Examples, tmp_path: Path) -> None:
    torch.manual_seed(9)
    begin = AnomalyNetwork(16)
    save_file(begin.state_dict(), tmp_path / "begin.safetensors")
    fit = Fit(epochs=1, batch=8, width=16, rate=1e-9, decay=0, begin=tmp_path / "begin.safetensors")
    found, _ = trained(examples, real_metric(), fit)
    for name, value in found.state_dict().items():
        torch.testing.assert_close(value, begin.state_dict()[name], rtol=0, atol=1e-6)


def test_examples_are_kept_and_read_back(examples: Examples, tmp_path: Path) -> None:
    examples.save(tmp_path / "examples.safetensors")
    found = Examples.read(tmp_path / "examples.safetensors", torch.device("cpu"))
    assert found.kinds == examples.kinds
    for name in ("seen", "norm", "mask", "where", "distance"):
        assert torch.equal(getattr(found, name), getattr(examples, name))


def test_natural_moves_are_small_and_smooth_and_leave_an_even_picture_as_it_is() -> None:
    torch.manual_seed(4)
    even = torch.full((2, 3, 64, 64), 0.25)
    torch.testing.assert_close(natural_moves(even), even)
    across = torch.linspace(-1, 1, 256).expand(8, 3, 256, 256)
    moved = (natural_moves(across) - across)[..., 8:-8] * 128  # in pixels, off the reflected edge
    assert 0.1 < float(moved.abs().mean()) < 256 * 0.012
    assert float(moved.diff(dim=-2).abs().max()) < 1
