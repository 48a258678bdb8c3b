"""Encounters in order, pictures kept for later reports, and what an object shows of earlier scorings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "reports_over_time"
down_revision = "housekeeping"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("patient") as table:
        table.add_column(sa.Column("priors_asked_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("encounter") as table:
        table.add_column(sa.Column("study_time", sa.String(length=16), nullable=False, server_default=""))
        table.add_column(sa.Column("admission_id", sa.String(length=64), nullable=False, server_default=""))
        table.add_column(sa.Column("reopened", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("scoring") as table:
        table.add_column(sa.Column("pictures_path", sa.String(length=255), nullable=True))
    with op.batch_alter_table("artefact") as table:
        table.add_column(sa.Column("shown", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    for name, columns in (
        ("artefact", ["shown"]),
        ("scoring", ["pictures_path"]),
        ("encounter", ["reopened", "admission_id", "study_time"]),
        ("patient", ["priors_asked_at"]),
    ):
        with op.batch_alter_table(name) as table:
            for column in columns:
                table.drop_column(column)
