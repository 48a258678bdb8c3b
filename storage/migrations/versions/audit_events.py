"""The audit trail as PS3.15 A.5 has it, append-only; what the first table held moves over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "audit_events"
down_revision = "storage_commitment"
branch_labels = None
depends_on = None

_EVENTS = {"photograph_received": "received", "photograph_refused": "refused"}


def upgrade() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("outcome", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("patient_id", sa.String(length=64), nullable=False),
        sa.Column("issuer", sa.String(length=64), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_events"),
    )
    op.create_index("ix_audit_events_at", "audit_events", ["at"])
    _move()
    op.drop_table("audit")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION audit_events_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'audit_events is append-only'; END $$"
        )
        op.execute(
            "CREATE TRIGGER audit_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events "
            "EXECUTE FUNCTION audit_events_append_only()"
        )
        op.execute("REVOKE ALL ON audit_events FROM PUBLIC")
        return
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_events_no_{change.lower()} BEFORE {change} ON audit_events "
            "BEGIN SELECT RAISE(ABORT, 'audit_events is append-only'); END"
        )


def _move() -> None:
    connection = op.get_bind()
    old = sa.Table("audit", sa.MetaData(), autoload_with=connection)
    patient = sa.Table("patient", sa.MetaData(), autoload_with=connection)
    new = sa.Table("audit_events", sa.MetaData(), autoload_with=connection)
    rows = connection.execute(
        sa.select(old, patient.c.patient_id, patient.c.issuer_of_patient_id)
        .select_from(old.outerjoin(patient, patient.c.id == old.c.patient_pk))
        .order_by(old.c.id)
    ).mappings()
    for row in rows.all():
        connection.execute(
            new.insert().values(
                at=row["at"],
                event=_EVENTS.get(row["event"], row["event"]),
                outcome=row["outcome"],
                actor=row["peer_ae_title"],
                patient_id=row["patient_id"] or "",
                issuer=row["issuer_of_patient_id"] or "",
                study_instance_uid=row["study_instance_uid"],
                detail={
                    "SOPInstanceUID": row["sop_instance_uid"],
                    "NetworkAccessPointID": row["peer_address"],
                },
            )
        )


def downgrade() -> None:
    raise NotImplementedError("an audit trail is not taken back")
