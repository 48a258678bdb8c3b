"""What a scoring leaves in the database, at most once per photograph and setup."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pipeline.computation import Computation
from pipeline.result import (
    Features,
    Provenance,
    QualityIssue,
    QualityWarning,
    Rejection,
    RejectionReason,
    Score,
    plain,
)
from storage.tables import Photograph, Scoring

SCORED = "scored"
REJECTED = "rejected"


def find_scoring(session: Session, photograph: Photograph, setup_digest: str) -> Scoring | None:
    """Return the scoring of `photograph` under the setup, or None where there is none yet."""
    return session.scalar(
        select(Scoring).where(Scoring.photograph_pk == photograph.id, Scoring.setup_digest == setup_digest)
    )


def kept_pictures(session: Session, photograph: Photograph) -> set[str]:
    """Return the paths of what its scorings have kept, whatever the setup, or since it came anew."""
    paths = session.scalars(
        select(Scoring.pictures_path)
        .join(Photograph, Photograph.id == Scoring.photograph_pk)
        .where(Photograph.sop_instance_uid == photograph.sop_instance_uid)
    )
    return {path for path in paths if path}


def add_scoring(
    session: Session,
    photograph: Photograph,
    *,
    provenance: Provenance,
    result: Score | Rejection,
    created_at: datetime,
    pictures_path: str | None = None,
) -> Scoring:
    """Add the row and give it its key; the caller commits.

    pictures_path: of the kept pictures, relative to the data folder.

    Raises:
        sqlalchemy.exc.IntegrityError: the photograph has a scoring under this setup already.

    """
    score = result if isinstance(result, Score) else None
    row = Scoring(
        photograph_pk=photograph.id,
        setup_digest=provenance.digest(),
        status=SCORED if score else REJECTED,
        score=score.value if score else None,
        uncertainty=score.uncertainty if score else None,
        generator=provenance.generator,
        regressor=provenance.regressor,
        seed=provenance.seed,
        result=plain(result),
        pictures_path=pictures_path,
        created_at=created_at,
    )
    session.add(row)
    session.flush()
    return row


def result_of(row: Scoring) -> Score | Rejection:
    """Rebuild the value that `add_scoring` stored."""
    stored: Mapping[str, Any] = row.result
    provenance = Provenance.from_dict(stored["provenance"]) if stored["provenance"] else None
    if row.status == SCORED and provenance is not None:
        return Score(
            value=stored["value"],
            uncertainty=stored["uncertainty"],
            features=Features(**stored["features"]),
            outline=tuple((float(column), float(line)) for column, line in stored["outline"]),
            rows=stored["rows"],
            columns=stored["columns"],
            provenance=provenance,
            seconds=stored["seconds"],
            local_features=stored.get("local_features", {}),
            further_features=stored.get("further_features", {}),
            region_shares=stored.get("region_shares", {}),
            warnings=tuple(
                QualityWarning(QualityIssue(one["issue"]), one["detail"])
                for one in stored.get("warnings", ())
            ),
            computation=Computation.from_dict(stored["computation"]) if stored.get("computation") else None,
            nearest_average=stored.get("nearest_average"),
        )
    return Rejection(
        reason=RejectionReason(stored["reason"]),
        detail=stored["detail"],
        rows=stored["rows"],
        columns=stored["columns"],
        provenance=provenance,
        seconds=stored["seconds"],
    )


def count_scorings(session: Session) -> dict[str, int]:
    """Return status -> number of scorings, with both statuses always present."""
    query = select(Scoring.status, func.count()).group_by(Scoring.status)
    counted = {row[0]: row[1] for row in session.execute(query)}
    return {SCORED: 0, REJECTED: 0} | counted
