"""Housekeeping: when retention took a file away, and which process does the chores."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "housekeeping"
down_revision = "audit_events"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("photograph", "artefact"):
        op.add_column(table, sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_lease"),
    )


def downgrade() -> None:
    op.drop_table("lease")
    for table in ("photograph", "artefact"):
        op.drop_column(table, "purged_at")
