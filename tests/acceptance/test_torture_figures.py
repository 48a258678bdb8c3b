"""What operations.md tells of `make torture`, against the figures that it left."""

from __future__ import annotations

import json
import re

from tests.acceptance.documents import REPOSITORY, table

FIGURES = json.loads((REPOSITORY / "bench" / "results" / "torture.json").read_text("utf-8"))
TOLD = {
    row["test"]: {int(number) for number in re.findall(r"\d+", row["what it does"] + row["what came of it"])}
    for row in table(REPOSITORY / "docs" / "operations.md", "Killed, crashed, powered off")
}


def test_the_kills_are_told_as_they_were_counted() -> None:
    keys = (
        "kills",
        "photographs",
        "scorings_cut_off_and_run_again",
        "of_these_just_before_the_commit",
        "results_removed_by_check",
        "photographs_recorded_by_check",
    )
    assert {FIGURES["kills"][key] for key in keys} <= TOLD["kills"]
    tiny = FIGURES["kills, tiny generator"]
    assert {tiny["kills"], tiny["photographs"]} <= TOLD["kills, tiny generator"]
    assert tiny["results_removed_by_check"] == tiny["photographs_recorded_by_check"] == 0


def test_the_kills_of_workers_are_told_as_they_were_counted() -> None:
    assert set(FIGURES["worker kills"].values()) - {FIGURES["worker kills"]["seed"]} <= TOLD["worker kills"]


def test_the_hostile_input_is_told_as_it_was_counted() -> None:
    found = FIGURES["fuzzing"]
    assert sum(found["endings"].values()) == found["cases"]
    assert set(found["endings"]) == {"answered", "closed"}
    assert {
        found["cases"],
        len(found["kinds"]),
        found["seed"],
        found["good_photographs_between"],
        found["memory_mib"]["start"],
        found["memory_mib"]["end"],
    } <= TOLD["hostile input"]
    for what in ("open_files", "threads"):
        assert found[what]["end"] <= found[what]["start"]


def test_the_load_is_told_as_it_was_counted() -> None:
    found = FIGURES["soak"]
    keys = ("photographs", "studies", "senders", "scored_meanwhile", "committed_seconds")
    assert {found[key] for key in keys} <= TOLD["load"]
    assert {found["memory_mib"][key] for key in ("start", "end")} <= TOLD["load"]
    assert found["waiting"]["end"] == 0
