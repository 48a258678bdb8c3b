"""Regressor files: what they say is what is computed, and what is broken is refused at the start."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.regressor import RegressorError, load_regressor
from pipeline.result import Features

TINY = Path(__file__).parents[1] / "data" / "tiny-regressor.json"
FEATURES = Features(0.1, 0.2, 20.0, 0.3, 0.4).as_dict()


def network() -> dict[str, Any]:
    """Two members with a hidden layer each, over the five features."""
    random = np.random.default_rng(4)
    members = [
        [
            {
                "weight": random.normal(0, 0.5, (6, 5)).tolist(),
                "bias": random.normal(0, 0.5, 6).tolist(),
                "activation": "elu",
            },
            {
                "weight": random.normal(0, 0.5, (1, 6)).tolist(),
                "bias": [4.0],
                "activation": "linear",
            },
        ]
        for _ in range(2)
    ]
    return {
        "name": "test",
        "features": list(FEATURES),
        "mean": [0.1, 0.1, 21.0, 0.2, 0.3],
        "scale": [0.05, 0.1, 2.0, 0.1, 0.2],
        "members": members,
        "residual_std": 0.6,
        "generator": "g",
        "generator_sha256": "1" * 64,
        "profile": "fast",
        "synthetic": True,
        "card": {"notes": "for tests"},
    }


def written(folder: Path, values: object) -> Path:
    path = folder / "regressor.json"
    path.write_text(json.dumps(values))
    return path


def test_what_the_file_says_is_loaded(tmp_path: Path) -> None:
    path = written(tmp_path, network())
    regressor = load_regressor(path)
    assert regressor.name == "test"
    assert regressor.features == Features.names()
    assert regressor.residual_std == 0.6
    assert regressor.synthetic is True
    assert regressor.card == {"notes": "for tests"}
    assert regressor.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_prediction_is_the_mean_of_the_members(tmp_path: Path) -> None:
    values = network()
    x = (np.array(list(FEATURES.values())) - values["mean"]) / values["scale"]
    answers = []
    for hidden, output in values["members"]:
        h = np.array(hidden["weight"]) @ x + hidden["bias"]
        h = [v if v > 0 else np.exp(v) - 1 for v in h]
        answers.append(np.array(output["weight"]) @ h + output["bias"])
    assert 1.5 < np.mean(answers) < 6.5
    assert load_regressor(written(tmp_path, values)).predict(FEATURES) == pytest.approx(np.mean(answers))


def test_features_go_by_name_not_by_order(tmp_path: Path) -> None:
    regressor = load_regressor(written(tmp_path, network()))
    backwards = dict(reversed(FEATURES.items()))
    assert regressor.predict(backwards) == regressor.predict(FEATURES)
    del backwards["d_wbc"]
    with pytest.raises(KeyError, match="d_wbc"):
        regressor.predict(backwards)


@given(st.floats(-1e300, 1e300))
def test_scores_keep_to_the_scale(value: float) -> None:
    assert 1 <= load_regressor(TINY).predict({"d_xperc": value}) <= 7


def test_scale_is_reached_at_both_ends() -> None:
    regressor = load_regressor(TINY)
    assert regressor.predict({"d_xperc": -1e6}) == 7
    assert regressor.predict({"d_xperc": 1e6}) == 1
    assert regressor.predict({"d_xperc": 0.35}) == 4
    assert regressor.predict({"d_xperc": 0.40}) == pytest.approx(3.2)


@pytest.mark.parametrize("key", sorted(network()))
def test_missing_key_is_named_with_the_setting(tmp_path: Path, key: str) -> None:
    values = network()
    del values[key]
    with pytest.raises(RegressorError, match=rf"scoring\.regressor.*{key}"):
        load_regressor(written(tmp_path, values))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mean", [0.0] * 4),
        ("scale", [1.0] * 6),
        ("scale", [1.0, 1.0, 0.0, 1.0, 1.0]),
        ("scale", [1.0, 1.0, float("inf"), 1.0, 1.0]),
        ("mean", [float("nan")] * 5),
        ("name", None),
        ("generator", ["g"]),
        ("generator_sha256", 1),
        ("profile", 5),
        ("residual_std", -0.1),
        ("residual_std", float("nan")),
        ("residual_std", "small"),
        ("synthetic", "false"),
        ("members", []),
        ("members", [[]]),
        ("members", "none"),
        ("members", [[{"weight": [[1.0] * 5], "bias": [0.0]}]]),
        ("members", [[{"weight": [[1.0] * 5], "bias": [0.0], "activation": "relu6"}]]),
        ("members", [[{"weight": [[1.0] * 4], "bias": [0.0], "activation": "elu"}]]),
        ("members", [[{"weight": [[1.0] * 5] * 2, "bias": [0.0] * 2, "activation": "elu"}]]),
        ("members", [[{"weight": [[1.0] * 5], "bias": 0.0, "activation": "elu"}]]),
        ("members", [[{"weight": [[float("inf")] * 5], "bias": [0.0], "activation": "elu"}]]),
        ("members", [[{"weight": [[1.0] * 5, [1.0]], "bias": [0.0], "activation": "elu"}]]),
    ],
)
def test_broken_file_is_refused_with_the_setting(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(RegressorError, match=r"scoring\.regressor: regressor\.json"):
        load_regressor(written(tmp_path, network() | {key: value}))


def machine() -> dict[str, Any]:
    """Support vectors in the place of the network's members."""
    random = np.random.default_rng(9)
    member = {
        "kernel": "rbf",
        "support": random.normal(size=(7, 5)).tolist(),
        "dual": random.normal(size=7).tolist(),
        "bias": 4.2,
        "gamma": 0.3,
    }
    return network() | {"members": [member]}


def test_support_vectors_are_a_sum_of_gaussians(tmp_path: Path) -> None:
    values = machine()
    (member,) = values["members"]
    x = (np.array(list(FEATURES.values())) - values["mean"]) / values["scale"]
    expected = member["bias"]
    for support, dual in zip(member["support"], member["dual"], strict=True):
        expected += dual * np.exp(
            -member["gamma"] * sum((a - b) ** 2 for a, b in zip(x, support, strict=True))
        )
    assert 1.5 < expected < 6.5
    assert load_regressor(written(tmp_path, values)).predict(FEATURES) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kernel", "sigmoid"),
        ("gamma", 0.0),
        ("gamma", float("inf")),
        ("bias", float("nan")),
        ("dual", [1.0] * 6),
        ("dual", [[1.0]] * 7),
        ("support", [[1.0] * 4] * 7),
        ("support", [[float("nan")] * 5] * 7),
    ],
)
def test_broken_support_vectors_are_refused(tmp_path: Path, key: str, value: object) -> None:
    values = machine()
    values["members"][0][key] = value
    with pytest.raises(RegressorError, match=r"scoring\.regressor: regressor\.json"):
        load_regressor(written(tmp_path, values))
    del values["members"][0][key]
    with pytest.raises(RegressorError, match=rf"scoring\.regressor.*{key}"):
        load_regressor(written(tmp_path, values))


@pytest.mark.parametrize(("key", "value"), [("card", "none"), ("features", [1, 2, 3, 4, 5])])
def test_what_describes_the_regressor_has_its_type(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(RegressorError, match=r"scoring\.regressor: regressor\.json"):
        load_regressor(written(tmp_path, network() | {key: value}))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b'"text"'])
def test_what_is_no_regressor_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "regressor.json"
    path.write_bytes(content)
    with pytest.raises(RegressorError, match=r"scoring\.regressor: regressor\.json"):
        load_regressor(path)


def test_absent_file_is_told_without_its_folder(tmp_path: Path) -> None:
    with pytest.raises(RegressorError, match=r"scoring\.regressor: no-such\.json cannot be read") as caught:
        load_regressor(tmp_path / "no-such.json")
    assert str(tmp_path) not in str(caught.value)
