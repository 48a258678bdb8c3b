"""The card says what was computed: against figures from the rows themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image
from scipy import stats

from pipeline.calibration_card import RegressorOrigin, calibration_card, regressor_document
from pipeline.calibration_card_text import card_text
from pipeline.calibration_plot import binned, draw_calibration
from pipeline.regression import FittedRegressor, RatedFeatures, fit_regressor

PEOPLE = tuple(f"p{n // 2}" for n in range(80))
SEX = ["f" if n % 4 < 2 else "m" for n in range(80)]


@pytest.fixture(scope="module")
def data() -> RatedFeatures:
    random = np.random.default_rng(3)
    x = random.normal(size=(80, 4))
    ratings = np.clip(4 + 1.5 * x[:, 0] + random.normal(0, 0.4, 80), 1, 7)
    return RatedFeatures(("a", "b", "c", "d"), x, ratings, PEOPLE)


@pytest.fixture(scope="module")
def fitted(data: RatedFeatures) -> FittedRegressor:
    return fit_regressor(data, seed=1, trials=1)


@pytest.fixture(scope="module")
def card(data: RatedFeatures, fitted: FittedRegressor) -> dict:
    described = {"sha256": "0" * 64, "photographs": 80, "unscorable": {}}
    return calibration_card(data, fitted, described, {"sex": SEX}, seed=1, date="2026-01-02")


def test_held_out_figures_are_of_the_held_out_rows(
    card: dict, data: RatedFeatures, fitted: FittedRegressor
) -> None:
    rows = fitted.held_out
    predicted, rated = fitted.predictions[rows], data.ratings[rows]
    found = card["held_out"]
    assert (found["photographs"], found["people"]) == (16, 8)
    assert found["r"]["value"] == pytest.approx(stats.pearsonr(predicted, rated).statistic, abs=1e-4)
    assert found["r"]["low"] < found["r"]["value"] < found["r"]["high"]
    assert found["mae"]["value"] == pytest.approx(np.abs(predicted - rated).mean(), abs=1e-4)
    constant = np.abs(data.ratings[~rows].mean() - rated).mean()
    assert found["mae_of_always_the_mean_rating"] == pytest.approx(constant, abs=1e-4)
    slope, intercept = np.polyfit(predicted, rated, 1)
    assert found["calibration"] == pytest.approx({"slope": slope, "intercept": intercept}, abs=1e-4)
    best = card["compared"][card["model"]]
    assert best["held_out_mae"] == pytest.approx(found["mae"]["value"], abs=1e-4)


def test_groups_and_bands_cover_every_row(card: dict, data: RatedFeatures, fitted: FittedRegressor) -> None:
    assert sum(error["photographs"] for error in card["severity"].values()) == 80
    women = np.array(SEX) == "f"
    expected = (fitted.predictions - data.ratings)[women]
    assert card["groups"]["sex"]["f"]["mae"]["value"] == pytest.approx(np.abs(expected).mean(), abs=1e-4)
    assert card["groups"]["sex"]["f"]["bias"]["value"] == pytest.approx(expected.mean(), abs=1e-4)


def test_it_is_plain_json_with_date_versions_and_the_papers_figures(
    card: dict, fitted: FittedRegressor
) -> None:
    origin = RegressorOrigin("x", "g", "0" * 64, "fast", synthetic=False)
    text = json.dumps(regressor_document(fitted, origin, card), allow_nan=False)
    assert json.loads(text)["card"] == json.loads(json.dumps(card))
    assert card["date"] == "2026-01-02"
    assert {"facenorm", "scikit-learn", "optuna", "torch"} <= set(card["versions"])
    assert (card["paper"]["r"], card["paper"]["mae"]) == (0.9, 0.57)
    assert "not the same experiment" in card["paper"]["note"]


def test_the_text_holds_the_figures_of_the_card(card: dict, fitted: FittedRegressor) -> None:
    for synthetic, nature in ((True, "the raters were programs"), (False, "ratings by people")):
        origin = RegressorOrigin("x", "g", "0" * 64, "fast", synthetic)
        text = card_text(regressor_document(fitted, origin, card), "plot.png")
        assert nature in text
        for figure in (card["held_out"]["r"]["value"], card["severity"]["moderate, 3 to 5"]["mae"]["value"]):
            assert f"{figure:.2f} (" in text
        assert "| sex: f | 40 | 20 |" in text
        assert "![Ratings over predicted scores](plot.png)" in text
        assert "unscorable: none" in text
        assert "None" not in text


def test_the_text_tells_no_from_nothing_and_zero(card: dict, fitted: FittedRegressor) -> None:
    origin = RegressorOrigin("x", "g", "0" * 64, "fast", synthetic=False)
    data = {
        "people_are_named": False,
        "mean_absolute_deviation_of_raters": 0.0,
        "something": None,
        "unscorable": {"no_face": 2},
    }
    lines = card_text(regressor_document(fitted, origin, card | {"data": data}), "plot.png").splitlines()
    assert "- people are named: no" in lines
    assert "- mean absolute deviation of raters: 0.0" in lines
    assert "- something: not defined" in lines
    assert "- unscorable: no_face 2" in lines


def test_a_diagnosis_of_two_lines_stays_in_its_row(data: RatedFeatures, fitted: FittedRegressor) -> None:
    diagnoses = ["cleft lip\nand palate" if sex == "f" else "none" for sex in SEX]
    card = calibration_card(data, fitted, {"unscorable": {}}, {"diagnosis": diagnoses}, 1, "2026-01-02")
    origin = RegressorOrigin("x", "g", "0" * 64, "fast", synthetic=False)
    text = card_text(regressor_document(fitted, origin, card), "plot.png")
    assert "| diagnosis: cleft lip and palate | 40 | 20 |" in text


def test_of_few_held_out_people_neither_r_nor_slope_is_stated_anywhere(
    data: RatedFeatures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = RatedFeatures(data.names, data.features[:20], data.ratings[:20], PEOPLE[:20])
    fitted = fit_regressor(few, seed=1, trials=1, models=("linear",))
    card = calibration_card(few, fitted, {"unscorable": {}}, {}, seed=1, date="2026-01-02")
    assert card["held_out"]["people"] == 2
    assert card["held_out"]["r"]["value"] is None
    assert card["compared"]["linear"]["held_out_r"] is None
    assert card["held_out"]["calibration"] == {"slope": None, "intercept": None}
    titles, labels = [], []
    plot = Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda *a, label="", **named: labels.append(label) or plot(*a, **named))
    monkeypatch.setattr(Axes, "set_title", lambda _, title, **__: titles.append(title))
    draw_calibration(few, fitted, tmp_path / "plot.png")
    assert [title.split()[:3] for title in titles] == [["Held", "out:", "MAE"]]
    assert labels == ["ideal", "mean by predicted point, all"]


def test_the_plot_is_drawn_and_bins_by_whole_points(
    data: RatedFeatures, fitted: FittedRegressor, tmp_path: Path
) -> None:
    draw_calibration(data, fitted, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert min(picture.size) > 600
        assert len(picture.convert("RGB").getcolors(2**20)) > 20
    predicted, rated = np.array([1.0, 1.9, 2.0, 6.5]), np.array([2.0, 3.0, 4.0, 5.0])
    middles, means = binned(predicted, rated)
    assert middles == pytest.approx([1.45, 2, 6.5])
    assert means == pytest.approx([2.5, 4, 5])
