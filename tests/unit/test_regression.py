"""Fitting ratings: the planted relation is found, no person is split, the file predicts what was fitted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.regressor import load_regressor
from pipeline.regression import fit_regressor, predict


def planted(rows: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(4)
    x = random.normal(size=(rows, 3)) * [1, 10, 0.1] + [0, 50, 1]
    ratings = np.clip(4 + 1.2 * x[:, 0] - 0.05 * (x[:, 1] - 50) + random.normal(0, noise, rows), 1, 7)
    return x, ratings


def test_a_planted_relation_is_recovered_with_an_honest_error() -> None:
    x, ratings = planted(90, noise=0.3)
    fitted = fit_regressor(x, ratings, list(range(90)), seed=0, folds=3)
    assert fitted.correlation > 0.9
    assert 0.2 < fitted.residual_std < 0.6
    assert fitted.mae == min(errors["mae"] for errors in fitted.compared.values())


def test_noise_alone_is_not_taken_for_a_relation() -> None:
    random = np.random.default_rng(1)
    fitted = fit_regressor(
        random.normal(size=(90, 3)), random.uniform(1, 7, 90), list(range(90)), seed=0, folds=3
    )
    assert abs(fitted.correlation) < 0.35


def test_a_person_seen_twice_does_not_leak_between_folds() -> None:
    # The features name the person and nothing else: only a fold that splits people could learn ratings.
    random = np.random.default_rng(2)
    people = np.repeat(np.arange(30), 3)
    x = random.normal(size=(30, 6))[people]
    ratings = random.uniform(1, 7, 30)[people]
    fitted = fit_regressor(x, ratings, people.tolist(), seed=0, folds=3)
    assert fitted.correlation < 0.4


def test_fewer_people_than_folds_are_refused() -> None:
    with pytest.raises(ValueError, match="3 people"):
        fit_regressor(np.zeros((6, 2)), np.ones(6), [0, 0, 1, 1, 2, 2], seed=0)


def test_the_written_file_predicts_what_was_fitted(tmp_path: Path) -> None:
    x, ratings = planted(40, noise=0.1)
    fitted = fit_regressor(x, ratings, list(range(40)), seed=0, folds=2)
    path = tmp_path / "regressor.json"
    document = {
        "name": "planted", "features": ["a", "b", "c"], "mean": fitted.mean.tolist(),
        "scale": fitted.scale.tolist(), "members": fitted.members, "residual_std": fitted.residual_std,
        "generator": "g", "generator_sha256": "0", "profile": "fast", "synthetic": True, "card": {},
    }  # fmt: skip
    path.write_text(json.dumps(document))
    regressor = load_regressor(path)
    expected = np.clip(predict(fitted.members, (x - fitted.mean) / fitted.scale), 1, 7)
    for row, answer in zip(x[:10], expected[:10], strict=True):
        assert regressor.predict(dict(zip("abc", row, strict=True))) == pytest.approx(answer)
