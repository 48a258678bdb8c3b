"""A regressor's card in words and tables (Markdown), for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipeline.regression_errors import FEWEST_PEOPLE


def card_text(document: Mapping[str, Any], plot: str) -> str:
    """Return the text for a regressor's file with a card of `calibration_card`; plot: the picture's name."""
    card = document["card"]
    return "\n".join(
        (
            f"# Regressor {document['name']}",
            "",
            "For research use only. Not a medical device.",
            "",
            *_data(document, card),
            "",
            *_held_out(card),
            "",
            f"![Ratings over predicted scores]({plot})",
            "",
            "## Errors by severity and group",
            "",
            f"Each photograph is predicted without its person. Groups of fewer than {FEWEST_PEOPLE} people "
            "are put together. Bias: predicted minus rated.",
            "",
            *_table(("group", "photographs", "people", "MAE", "bias"), _groups(card)),
            "",
            "## Features and models",
            "",
            *_selection(card["selection"]),
            "",
            *_table(("model", "MAE in the folds", "MAE on held-out people", "R there"), _models(card)),
            "",
            f"Kept: {card['model']}, the least MAE in the folds.",
            "",
            f"Made on {card['date']} with {', '.join(f'{k} {v}' for k, v in card['versions'].items())}; seed "
            f"{card['seed']}. Intervals: {card['intervals']}.",
            "",
        )
    )


def _data(document: Mapping[str, Any], card: Mapping[str, Any]) -> Iterator[str]:
    data = card["data"]
    yield (
        "**Synthetic: the raters were programs.** No person rated anything."
        if document["synthetic"]
        else "Learned from ratings by people."
    )
    yield ""
    yield f"- generator {document['generator']}, profile {document['profile']}"
    for key, value in data.items():
        yield f"- {key.replace('_', ' ')}: {_told(value)}"


def _told(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not defined" if value is None else str(value)


def _held_out(card: Mapping[str, Any]) -> list[str]:
    held_out, paper = card["held_out"], card["paper"]
    return [
        f"## On {held_out['people']} held-out people",
        "",
        *_table(
            ("", "this regressor", "the paper"),
            (
                ("R", with_interval(held_out["r"]), f"{paper['r']:.2f}"),
                ("MAE, points", with_interval(held_out["mae"]), f"{paper['mae']:.2f}"),
                ("MAE of always the mean rating", _number(held_out["mae_of_always_the_mean_rating"]), ""),
            ),
        ),
        "",
        f"The paper's figures: {paper['note']}",
        "",
        f"Calibration (ideal: 1 and 0): slope {_number(held_out['calibration']['slope'])}, intercept "
        f"{_number(held_out['calibration']['intercept'])}; {held_out['photographs']} photographs.",
    ]


def _groups(card: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for column, errors in (("severity", card["severity"]), *card["groups"].items()):
        for value, error in errors.items():
            yield (
                f"{column}: {' '.join(value.replace('|', '/').split())}",
                str(error["photographs"]),
                str(error["people"]),
                with_interval(error["mae"]),
                with_interval(error["bias"]),
            )


def _selection(selection: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{selection['method']}; importance above {selection['least_importance']:.0%}, and no two that "
        f"correlate by more than {selection['greatest_correlation']}. Chosen: "
        f"{', '.join(selection['chosen'])}."
    )
    for name, twin in selection["dropped_as_collinear"].items():
        yield f"{name} was dropped: it says the same as {twin}."


def _models(card: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, found in card["compared"].items():
        figures = (found[key] for key in ("cross_validated_mae", "held_out_mae", "held_out_r"))
        yield (name, *(_number(figure) for figure in figures))


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = (heading, ("---",) * len(heading), *rows)
    return [f"| {' | '.join(line)} |" for line in lines]


def with_interval(figures: Mapping[str, float | None]) -> str:
    """Return a figure of a card in words: {"value", "low", "high"}, None where it is not defined."""
    if figures["value"] is None:
        return "not defined"
    if figures["low"] is None:
        return f"{figures['value']:.2f} (too few people for an interval)"
    return f"{figures['value']:.2f} ({figures['low']:.2f} to {figures['high']:.2f})"


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.2f}"
