"""Storage commitment: what destinations are asked for, and what senders ask for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "storage_commitment"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("delivery") as delivery:
        delivery.add_column(sa.Column("transaction_uid", sa.String(length=64), nullable=True))
        delivery.create_index("ix_delivery_transaction_uid", ["transaction_uid"])
    op.create_table(
        "commitment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ae_title", sa.String(length=16), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("instances", sa.JSON(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_error", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_commitment"),
        sa.UniqueConstraint("ae_title", "transaction_uid", name="uq_commitment_ae_title_transaction_uid"),
    )
    op.create_index("ix_commitment_due", "commitment", ["state", "due_at"])


def downgrade() -> None:
    op.drop_table("commitment")
    with op.batch_alter_table("delivery") as delivery:
        delivery.drop_index("ix_delivery_transaction_uid")
        delivery.drop_column("transaction_uid")
