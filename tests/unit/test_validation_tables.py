"""The tables of the validation: what they print is what a node would give."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from bench.validation_rows import Row
from bench.validation_tables import gap_between, left_out_table
from models.regressor import load_regressor
from pipeline.perceptual_severity import rating_of
from tests.tiny import TINY_GENERATOR


def row(person: int, split: str, kind: str, severity: float, peak: float) -> Row:
    level = 1.0 if kind else 0.0
    return Row(str(person), split, "neutral", kind, level, severity, {}, {"n_peak": peak}, (), {})


def test_a_kind_left_out_is_scored_as_a_node_would() -> None:
    card = {"model": "huber", "compared": {"huber": {"hyperparameters": {"epsilon": 1.3, "alpha": 1e-4}}}}
    regressor = replace(
        load_regressor(TINY_GENERATOR.with_name("tiny-regressor.json")), features=("n_peak",), card=card
    )
    random = np.random.default_rng(1)
    severities = random.uniform(0, 1, 60).tolist()
    generated = [row(n, "generated", "scar", s, s) for n, s in enumerate(severities)]
    # One wild row, which least squares would follow.
    generated += [row(60, "generated", "scar", 0.0, 5.0), row(61, "generated", "stain", 1.0, 9.0)]
    people = [row(0, "held_out", "stain", 1.0, 9.0), row(0, "held_out", "", 0.0, 0.0)]
    table = {cells[0]: cells for cells in left_out_table([*generated, *people], regressor)}
    assert rating_of(1.0) == pytest.approx(1.0)
    # Far beyond the scale, which ends at 1.
    assert (table["stain"][2], table["stain"][4]) == ("0.00", "0.00")


def test_no_gap_is_seen_where_there_is_none() -> None:
    random = np.random.default_rng(5)
    holds_zero = []
    for _ in range(20):
        said = gap_between([random.normal(5, 0.4, 40).tolist(), random.normal(5, 0.4, 40).tolist()])
        least = float(re.findall(r"\((-?[0-9.]+) to", said)[0])
        holds_zero.append(least <= 0)
    assert np.mean(holds_zero) > 0.8
    assert float(gap_between([[4.0] * 10, [5.0] * 10]).split()[0]) == 1
