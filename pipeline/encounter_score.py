"""The score of an encounter, and which encounters may be compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from statistics import fmean

from pipeline.change import exceeds_noise, repeatability, smallest_change
from pipeline.result import Score


@dataclass(frozen=True, slots=True, order=False)
class EncounterScore:
    """A study's score under one setup: the mean over its scored (frontal) photographs.

    value: 1 (most deformed) to 7 (most normal). uncertainty, repeatability: means of the photographs' own,
    one standard deviation in points; errors of one face under one model are largely shared, so that several
    photographs do not make them smaller. study_date: YYYYMMDD or ''. study_time: HHMMSS or ''.
    setup_digest: `Provenance.digest()`; only equal ones are compared. scoring_ids: one per photograph,
    sorted; they name what an object shows.
    """

    study_instance_uid: str
    study_date: str
    study_time: str
    value: float
    uncertainty: float
    repeatability: float
    photographs: int
    setup_digest: str
    generator: str
    regressor: str
    regressor_is_synthetic: bool
    software_version: str
    scoring_ids: tuple[str, ...]

    @property
    def date(self) -> date | None:
        """The study date; None where there is none or it is no date."""
        try:
            return datetime.strptime(self.study_date, "%Y%m%d").date()
        except ValueError:
            return None

    @property
    def order(self) -> tuple[str, str, str]:
        """What encounters are sorted by: date, time, and the UID where these are equal."""
        return self.study_date, self.study_time, self.study_instance_uid


@dataclass(frozen=True, slots=True)
class Change:
    """An encounter's score against the one before it. Points; smallest: what noise alone hardly reaches."""

    before: EncounterScore
    change: float
    smallest: float

    @property
    def exceeds_noise(self) -> bool:
        """Whether the change is larger than noise."""
        return exceeds_noise(self.change, self.smallest)


def scoring_id(sop_instance_uid: str, setup_digest: str) -> str:
    """Return what names one scoring of one photograph for all time."""
    return f"{sop_instance_uid}:{setup_digest}"


def encounter_score(
    study_instance_uid: str, study_date: str, study_time: str, scores: Sequence[tuple[str, Score]]
) -> EncounterScore:
    """Return the score of a study from (SOP Instance UID, score) of its photographs under one setup.

    Raises ValueError without scores, and for scores of several setups.
    """
    setups = {score.provenance.digest() for _, score in scores}
    if len(setups) != 1:
        raise ValueError("an encounter's score needs photographs scored under one setup")
    (setup,) = setups
    provenance = scores[0][1].provenance
    return EncounterScore(
        study_instance_uid=study_instance_uid,
        study_date=study_date,
        study_time=study_time,
        value=fmean(score.value for _, score in scores),
        uncertainty=fmean(score.uncertainty for _, score in scores),
        repeatability=fmean(repeatability(score) for _, score in scores),
        photographs=len(scores),
        setup_digest=setup,
        generator=provenance.generator,
        regressor=provenance.regressor,
        regressor_is_synthetic=provenance.regressor_is_synthetic,
        software_version=provenance.software_version,
        scoring_ids=tuple(sorted(scoring_id(uid, setup) for uid, _ in scores)),
    )


def before(one: EncounterScore, history: Iterable[EncounterScore]) -> list[EncounterScore]:
    """Return the dated encounters before `one`, oldest first, of any setup; none for an undated one.

    Of the same day only those whose study time is earlier: without times nobody knows which was first.
    """
    if one.date is None:
        return []
    return sorted(
        (
            other
            for other in history
            if other.date is not None
            and _precedes(other, one)
            and other.study_instance_uid != one.study_instance_uid
        ),
        key=lambda other: other.order,
    )


def _precedes(other: EncounterScore, one: EncounterScore) -> bool:
    """Whether `other` is surely the earlier of two dated encounters: of one day their times must tell."""
    if other.study_date != one.study_date:
        return other.study_date < one.study_date
    return other.study_time != "" and other.study_time < one.study_time


def change_since(one: EncounterScore, history: Iterable[EncounterScore]) -> Change | None:
    """Return the change against the newest earlier encounter of the same setup; None where there is none."""
    comparable = [other for other in before(one, history) if other.setup_digest == one.setup_digest]
    if not comparable:
        return None
    previous = comparable[-1]
    return Change(
        previous, one.value - previous.value, smallest_change(previous.repeatability, one.repeatability)
    )
