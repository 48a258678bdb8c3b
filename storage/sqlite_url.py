"""The URL under which SQLAlchemy opens a file of SQLite's."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL


def sqlite_url(file: Path) -> str:
    """Return it, whatever folders are called: a '%' or '?' in a name would mean something else in a URL."""
    return URL.create("sqlite", database=str(file.absolute())).render_as_string()
