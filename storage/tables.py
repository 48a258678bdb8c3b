"""The tables. Times are UTC; identifiers come from the datasets as received."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


def _index_where(name: str, column: str, rows: str) -> Index:
    """Return an index of those rows only for which something is still to be done: it stays small."""
    return Index(name, column, sqlite_where=text(rows), postgresql_where=text(rows))


class UtcDateTime(TypeDecorator[datetime]):
    """A time that goes in with a zone and always comes out in UTC, on SQLite too.

    Raises ValueError when a time without a zone is to be stored.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return `value` in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored time needs a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return what was read in UTC; SQLite keeps no zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The metadata of every table below."""

    # Named constraints, so that later migrations can address them on every database.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON, datetime: UtcDateTime}  # noqa: RUF012


class Patient(Base):
    """A patient as the PACS knows one: identifier plus issuer (PS3.3 C.7.1.1). Absent values are ''."""

    __tablename__ = "patient"
    __table_args__ = (
        UniqueConstraint("patient_id", "issuer_of_patient_id"),
        _index_where("ix_patient_to_ask", "id", "priors_asked_at IS NULL"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    patient_id: Mapped[str] = mapped_column(String(64))
    issuer_of_patient_id: Mapped[str] = mapped_column(String(64), default="")
    # When the archive was asked for earlier photographs; NULL where it was not.
    priors_asked_at: Mapped[datetime | None]


class Encounter(Base):
    """A study. `last_received_at` is what the quiet period counts from."""

    __tablename__ = "encounter"

    id: Mapped[int] = mapped_column(primary_key=True)
    patient_pk: Mapped[int] = mapped_column(ForeignKey("patient.id"), index=True)
    study_instance_uid: Mapped[str] = mapped_column(String(64), unique=True)
    study_date: Mapped[str] = mapped_column(String(8), default="")
    study_time: Mapped[str] = mapped_column(String(16), default="", server_default="")
    accession_number: Mapped[str] = mapped_column(String(64), default="")
    admission_id: Mapped[str] = mapped_column(String(64), default="", server_default="")
    last_received_at: Mapped[datetime] = mapped_column(index=True)
    # How often it was asked to be scored and reported anew.
    reopened: Mapped[int] = mapped_column(Integer, default=0, server_default="0")


class Photograph(Base):
    """A received SOP instance: the row exists only once the file is durable."""

    __tablename__ = "photograph"
    __table_args__ = (_index_where("ix_photograph_to_purge", "received_at", "purged_at IS NULL"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    encounter_pk: Mapped[int] = mapped_column(ForeignKey("encounter.id"), index=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(64), unique=True)
    sop_class_uid: Mapped[str] = mapped_column(String(64))
    series_instance_uid: Mapped[str] = mapped_column(String(64))
    transfer_syntax_uid: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(Integer)
    path: Mapped[str] = mapped_column(String(255))  # relative to the data folder
    calling_ae_title: Mapped[str] = mapped_column(String(16))
    received_at: Mapped[datetime]
    # The newest report that covers the photograph; NULL means that there is work to do.
    report_pk: Mapped[int | None] = mapped_column(ForeignKey("artefact.id"), index=True)
    # When retention took the file away; the row stays.
    purged_at: Mapped[datetime | None]


class Scoring(Base):
    """One photograph scored (or rejected) under one setup; `setup_digest` is `Provenance.digest()`."""

    __tablename__ = "scoring"
    __table_args__ = (UniqueConstraint("photograph_pk", "setup_digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    photograph_pk: Mapped[int] = mapped_column(ForeignKey("photograph.id"), index=True)
    setup_digest: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))  # scored | rejected
    score: Mapped[float | None] = mapped_column(Float)
    uncertainty: Mapped[float | None] = mapped_column(Float)
    generator: Mapped[str] = mapped_column(String(128))
    regressor: Mapped[str] = mapped_column(String(128))
    seed: Mapped[int] = mapped_column(Integer)
    # pipeline.result.plain() of the Score or Rejection: features, outline, settings, timings, reason.
    result: Mapped[dict[str, Any]]
    # The pictures that later reports show, relative to the data folder; NULL for a rejection.
    pictures_path: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime]


class Artefact(Base):
    """A finished DICOM object of ours, kept as a file before it is first sent.

    kind: one of `storage.artefacts`. An object is made of the scorings in `scoring_pks`; `shown` names those
    and every earlier one that it shows (`pipeline.encounter_score.scoring_id`). `predecessor_pk` is the
    object of its kind that it succeeds.
    """

    __tablename__ = "artefact"
    __table_args__ = (_index_where("ix_artefact_to_purge", "created_at", "purged_at IS NULL"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    encounter_pk: Mapped[int] = mapped_column(ForeignKey("encounter.id"), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    sop_instance_uid: Mapped[str] = mapped_column(String(64), unique=True)
    sop_class_uid: Mapped[str] = mapped_column(String(64))
    series_instance_uid: Mapped[str] = mapped_column(String(64))
    scoring_pks: Mapped[list[Any]]
    shown: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    predecessor_pk: Mapped[int | None] = mapped_column(ForeignKey("artefact.id"))
    sha256: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(String(255))  # relative to the data folder
    created_at: Mapped[datetime]
    purged_at: Mapped[datetime | None]


class Delivery(Base):
    """One artefact on its way to one destination.

    state: due | uncommitted | delivered | dead. A due row is tried when `due_at` has come. An uncommitted
    one is stored there, and has no commitment yet: before the request `transaction_uid` is NULL and `due_at`
    says when to ask, after it `due_at` says until when to wait for the report.
    """

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("artefact_pk", "destination"),
        Index("ix_delivery_due", "state", "due_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    artefact_pk: Mapped[int] = mapped_column(ForeignKey("artefact.id"), index=True)
    destination: Mapped[str] = mapped_column(String(16))  # the destination's AE title
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    due_at: Mapped[datetime]
    last_error: Mapped[str | None] = mapped_column(String(255))
    delivered_at: Mapped[datetime | None]
    # Of the latest request for storage commitment.
    transaction_uid: Mapped[str | None] = mapped_column(String(64), index=True)


class Commitment(Base):
    """A sender's request that we commit ourselves to keep its objects (PS3.4 annex J).

    instances: [SOP class UID, SOP Instance UID] pairs. state: due | reported | dead.
    """

    __tablename__ = "commitment"
    __table_args__ = (
        UniqueConstraint("ae_title", "transaction_uid"),
        Index("ix_commitment_due", "state", "due_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    ae_title: Mapped[str] = mapped_column(String(16))
    transaction_uid: Mapped[str] = mapped_column(String(64))
    instances: Mapped[list[Any]]
    requested_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    due_at: Mapped[datetime]
    last_error: Mapped[str | None] = mapped_column(String(255))


class Lease(Base):
    """Who alone may do the work of this name, and until when unless it is renewed."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str] = mapped_column(String(64))
    until: Mapped[datetime]


class Worker(Base):
    """A process that takes scorings from the queue, on PostgreSQL.

    executor_id: what DBOS calls it; no two processes have the same, ever. application_version: of the
    workflows that it takes, `setup_digest`: what it scores under. beats: a number that rises as long as it
    lives. gone_at: when the elected process had seen it stand still for too long; a further beat clears it.
    """

    __tablename__ = "worker"

    executor_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    application_version: Mapped[str] = mapped_column(String(64))
    setup_digest: Mapped[str] = mapped_column(String(64))
    beats: Mapped[int] = mapped_column(Integer, default=0)
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    gone_at: Mapped[datetime | None]


class HandBack(Base):
    """How often a workflow was taken from a worker that had gone: one that ends every worker is given up."""

    __tablename__ = "hand_back"

    workflow_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    times: Mapped[int] = mapped_column(Integer)
    last_at: Mapped[datetime]


class AuditEvent(Base):
    """Who did what to whose data (PS3.15 A.5): restricted, append-only; see `storage.audit`."""

    __tablename__ = "audit_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    event: Mapped[str] = mapped_column(String(32))
    outcome: Mapped[str] = mapped_column(String(64))
    actor: Mapped[str] = mapped_column(String(64))
    patient_id: Mapped[str] = mapped_column(String(64), default="")
    issuer: Mapped[str] = mapped_column(String(64), default="")
    study_instance_uid: Mapped[str] = mapped_column(String(64), default="")
    detail: Mapped[dict[str, Any]]
