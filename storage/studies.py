"""Which studies have work to do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.encounter_scores import usable_date
from storage.moments import CLOCKS_DIFFER, has_come
from storage.scorings import SCORED
from storage.tables import Encounter, Photograph, Scoring
from storage.urgency import Urgency, urgency


@dataclass(frozen=True, slots=True)
class OpenStudy:
    """A study with at least one photograph that no report covers.

    photographs: the SOP Instance UIDs of all its photographs, covered ones included, sorted; not those that
    retention has taken away, which the earlier reports tell of. reopened: how often it was asked for anew.
    urgency: how soon it is to be scored. sender: the AE title that sent the photograph which came last.
    """

    study_instance_uid: str
    photographs: tuple[str, ...]
    reopened: int = 0
    urgency: Urgency = Urgency.UNDATED
    sender: str = ""


def quiet_studies(session: Session, *, now: datetime, quiet_seconds: float) -> list[OpenStudy]:
    """Return the open studies that received nothing for `quiet_seconds`, longest quiet first.

    Those that were reopened come by their date, so that each is compared with the one before it.

    What is covered stays closed when the scoring setup changes: an upgrade must not score a whole
    archive again by itself. The cost follows the number of uncovered photographs, not of all.
    """
    uncovered = select(Photograph.encounter_pk).where(
        Photograph.report_pk.is_(None), Photograph.purged_at.is_(None)
    )
    quiet = timedelta(seconds=quiet_seconds)
    encounters = session.scalars(
        select(Encounter)
        .where(
            Encounter.id.in_(uncovered),
            has_come(Encounter.last_received_at, now - quiet, furthest=quiet + CLOCKS_DIFFER),
        )
        .order_by(Encounter.last_received_at, Encounter.id)
    ).all()
    ordered = [e for e in encounters if not e.reopened]
    ordered += sorted((e for e in encounters if e.reopened), key=lambda e: (e.study_date, e.study_time, e.id))
    members: dict[int, list[str]] = defaultdict(list)
    senders: dict[int, str] = {}
    for encounter_pk, uid, sender in session.execute(
        select(Photograph.encounter_pk, Photograph.sop_instance_uid, Photograph.calling_ae_title)
        .where(Photograph.encounter_pk.in_(uncovered), Photograph.purged_at.is_(None))
        .order_by(Photograph.id)
    ):
        members[encounter_pk].append(uid)
        senders[encounter_pk] = sender
    return [
        OpenStudy(
            e.study_instance_uid,
            tuple(sorted(members[e.id])),
            e.reopened,
            urgency(e.study_date, reopened=e.reopened, now=now),
            senders.get(e.id, ""),
        )
        for e in ordered
    ]


def photographs_of(session: Session, uids: tuple[str, ...] | list[str]) -> list[Photograph]:
    """Return the photographs with these SOP Instance UIDs, oldest first.

    Raises:
        LookupError: one of them is not stored.

    """
    rows = session.scalars(
        select(Photograph)
        .where(Photograph.sop_instance_uid.in_(uids))
        .order_by(Photograph.received_at, Photograph.id)
    ).all()
    missing = set(uids) - {row.sop_instance_uid for row in rows}
    if missing:
        raise LookupError(f"no stored photograph has the SOP Instance UID {min(missing)}")
    return list(rows)


def later_covered_studies(session: Session, sop_instance_uid: str, setup_digest: str) -> list[list[str]]:
    """Return the photographs of each study whose report may now have to show more than it does.

    Those are, of the patient's studies with a score under the setup, the next one by date after that of the
    given photograph, which is compared with it, and the newest one; each only unless it waits for a report of
    its own, or another study of the patient does whose report will ask for it again.
    """
    (photograph,) = photographs_of(session, [sop_instance_uid])
    own = session.get_one(Encounter, photograph.encounter_pk)
    scored = _scored_encounters(session, own.patient_pk, setup_digest)
    later = [one for one in scored if usable_date(one) and _order(one) > _order(own)]
    if not usable_date(own) or not later:
        return []
    following, newest = later[0], later[-1]
    waiting = [_order(one) for one in _waiting_encounters(session, own.patient_pk) if usable_date(one)]
    chosen = []
    # One that waits asks for the one that follows it, which need not be the one that follows here.
    if following is not newest and not any(_order(own) <= one <= _order(following) for one in waiting):
        chosen.append(following)
    if not any(one <= _order(newest) for one in waiting):
        chosen.append(newest)
    return [found for one in chosen if (found := _scored_photographs(session, one.id, setup_digest))]


def _waiting_encounters(session: Session, patient_pk: int) -> Sequence[Encounter]:
    """Return the patient's studies with a photograph that no report covers."""
    return session.scalars(
        select(Encounter)
        .join(Photograph, Photograph.encounter_pk == Encounter.id)
        .where(
            Encounter.patient_pk == patient_pk,
            Photograph.report_pk.is_(None),
            Photograph.purged_at.is_(None),
        )
        .distinct()
    ).all()


def _order(encounter: Encounter) -> tuple[str, str, str]:
    """As `pipeline.encounter_score.EncounterScore.order`; a database may pass over the dots of a UID."""
    return encounter.study_date, encounter.study_time, encounter.study_instance_uid


def _scored_encounters(session: Session, patient_pk: int, setup_digest: str) -> list[Encounter]:
    """Return the patient's studies that have a score under the setup, by date, time and UID."""
    found = session.scalars(
        select(Encounter)
        .join(Photograph, Photograph.encounter_pk == Encounter.id)
        .join(Scoring, Scoring.photograph_pk == Photograph.id)
        .where(
            Encounter.patient_pk == patient_pk,
            Scoring.setup_digest == setup_digest,
            Scoring.status == SCORED,
        )
        .distinct()
    )
    return sorted(found, key=_order)


def _scored_photographs(session: Session, encounter_pk: int, setup_digest: str) -> list[str]:
    return sorted(
        session.scalars(
            select(Photograph.sop_instance_uid)
            .join(Scoring, Scoring.photograph_pk == Photograph.id)
            .where(
                Photograph.encounter_pk == encounter_pk,
                Photograph.purged_at.is_(None),
                Scoring.setup_digest == setup_digest,
            )
        )
    )


def newest_files(session: Session, patient_pk: int, limit: int = 100) -> list[str]:
    """Return the newest photograph's file of each study, the newest first, relative to the data folder.

    One of each is enough to know who the patient is: all of a study came under one identifier, unless
    patients were merged in between, and then the newest came under the one that stays.
    """
    newest = (
        select(func.max(Photograph.id))
        .join(Encounter, Encounter.id == Photograph.encounter_pk)
        .where(Encounter.patient_pk == patient_pk, Photograph.purged_at.is_(None))
        .group_by(Encounter.id)
    )
    return list(
        session.scalars(
            select(Photograph.path)
            .where(Photograph.id.in_(newest))
            .order_by(Photograph.received_at.desc(), Photograph.id.desc())
            .limit(limit)
        )
    )
