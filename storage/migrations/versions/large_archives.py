"""Indexes without which retention and the search for priors read every row of a large archive."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "large_archives"
down_revision = "workers"
branch_labels = None
depends_on = None

# Name, table, column, and of which rows: those for which there is still something to do.
_INDEXES = (
    ("ix_photograph_to_purge", "photograph", "received_at", "purged_at IS NULL"),
    ("ix_artefact_to_purge", "artefact", "created_at", "purged_at IS NULL"),
    ("ix_patient_to_ask", "patient", "id", "priors_asked_at IS NULL"),
)


def upgrade() -> None:
    for name, table, column, rows in _INDEXES:
        op.create_index(name, table, [column], sqlite_where=sa.text(rows), postgresql_where=sa.text(rows))


def downgrade() -> None:
    for name, table, _column, _rows in _INDEXES:
        op.drop_index(name, table_name=table)
