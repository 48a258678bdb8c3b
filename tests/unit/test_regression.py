"""Fitting ratings: the planted relation is found, no person is split, the file predicts what was fitted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import HuberRegressor, Ridge
from sklearn.svm import SVR

from models.regressor import load_regressor
from models.regressor_member import member_from_json
from pipeline.calibration_card import RegressorOrigin, regressor_document
from pipeline.model_search import cross_validated, search
from pipeline.regression import (
    FEWEST_PEOPLE,
    FittedRegressor,
    RatedFeatures,
    TooFewPeopleError,
    fit_regressor,
    hold_out,
)
from pipeline.regression_models import MODELS

ORIGIN = RegressorOrigin("planted", "g", "0" * 64, "fast", synthetic=True)


def planted(rows: int, noise: float, people: tuple[str, ...] | None = None) -> RatedFeatures:
    """Two features that decide, in units far apart, and one that says nothing."""
    random = np.random.default_rng(4)
    x = random.normal(size=(rows, 3)) * [1, 10, 0.1] + [0, 50, 1]
    ratings = np.clip(4 + 1.2 * x[:, 0] - 0.05 * (x[:, 1] - 50) + random.normal(0, noise, rows), 1, 7)
    return RatedFeatures(("a", "b", "c"), x, ratings, people or tuple(f"p{n}" for n in range(rows)))


@pytest.fixture(scope="module")
def fitted() -> FittedRegressor:
    return fit_regressor(planted(100, noise=0.3), seed=0, trials=2)


def test_a_planted_relation_is_recovered_with_an_honest_error(fitted: FittedRegressor) -> None:
    data = planted(100, noise=0.3)
    assert fitted.features[:2] == ("a", "b")
    best = fitted.compared[fitted.model]
    assert best.held_out_r > 0.9
    assert 0.2 < fitted.residual_std < 0.6
    assert best.cross_validated_mae == min(c.cross_validated_mae for c in fitted.compared.values())
    residuals = fitted.predictions - data.ratings
    assert best.held_out_mae == pytest.approx(np.abs(residuals[fitted.held_out]).mean())
    assert best.cross_validated_mae == pytest.approx(np.abs(residuals[~fitted.held_out]).mean(), rel=0.1)
    parts = (residuals[fitted.held_out], residuals[~fitted.held_out])
    assert fitted.residual_std == pytest.approx(max(np.sqrt(np.mean(part**2)) for part in parts))
    assert fitted.held_out.sum() == 20


def test_standardization_comes_from_the_training_people_alone(fitted: FittedRegressor) -> None:
    data = planted(100, noise=0.3)
    train = data.features[~fitted.held_out][:, [data.names.index(name) for name in fitted.features]]
    assert fitted.mean == pytest.approx(train.mean(0))
    assert fitted.scale == pytest.approx(train.std(0))


def test_held_out_ratings_change_nothing_of_the_regressor(fitted: FittedRegressor) -> None:
    data = planted(100, noise=0.3)
    other = np.where(fitted.held_out, 8 - data.ratings, data.ratings)
    again = fit_regressor(RatedFeatures(data.names, data.features, other, data.people), seed=0, trials=2)
    assert again.model == fitted.model
    assert [m.as_json() for m in again.members] == [m.as_json() for m in fitted.members]
    assert again.compared[fitted.model].held_out_mae > 1


def test_the_written_file_predicts_what_was_fitted(fitted: FittedRegressor, tmp_path: Path) -> None:
    data = planted(100, noise=0.3)
    path = tmp_path / "regressor.json"
    path.write_text(json.dumps(regressor_document(fitted, ORIGIN, {"notes": "test"})))
    regressor = load_regressor(path)
    assert regressor.features == fitted.features
    for n in np.flatnonzero(fitted.held_out):
        row = dict(zip(data.names, data.features[n], strict=True))
        assert regressor.predict(row) == pytest.approx(fitted.predictions[n])


def test_noise_alone_is_not_taken_for_a_relation() -> None:
    random = np.random.default_rng(1)
    x, ratings = random.normal(size=(90, 3)), random.uniform(1, 7, 90)
    found = search(MODELS["ridge"], x, ratings, [str(n) for n in range(90)], 0, trials=5)
    assert abs(np.corrcoef(found.answers, ratings)[0, 1]) < 0.4


def test_features_chosen_among_many_worthless_ones_do_not_look_useful() -> None:
    """Chosen with a fold's own ratings in view, a few of 40 fit them by chance."""
    random = np.random.default_rng(5)
    people = tuple(f"p{n // 2}" for n in range(80))
    names = tuple(f"f{n}" for n in range(40))
    gains, residuals = [], []
    for seed in range(2):
        data = RatedFeatures(names, random.normal(size=(80, 40)), random.uniform(1, 7, 80), people)
        found = fit_regressor(data, seed, trials=2, models=("linear", "ridge"))
        rated, predicted = data.ratings[~found.held_out], found.predictions[~found.held_out]
        gains.append(np.corrcoef(predicted, rated)[0, 1])
        residuals.append(found.residual_std / rated.std())
    assert np.mean(gains) < 0.1
    assert min(residuals) > 1


@given(st.lists(st.integers(0, 30), min_size=FEWEST_PEOPLE, max_size=80), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_a_person_is_never_on_both_sides_of_the_held_out_part(numbers: list[int], seed: int) -> None:
    people = [f"p{n}" for n in numbers]
    if len(set(people)) < FEWEST_PEOPLE:
        with pytest.raises(TooFewPeopleError, match=f"{len(set(people))} people"):
            hold_out(people, seed)
        return
    held_out = hold_out(people, seed)
    inside = {p for p, is_out in zip(people, held_out, strict=True) if is_out}
    outside = {p for p, is_out in zip(people, held_out, strict=True) if not is_out}
    assert not inside & outside
    assert len(inside) == np.ceil(0.2 * len(set(people)))


def test_a_fifth_of_the_people_is_rounded_up() -> None:
    """docs/calibration.md says from how many people on the five are held out that an interval takes."""
    for people, expected in ((8, 2), (20, 4), (21, 5)):
        assert hold_out([str(n) for n in range(people)], seed=0).sum() == expected


def test_a_person_is_never_on_both_sides_of_a_fold() -> None:
    people = [f"p{n}" for n in np.random.default_rng(3).integers(0, 12, 60)]
    x = np.arange(60.0)[:, None]  # each row names itself
    trained = []

    def spy(rows, ratings, hyperparameters, seed):  # type: ignore[no-untyped-def]
        trained.append({int(row) for row in rows[:, 0]})
        return MODELS["linear"].fit(rows, ratings, hyperparameters, seed)

    cross_validated(spy, x, np.linspace(1, 7, 60), people, {}, 0)
    assert len(trained) == 5
    for rows in trained:
        left_out = set(range(60)) - rows
        assert not {people[n] for n in rows} & {people[n] for n in left_out}


def test_a_person_seen_twice_does_not_leak_between_folds() -> None:
    # The features name the person and nothing else: only a split person would make the ratings known.
    random = np.random.default_rng(2)
    numbers = np.repeat(np.arange(30), 3)
    x, ratings = random.normal(size=(30, 6))[numbers], random.uniform(1, 7, 30)[numbers]
    found = {"C": 10.0, "epsilon": 0.01, "kernel": "rbf", "gamma": 1.0}
    together = cross_validated(MODELS["svr"].fit, x, ratings, [f"p{n}" for n in numbers], found, 0)
    split = cross_validated(MODELS["svr"].fit, x, ratings, [str(n) for n in range(90)], found, 0)
    assert np.corrcoef(together, ratings)[0, 1] < 0.4
    assert np.corrcoef(split, ratings)[0, 1] > 0.9


def test_fewer_people_than_folds_are_refused() -> None:
    with pytest.raises(ValueError, match="3 people"):
        cross_validated(MODELS["linear"].fit, np.zeros((6, 2)), np.ones(6), list("aabbcc"), {}, 0)


def test_the_search_finds_a_better_penalty_than_the_first_it_tries() -> None:
    # 60 rows and 40 features, of which two count: without a strong lasso the rest drowns them.
    random = np.random.default_rng(7)
    x = random.normal(size=(60, 40))
    ratings = 4 + x[:, 0] - x[:, 1] + random.normal(0, 0.3, 60)
    people = [str(n) for n in range(60)]
    found = search(MODELS["lasso"], x, ratings, people, 0, trials=15)
    first = search(MODELS["lasso"], x, ratings, people, 0, trials=1)
    assert (found.trials, first.trials) == (15, 1)
    assert found.mae <= first.mae
    answers = cross_validated(MODELS["lasso"].fit, x, ratings, people, found.hyperparameters, 0)
    assert np.abs(answers - ratings).mean() == pytest.approx(found.mae)
    plain = search(MODELS["linear"], x, ratings, people, 0, trials=15)
    assert plain.trials == 1
    assert found.mae < 0.7 * plain.mae


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_support_vectors_answer_as_the_library_does(kernel: str) -> None:
    data = planted(40, noise=0.3)
    x = (data.features - data.features.mean(0)) / data.features.std(0)
    settings_ = {"C": 3.0, "epsilon": 0.1, "kernel": kernel, "gamma": 0.2}
    (member,) = MODELS["svr"].fit(x, data.ratings, settings_, 0)
    library = SVR(**settings_).fit(x, data.ratings)
    elsewhere = np.random.default_rng(1).normal(size=(10, 3))
    assert member.answer(elsewhere) == pytest.approx(library.predict(elsewhere))


def test_ratings_that_need_no_support_vector_leave_a_regressor_that_loads() -> None:
    """Ratings that lie within epsilon of each other leave an SVM nothing but its bias."""
    data = planted(40, noise=0.3)
    settings_ = {"C": 1.0, "epsilon": 0.9, "kernel": "rbf", "gamma": 0.2}
    ratings = np.linspace(5.5, 7, 40)
    (member,) = MODELS["svr"].fit(data.features, ratings, settings_, 0)
    assert member.answer(data.features) == pytest.approx(np.full(40, 6.25))
    again = member_from_json(json.loads(json.dumps(member.as_json())))
    again.check(3)
    assert again.answer(data.features) == pytest.approx(np.full(40, 6.25))


def test_the_linear_models_are_least_squares_with_their_penalties() -> None:
    random = np.random.default_rng(5)
    x = random.normal(size=(50, 3))
    ratings = 4 + x @ [0.5, -0.3, 0.0] + random.normal(0, 0.1, 50)
    ones = np.column_stack([x, np.ones(50)])
    expected = ones @ np.linalg.lstsq(ones, ratings, rcond=None)[0]
    for name, settings_ in (
        ("linear", {}),
        ("ridge", {"alpha": 1e-9}),
        ("lasso", {"alpha": 1e-9}),
        ("huber", {"epsilon": 1e3, "alpha": 0.0}),
    ):
        (member,) = MODELS[name].fit(x, ratings, settings_, 0)
        assert member.answer(x) == pytest.approx(expected, abs=1e-3), name
    (strong,) = MODELS["ridge"].fit(x, ratings, {"alpha": 50.0}, 0)
    assert strong.answer(x) == pytest.approx(Ridge(alpha=50.0).fit(x, ratings).predict(x))
    (sparse,) = MODELS["lasso"].fit(x, ratings, {"alpha": 0.2}, 0)
    assert sparse.layers[0].weight[0, 2] == 0


def test_huber_bears_an_outlier_that_pulls_least_squares() -> None:
    x = np.linspace(-1, 1, 40)[:, None]
    ratings = 4 + x[:, 0]
    ratings[-1] = -60
    (huber,) = MODELS["huber"].fit(x, ratings, {"epsilon": 1.35, "alpha": 1e-5}, 0)
    (linear,) = MODELS["linear"].fit(x, ratings, {}, 0)
    assert huber.layers[0].weight[0, 0] == pytest.approx(1, abs=0.05)
    assert linear.layers[0].weight[0, 0] < 0


def test_a_huber_solver_that_gives_up_ends_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(self, x, y):  # type: ignore[no-untyped-def]
        raise ValueError("HuberRegressor convergence failed")

    monkeypatch.setattr(HuberRegressor, "fit", give_up)
    x = np.linspace(-1, 1, 40)[:, None]
    (line,) = MODELS["huber"].fit(x, 4 + x[:, 0], {"epsilon": 1.35, "alpha": 1e-5}, 0)
    assert line.answer(x) == pytest.approx(4 + x[:, 0], abs=1e-3)


def test_the_network_has_the_papers_shape_and_bends_where_a_line_cannot() -> None:
    x = np.linspace(-1.7, 1.7, 80)[:, None]
    ratings = 2 + np.abs(x[:, 0]) * 2
    members = MODELS["mlp"].fit(x, ratings, {"learning_rate": 0.02, "weight_decay": 1e-6}, 0)
    shapes = {tuple(layer.weight.shape for layer in member.layers) for member in members}
    assert shapes == {((6, 1), (1, 6))}
    assert {tuple(layer.activation for layer in member.layers) for member in members} == {("elu", "linear")}
    answer = np.mean([member.answer(x) for member in members], axis=0)
    assert np.abs(answer - ratings).mean() < 0.25
    again = MODELS["mlp"].fit(x, ratings, {"learning_rate": 0.02, "weight_decay": 1e-6}, 0)
    assert [m.as_json() for m in again] == [m.as_json() for m in members]


def test_features_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        RatedFeatures(("a",), np.array([[np.nan]]), np.ones(1), ("p",))
    with pytest.raises(ValueError, match="fit each other"):
        RatedFeatures(("a", "b"), np.ones((1, 1)), np.ones(1), ("p",))
