"""The table that every part of the bench prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table


def show(title: str, *parts: Sequence[tuple[str, str]]) -> None:
    """Print one table of (figure, value) lines, a rule between the parts."""
    table = Table("figure", "value", title=title)
    for part in parts:
        for figure, value in part:
            table.add_row(figure, value)
        table.add_section()
    Console().print(table)
