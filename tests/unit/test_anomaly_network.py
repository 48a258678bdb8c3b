from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.anomaly_ensemble import AnomalyEnsemble, AnomalyNetworkError, load_anomaly_network
from models.anomaly_network import ANSWER_SIDE, AnomalyAnswer, AnomalyNetwork
from pipeline.learned_features import LEARNED_FEATURES, learned_features

_TAPS = ((64, 63), (192, 31), (384, 15), (256, 15), (256, 15))


def seen(count: int, seed: int) -> tuple[list[Tensor], Tensor]:
    random = torch.Generator().manual_seed(seed)
    taps = [0.03 * torch.rand(count, channels, side, side, generator=random) for channels, side in _TAPS]
    return taps, torch.rand(count, 3, 256, 256, generator=random) * 2 - 1


def disc() -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    return (((rows - 128) ** 2 + (columns - 128) ** 2) < 80**2).float()[None, None]


def network(**options: bool) -> AnomalyNetwork:
    torch.manual_seed(3)
    return AnomalyNetwork(16, **options).eval()


@torch.no_grad()
def answered(judge: AnomalyNetwork | AnomalyEnsemble, count: int = 2) -> AnomalyAnswer:
    (raw_taps, raw), (norm_taps, norm) = seen(count, 1), seen(count, 2)
    answer: AnomalyAnswer = judge(raw_taps, norm_taps, raw, norm, disc().expand(count, -1, -1, -1))
    return answer


def test_map_is_not_negative_and_nothing_is_said_off_the_mask() -> None:
    answer = answered(network())
    assert answer.map.shape == (2, 1, ANSWER_SIDE, ANSWER_SIDE)
    assert answer.severity.shape == (2,)
    assert (answer.map >= 0).all()
    assert (answer.map[..., :4, :] == 0).all()
    assert answer.map[..., 16, 16].min() > 0


def test_answer_does_not_depend_on_who_shares_the_batch() -> None:
    judge = network()
    (raw_taps, raw), (norm_taps, norm) = seen(2, 1), seen(2, 2)
    both = answered(judge)
    with torch.no_grad():
        alone = judge([t[:1] for t in raw_taps], [t[:1] for t in norm_taps], raw[:1], norm[:1], disc())
    torch.testing.assert_close(alone.severity, both.severity[:1], rtol=1e-4, atol=1e-5)


def test_blind_network_answers_alike_whatever_the_normalized_face() -> None:
    judge = network(sees_normalized=False)
    (raw_taps, raw), mask = seen(1, 1), disc()
    with torch.no_grad():
        one, other = (judge(raw_taps, seen(1, n)[0], raw, seen(1, n)[1], mask).severity for n in (2, 3))
    assert torch.equal(one, other)


def test_file_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    judge, path = network(), tmp_path / "judge.safetensors"
    save_file({k: v.contiguous() for k, v in judge.state_dict().items()}, path)
    loaded = load_anomaly_network(path, torch.device("cpu"))
    assert torch.equal(answered(loaded.network).severity, answered(judge).severity)
    assert len(loaded.sha256) == 64


def test_networks_of_one_file_answer_with_their_mean(tmp_path: Path) -> None:
    torch.manual_seed(8)
    members, path = [network().half().float(), AnomalyNetwork(24).half().float().eval()], tmp_path / "two.st"
    save_file(AnomalyEnsemble(members).tensors(), path)
    loaded = load_anomaly_network(path, torch.device("cpu")).network
    assert [member.width for member in loaded.members] == [16, 24]
    one, other, both = (answered(judge) for judge in (*members, loaded))
    torch.testing.assert_close(both.severity, (one.severity + other.severity) / 2)
    torch.testing.assert_close(both.map, (one.map + other.map) / 2)


def test_an_ensemble_has_a_member() -> None:
    with pytest.raises(ValueError, match="no networks"):
        AnomalyEnsemble([])


def test_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "judge.safetensors"
    with pytest.raises(AnomalyNetworkError, match="cannot be read"):
        load_anomaly_network(path, torch.device("cpu"))
    path.write_bytes(b"nonsense")
    with pytest.raises(AnomalyNetworkError, match="is no anomaly network"):
        load_anomaly_network(path, torch.device("cpu"))
    tensors = {k: v.clone() for k, v in network().state_dict().items()}
    tensors["to_map.bias"][0] = float("nan")
    save_file(tensors, path)
    with pytest.raises(AnomalyNetworkError, match="not finite"):
        load_anomaly_network(path, torch.device("cpu"))


def test_learned_features_are_figures_of_the_map() -> None:
    where = torch.zeros(1, 1, ANSWER_SIDE, ANSWER_SIDE)
    where[0, 0, 10, 4] = 0.8
    inside = torch.ones_like(where)
    (features,) = learned_features(AnomalyAnswer(where, torch.tensor([0.4])), inside)
    assert tuple(features) == LEARNED_FEATURES
    assert features["n_severity"] == pytest.approx(0.4)
    assert features["n_peak"] == pytest.approx(0.8)
    assert features["n_size"] == pytest.approx(0.8 / ANSWER_SIDE)
    assert features["n_asymmetry"] == pytest.approx(2 * 0.8 / ANSWER_SIDE**2)
