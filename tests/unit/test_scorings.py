from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from pipeline.result import (
    Features,
    Provenance,
    QualityIssue,
    QualityWarning,
    Rejection,
    RejectionReason,
    Score,
)
from storage.history import patient_history
from storage.scorings import add_scoring, count_scorings, find_scoring, result_of
from storage.tables import Photograph
from tests.unit.rows import NOON, add_photograph, database

PROVENANCE = Provenance("g", "1", "lpips-alex", "r", "2", True, "fast", 7, "0.1", {"steps": 3, "lr": 0.1})
SCORE = Score(
    value=4.5,
    uncertainty=0.25,
    features=Features(0.1, 0.2, 21.5, 0.3, 0.4),
    outline=((1.0, 2.0), (3.0, 2.0), (3.0, 9.5), (1.0, 2.0)),
    rows=480,
    columns=320,
    provenance=PROVENANCE,
    seconds={"decode": 0.5},
)
REJECTION = Rejection(RejectionReason.NO_FACE, "no face was found", 10, 20, PROVENANCE, {"decode": 0.1})


@pytest.mark.parametrize(
    "result",
    [
        SCORE,
        replace(SCORE, local_features={"l_p99": 0.5}, further_features={"d_xmae": 0.125, "d_wcosine": 0.5}),
        replace(SCORE, region_shares={"nose": 0.75, "upper_lip": 0.25}),
        replace(SCORE, warnings=(QualityWarning(QualityIssue.BLURRED, "not quite sharp"),)),
        replace(SCORE, nearest_average=3),
        REJECTION,
        Rejection(RejectionReason.UNREADABLE_PIXELS, "cannot be decoded"),
    ],
)
def test_a_result_comes_back_as_it_was_stored(tmp_path: Path, result: Score | Rejection) -> None:
    sessions = database(tmp_path)
    with sessions.begin() as session:
        photograph = add_photograph(session, "1.1")
        add_scoring(session, photograph, provenance=PROVENANCE, result=result, created_at=NOON)
    with sessions() as session:
        photograph = session.get_one(Photograph, photograph.id)
        stored = find_scoring(session, photograph, PROVENANCE.digest())
        assert stored is not None
        assert result_of(stored) == result
        assert stored.created_at == NOON
        (entry,) = patient_history(session, "TEST-1")
        assert entry.nearest_average == getattr(result, "nearest_average", None)
        assert find_scoring(session, photograph, replace(PROVENANCE, seed=8).digest()) is None


def test_a_photograph_has_one_scoring_per_setup(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    with sessions.begin() as session:
        photograph = add_photograph(session, "1.1")
        add_scoring(session, photograph, provenance=PROVENANCE, result=SCORE, created_at=NOON)
    with pytest.raises(IntegrityError), sessions.begin() as session:
        add_scoring(session, photograph, provenance=PROVENANCE, result=REJECTION, created_at=NOON)
    with sessions.begin() as session:
        other = replace(PROVENANCE, seed=8)
        add_scoring(session, photograph, provenance=other, result=REJECTION, created_at=NOON)
    with sessions() as session:
        assert count_scorings(session) == {"scored": 1, "rejected": 1}


def test_a_record_from_before_the_further_features_is_read(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    with sessions.begin() as session:
        photograph = add_photograph(session, "1.1")
        row = add_scoring(session, photograph, provenance=PROVENANCE, result=SCORE, created_at=NOON)
        later = ("further_features", "local_features", "region_shares", "warnings")
        row.result = {k: v for k, v in row.result.items() if k not in later}
        assert result_of(row) == SCORE
