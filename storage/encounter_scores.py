"""The scores of a patient's encounters, as reports show them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline.encounter_score import EncounterScore, encounter_score
from pipeline.result import Score
from storage.scorings import SCORED, result_of
from storage.tables import Encounter, Photograph, Scoring

# Software that has no date writes the first one of its calendar, often 00010101.
EARLIEST_DATE: Final = "19000101"


def encounter_scores(session: Session, patient_pk: int, setup_digest: str) -> list[EncounterScore]:
    """Return one score per encounter that has any, by study date, time and UID.

    An encounter that was scored under `setup_digest` gets that score; any other the score of the setup
    that it was scored under last, which may not be compared with the rest.
    """
    rows = session.execute(
        select(Encounter, Photograph, Scoring)
        .join(Photograph, Photograph.encounter_pk == Encounter.id)
        .join(Scoring, Scoring.photograph_pk == Photograph.id)
        .where(Encounter.patient_pk == patient_pk, Scoring.status == SCORED)
        .order_by(Scoring.created_at, Scoring.id)
    ).all()
    encounters: dict[int, Encounter] = {}
    found: dict[int, dict[str, list[tuple[str, Scoring]]]] = defaultdict(lambda: defaultdict(list))
    for encounter, photograph, scoring in rows:
        encounters[encounter.id] = encounter
        found[encounter.id][scoring.setup_digest].append((photograph.sop_instance_uid, scoring))
    scores = [
        _score(encounters[key], setups.get(setup_digest) or _latest(setups)) for key, setups in found.items()
    ]
    return sorted(scores, key=lambda one: one.order)


def _latest(setups: dict[str, list[tuple[str, Scoring]]]) -> Sequence[tuple[str, Scoring]]:
    return max(setups.values(), key=lambda scorings: max(scoring.id for _, scoring in scorings))


def _score(encounter: Encounter, scorings: Sequence[tuple[str, Scoring]]) -> EncounterScore:
    results = [(uid, result_of(scoring)) for uid, scoring in scorings]
    return encounter_score(
        encounter.study_instance_uid,
        usable_date(encounter),
        encounter.study_time,
        [(uid, result) for uid, result in results if isinstance(result, Score)],
    )


def usable_date(encounter: Encounter) -> str:
    """Return the study date; '' for no day of the calendar, before 1900, and too late.

    That is more than a day after the newest photograph's arrival, because a camera's clock and ours may be of
    different zones.
    """
    latest = f"{encounter.last_received_at + timedelta(days=1):%Y%m%d}"
    if not EARLIEST_DATE <= encounter.study_date <= latest:
        return ""
    try:
        datetime.strptime(encounter.study_date, "%Y%m%d")
    except ValueError:
        return ""
    return encounter.study_date


def newest_setup(session: Session, patient_pk: int) -> str | None:
    """Return the digest of the setup that scored a photograph of the patient last; None without any."""
    return session.scalar(
        select(Scoring.setup_digest)
        .join(Photograph, Photograph.id == Scoring.photograph_pk)
        .join(Encounter, Encounter.id == Photograph.encounter_pk)
        .where(Encounter.patient_pk == patient_pk, Scoring.status == SCORED)
        .order_by(Scoring.created_at.desc(), Scoring.id.desc())
        .limit(1)
    )
