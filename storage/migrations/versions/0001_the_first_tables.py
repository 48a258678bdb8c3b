"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("peer_ae_title", sa.String(length=16), nullable=False),
        sa.Column("peer_address", sa.String(length=64), nullable=False),
        sa.Column("patient_pk", sa.Integer(), nullable=True),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_table(
        "patient",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("patient_id", sa.String(length=64), nullable=False),
        sa.Column("issuer_of_patient_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_patient"),
        sa.UniqueConstraint(
            "patient_id", "issuer_of_patient_id", name="uq_patient_patient_id_issuer_of_patient_id"
        ),
    )
    op.create_table(
        "encounter",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("patient_pk", sa.Integer(), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("study_date", sa.String(length=8), nullable=False),
        sa.Column("accession_number", sa.String(length=64), nullable=False),
        sa.Column("last_received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["patient_pk"], ["patient.id"], name="fk_encounter_patient_pk_patient"),
        sa.PrimaryKeyConstraint("id", name="pk_encounter"),
        sa.UniqueConstraint("study_instance_uid", name="uq_encounter_study_instance_uid"),
    )
    op.create_index("ix_encounter_last_received_at", "encounter", ["last_received_at"])
    op.create_index("ix_encounter_patient_pk", "encounter", ["patient_pk"])
    op.create_table(
        "artefact",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("encounter_pk", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("scoring_pks", sa.JSON(), nullable=False),
        sa.Column("predecessor_pk", sa.Integer(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["encounter_pk"], ["encounter.id"], name="fk_artefact_encounter_pk_encounter"
        ),
        sa.ForeignKeyConstraint(
            ["predecessor_pk"], ["artefact.id"], name="fk_artefact_predecessor_pk_artefact"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_artefact"),
        sa.UniqueConstraint("sop_instance_uid", name="uq_artefact_sop_instance_uid"),
    )
    op.create_index("ix_artefact_encounter_pk", "artefact", ["encounter_pk"])
    op.create_table(
        "photograph",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("encounter_pk", sa.Integer(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("calling_ae_title", sa.String(length=16), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("report_pk", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["encounter_pk"], ["encounter.id"], name="fk_photograph_encounter_pk_encounter"
        ),
        sa.ForeignKeyConstraint(["report_pk"], ["artefact.id"], name="fk_photograph_report_pk_artefact"),
        sa.PrimaryKeyConstraint("id", name="pk_photograph"),
        sa.UniqueConstraint("sop_instance_uid", name="uq_photograph_sop_instance_uid"),
    )
    op.create_index("ix_photograph_encounter_pk", "photograph", ["encounter_pk"])
    op.create_index("ix_photograph_report_pk", "photograph", ["report_pk"])
    op.create_table(
        "delivery",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("artefact_pk", sa.Integer(), nullable=False),
        sa.Column("destination", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_error", sa.String(length=255), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["artefact_pk"], ["artefact.id"], name="fk_delivery_artefact_pk_artefact"),
        sa.PrimaryKeyConstraint("id", name="pk_delivery"),
        sa.UniqueConstraint("artefact_pk", "destination", name="uq_delivery_artefact_pk_destination"),
    )
    op.create_index("ix_delivery_artefact_pk", "delivery", ["artefact_pk"])
    op.create_index("ix_delivery_due", "delivery", ["state", "due_at"])
    op.create_table(
        "scoring",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("photograph_pk", sa.Integer(), nullable=False),
        sa.Column("setup_digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("uncertainty", sa.Float(), nullable=True),
        sa.Column("generator", sa.String(length=128), nullable=False),
        sa.Column("regressor", sa.String(length=128), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["photograph_pk"], ["photograph.id"], name="fk_scoring_photograph_pk_photograph"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_scoring"),
        sa.UniqueConstraint("photograph_pk", "setup_digest", name="uq_scoring_photograph_pk_setup_digest"),
    )
    op.create_index("ix_scoring_photograph_pk", "scoring", ["photograph_pk"])


def downgrade() -> None:
    for table in ("scoring", "delivery", "photograph", "artefact", "encounter", "patient", "audit"):
        op.drop_table(table)
