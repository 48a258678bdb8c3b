"""What the measured cases say: correlations, retakes, regions, coverage and groups, each as a small table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.validation_cases import GENERATED, HELD_OUT, NEUTRAL, RETAKES, SMILING, TUNING
from bench.validation_rows import Row
from models.regressor import HIGHEST, LOWEST, Regressor
from models.regressor_member import mean_answer
from pipeline.change import REPEATABILITY_SETTING, smallest_change
from pipeline.learned_features import LEARNED_FEATURES
from pipeline.local_features import LOCAL_FEATURES
from pipeline.perceptual_severity import LEVELS, rating_of
from pipeline.regression_models import MODELS
from pipeline.result import NINETY_PERCENT, Features
from pipeline.shape_features import SHAPE_FEATURES

Table = list[list[str]]
"""Rows of cells; the first is the head."""

Array = NDArray[np.float64]

_RESAMPLES = 1000
_RIGHT_SHARE = 0.6
_CLEAR_LEVEL = 0.6

FEATURE_SETS: Mapping[str, tuple[str, ...]] = {
    "the paper's five": Features.names(),
    "the five and local ones": (*Features.names(), *LOCAL_FEATURES),
    "the network's": LEARNED_FEATURES,
    "the network's `n_peak`": ("n_peak",),
    "`n_peak` and shape": ("n_peak", *SHAPE_FEATURES),
    "all of these": (*Features.names(), *LOCAL_FEATURES, *LEARNED_FEATURES, *SHAPE_FEATURES),
}


def rated(rows: Sequence[Row]) -> Array:
    """Return what the cases would be rated (N,)."""
    return np.array([rating_of(row.severity) for row in rows])


def matrix(rows: Sequence[Row], names: Sequence[str]) -> Array:
    """Return the features (N, F)."""
    return np.array([[row.features[name] for name in names] for row in rows])


def pearson(a: Array, b: Array) -> float:
    """Return R, not a number where one of them does not vary."""
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")


def feature_table(rows: Sequence[Row]) -> Table:
    """Compare the sets of features: a ridge regression on generated faces, in folds and on people."""
    generated = [row for row in rows if row.split == GENERATED]
    table = [["features", "generated faces, in folds", "people tuned on", "people held out"]]
    for title, names in FEATURE_SETS.items():
        x, y = matrix(generated, names), rated(generated)
        cells = [with_interval([in_folds(x, y), y], [row.person for row in generated])]
        model = ridge().fit(x, y)
        for split in (TUNING, HELD_OUT):
            of = drawn_on(rows, split)
            found = [on_scale(model.predict(matrix(of, names))), rated(of)] if of else []
            # So few people are no sample to draw from again.
            cells.append(f"{pearson(*found):.2f}" if found else "-")
        table.append([title, *cells])
    return table


def in_folds(x: Array, y: Array) -> Array:
    """Return for every row (N, F) what a ridge regression says that was fitted on the other four fifths."""
    answers = np.zeros(len(x))
    for train, test in KFold(5, shuffle=True, random_state=0).split(x):
        answers[test] = on_scale(ridge().fit(x[train], y[train]).predict(x[test]))
    return answers


def kind_table(rows: Sequence[Row], regressor: Regressor) -> Table:
    """Give R of severity and score, and the mean score at each level, by kind, for all people."""
    people = [row for row in rows if row.split != GENERATED and row.view == NEUTRAL]
    measured = {row.person for row in people if row.kind}
    people = [row for row in people if row.person in measured]
    scores = {id(row): regressor.predict(row.features) for row in people}
    plain = [row for row in people if not row.kind]
    table = [["kind", "R", *(f"mean at {level:g}" for level in LEVELS)]]
    kinds = sorted({row.kind for row in people if row.kind})
    for kind in (*kinds, ""):
        of = [row for row in people if row.kind == kind or not row.kind or not kind]
        r = pearson(np.array([-row.severity for row in of]), np.array([scores[id(row)] for row in of]))
        means = []
        for level in LEVELS:
            at = [row for row in (plain if level == 0 else of) if row.level == level]
            means.append(f"{np.mean([scores[id(row)] for row in at]):.2f}" if at else "-")
        table.append([kind.replace("_", " ") or "**all kinds**", f"{r:.2f}", *means])
    return table


def left_out_table(rows: Sequence[Row], regressor: Regressor) -> Table:
    """Fit the regressor anew without one kind after the other, and judge each by the kind left out."""
    generated = [row for row in rows if row.split == GENERATED]
    people = [row for row in rows if row.split != GENERATED and row.view == NEUTRAL]
    measured = {row.person for row in people if row.kind}
    table = [["kind left out", "generated faces", "MAE", "people: R with undeformed ones", "MAE"]]
    for kind in sorted({row.kind for row in generated if row.kind}):
        seen = [row for row in generated if row.kind != kind]
        predict = _fitted_like(regressor, seen)
        unseen = [row for row in generated if row.kind == kind]
        cells = [kind.replace("_", " "), str(len(unseen)), _mae(predict, unseen)]
        of = [row for row in people if row.kind == kind]
        with_plain = [*of, *(row for row in people if not row.kind and row.person in measured)]
        r = f"{pearson(predict(with_plain), rated(with_plain)):.2f}" if of else "-"
        table.append([*cells, r, _mae(predict, of) if of else "-"])
    return table


def _fitted_like(regressor: Regressor, rows: Sequence[Row]) -> Callable[[Sequence[Row]], Array]:
    """Fit the regressor's model, with its own hyperparameters, to these rows; return what it predicts."""
    name = str(regressor.card["model"])
    settings = regressor.card["compared"][name]["hyperparameters"]  # type: ignore[index]
    x = matrix(rows, regressor.features)
    mean, scale = x.mean(0), np.where(x.std(0) > 0, x.std(0), 1.0)
    members = MODELS[name].fit((x - mean) / scale, rated(rows), settings, 0)

    def predict(of: Sequence[Row]) -> Array:
        return on_scale(mean_answer(members, (matrix(of, regressor.features) - mean) / scale))

    return predict


def on_scale(scores: Array) -> Array:
    """Return scores as a node gives them, within 1 and 7."""
    return np.clip(scores, LOWEST, HIGHEST)


def _mae(predict: Callable[[Sequence[Row]], Array], rows: Sequence[Row]) -> str:
    return f"{np.abs(predict(rows) - rated(rows)).mean():.2f}"


def retake_table(rows: Sequence[Row], regressor: Regressor) -> Table:
    """Say how far a score moves when the photograph is taken again, or the person smiles."""
    table = [["the same person, undeformed", "people", "mean difference", "mean of absolute differences"]]
    for view in (SMILING, *RETAKES):
        apart = []
        for person in sorted({row.person for row in rows if row.split != GENERATED}):
            views = {row.view: row for row in rows if row.person == person and not row.kind}
            if NEUTRAL in views and view in views:
                apart.append(
                    regressor.predict(views[view].features) - regressor.predict(views[NEUTRAL].features)
                )
        if apart:
            table.append([view, str(len(apart)), f"{np.mean(apart):+.2f}", f"{np.mean(np.abs(apart)):.2f}"])
    return table


def outcome_table(rows: Sequence[Row], regressor: Regressor) -> Table:
    """Count pairs called improved, regions named rightly, and what the intervals cover."""
    table = [["figure", "count", "share"]]
    people = [row for row in rows if row.split != GENERATED and row.view == NEUTRAL]
    gains = gains_of_pairs(people, lambda row: regressor.predict(row.features))
    table.append(_share("severity at least 0.5 less: called improved (people)", [g > 0 for g in gains]))
    noise = float(regressor.card.get(REPEATABILITY_SETTING, regressor.residual_std))  # type: ignore[arg-type]
    beyond = [g > smallest_change(noise, noise) for g in gains]
    table.append(_share("severity at least 0.5 less: improved by more than noise (people)", beyond))
    for title, ahead in (("right region first", 1), ("right region among two", 2)):
        table.append(
            _share(f"{title} (generated faces, severity {_CLEAR_LEVEL} and more)", _hits(rows, ahead))
        )
    generated = [row for row in rows if row.split == GENERATED]
    half = NINETY_PERCENT * regressor.residual_std
    covered = [abs(regressor.predict(r.features) - rating_of(r.severity)) <= half for r in generated]
    table.append(_share("within the 90 % interval (generated; the regressor knows four fifths)", covered))
    people = [row for row in people if row.kind]
    covered = [abs(regressor.predict(r.features) - rating_of(r.severity)) <= half for r in people]
    table.append(_share("within the 90 % interval (people with drawn anomalies)", covered))
    return table


def gains_of_pairs(rows: Sequence[Row], score: Callable[[Row], float]) -> list[float]:
    """Return how far the score rises in each pair of one person's rows whose severity falls by 0.5."""
    return [
        score(after) - score(before)
        for before in rows
        for after in rows
        if before.level >= 0.75
        and after.level <= 0.25
        and after.person == before.person
        and after.kind in (before.kind, "")
    ]


def group_table(rows: Sequence[Row], regressor: Regressor, groups: Mapping[str, Mapping[str, str]]) -> Table:
    """Give the scores of undeformed people by group, and the gaps. groups: what -> person -> group."""
    table = [["group", "people", "mean score", "standard deviation"]]
    plain = undeformed_scores(rows, regressor)
    table.append(_group("everybody", list(plain.values())))
    for what, of_person in groups.items():
        found = by_group(plain, of_person)
        table += [_group(f"{what}: {name}", scores) for name, scores in found.items()]
        large = [scores for scores in found.values() if len(scores) >= 10]
        if len(large) > 1:
            table.append([f"gap in {what}, groups of ten and more", "", gap_between(large), ""])
    return table


def generated_group_table(rows: Sequence[Row], regressor: Regressor, group: Mapping[str, str]) -> Table:
    """Give the scores of undeformed generated faces by group, and the gap. group: face -> group."""
    scores = {
        row.person: regressor.predict(row.features)
        for row in rows
        if row.split == GENERATED and not row.kind and row.person in group
    }
    found = by_group(scores, group)
    table = [["group", "generated faces", "mean score", "standard deviation"]]
    table.append(_group("everybody", list(scores.values())))
    table += [_group(name, of_group) for name, of_group in found.items()]
    table.append(["gap", "", gap_between(list(found.values())), ""])
    return table


def undeformed_scores(rows: Sequence[Row], regressor: Regressor) -> dict[str, float]:
    """Return the score of every person's neutral photograph without an anomaly, by person."""
    return {
        row.person: regressor.predict(row.features)
        for row in rows
        if row.split != GENERATED and row.view == NEUTRAL and not row.kind
    }


def by_group(scores: Mapping[str, float], of_person: Mapping[str, str]) -> dict[str, list[float]]:
    """Return group -> scores of its people, sorted by group. of_person: person -> group."""
    found: dict[str, list[float]] = {}
    for person, score in scores.items():
        if person in of_person:
            found.setdefault(of_person[person], []).append(score)
    return dict(sorted(found.items()))


def _group(name: str, scores: Sequence[float]) -> list[str]:
    spread = f"{np.std(scores, ddof=1):.2f}" if len(scores) > 1 else "-"
    return [name, str(len(scores)), f"{np.mean(scores):.2f}", spread]


def gap_between(groups: Sequence[Sequence[float]]) -> str:
    """Return the widest gap between the means of groups of scores, with its interval.

    Of the two groups that it lies between: an interval of the widest of every draw could not hold 0.
    """
    arrays = sorted((np.array(scores) for scores in groups), key=lambda scores: float(scores.mean()))
    low, high = arrays[0], arrays[-1]
    random = np.random.default_rng(0)
    drawn = [
        random.choice(high, len(high)).mean() - random.choice(low, len(low)).mean() for _ in range(_RESAMPLES)
    ]
    least, most = np.percentile(drawn, (2.5, 97.5))
    return f"{high.mean() - low.mean():.2f} ({least:.2f} to {most:.2f})"


def drawn_on(rows: Sequence[Row], split: str) -> list[Row]:
    """Return a split's neutral cases of the people on whom anomalies were drawn."""
    drawn = {row.person for row in rows if row.split == split and row.kind}
    return [row for row in rows if row.split == split and row.view == NEUTRAL and row.person in drawn]


def _hits(rows: Sequence[Row], ahead: int) -> list[bool]:
    """Whether one of the first regions is one that the drawing changes most, or nearly as much."""
    hits = []
    for row in rows:
        if row.split != GENERATED or not row.kind or row.severity < _CLEAR_LEVEL:
            continue
        most = max(row.changed.values())
        right = {name for name, change in row.changed.items() if change >= _RIGHT_SHARE * most}
        named = sorted(row.regions, key=lambda name: -row.regions[name])[:ahead]
        hits.append(bool(right & set(named)))
    return hits


def _share(title: str, hits: Sequence[bool]) -> list[str]:
    return [title, str(len(hits)), f"{100 * np.mean(hits):.0f} %" if hits else "-"]


def ridge() -> Pipeline:
    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 12)))


def with_interval(
    columns: Sequence[Array], people: Sequence[str], figure: Callable[..., float] = pearson
) -> str:
    """Return the figure with its 95 % interval, people drawn anew."""
    names = np.array(people)
    rows_of = {person: np.flatnonzero(names == person) for person in set(people)}
    random, drawn = np.random.default_rng(0), []
    for _ in range(_RESAMPLES):
        chosen = np.concatenate([rows_of[p] for p in random.choice(sorted(rows_of), len(rows_of))])
        drawn.append(figure(*(column[chosen] for column in columns)))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return f"{figure(*columns):.2f} ({low:.2f} to {high:.2f})"
