"""SQLite gives the key of an erased row to no other: PostgreSQL's sequences never did.

A node that was scoring a photograph, or sending a result, while its patient was erased would record what came
of it for whoever had got the key meanwhile.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "keys_given_once"
down_revision = "large_archives"
branch_labels = None
depends_on = None

# Those of which rows are erased.
_TABLES = ("patient", "encounter", "photograph", "scoring", "artefact", "delivery")
_ONCE = sa.text(
    "UPDATE sqlite_master SET sql = replace(sql, 'PRIMARY KEY (id)', 'PRIMARY KEY (id AUTOINCREMENT)') "
    "WHERE type = 'table' AND name = :name AND sql LIKE '%PRIMARY KEY (id)%'"
)
_CONTINUE = sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)")


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    # SQLite makes the table of the last keys together with the first such table.
    op.execute("CREATE TABLE first_of_its_kind (id INTEGER PRIMARY KEY AUTOINCREMENT)")
    op.execute("DROP TABLE first_of_its_kind")
    # As https://www.sqlite.org/lang_altertable.html, section 7, has it for what changes no row: to write a
    # large archive anew, and keep it from the node as long, would bring nothing else.
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    op.execute("PRAGMA writable_schema = ON")
    for name in _TABLES:
        if connection.execute(_ONCE, {"name": name}).rowcount != 1:
            raise RuntimeError(f"the table {name} is not as the migrations made it")
        last = connection.scalar(sa.select(sa.func.max(sa.table(name, sa.column("id")).c.id)))
        connection.execute(_CONTINUE, {"name": name, "last": last or 0})
    op.execute(f"PRAGMA schema_version = {version + 1}")
    op.execute("PRAGMA writable_schema = RESET")


def downgrade() -> None:
    raise NotImplementedError("keys that were given are not given again")
