"""Workers that share a queue: who lives, and what was taken from those that had gone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "workers"
down_revision = "reports_over_time"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "worker",
        sa.Column("executor_id", sa.String(length=64), nullable=False),
        sa.Column("application_version", sa.String(length=64), nullable=False),
        sa.Column("setup_digest", sa.String(length=64), nullable=False),
        sa.Column("beats", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("gone_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("executor_id", name="pk_worker"),
    )
    op.create_table(
        "hand_back",
        sa.Column("workflow_id", sa.String(length=255), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", name="pk_hand_back"),
    )


def downgrade() -> None:
    op.drop_table("hand_back")
    op.drop_table("worker")
