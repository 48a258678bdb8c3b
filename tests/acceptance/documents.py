"""The project's documents as Markdown: their fenced blocks, tables, headings and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = (*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").glob("*.md")))


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its lines, and where it stands."""

    language: str
    lines: tuple[str, ...]
    place: str


def tokens(document: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(document.read_text("utf-8"))


def blocks(document: Path, *languages: str) -> list[Block]:
    return [
        Block(
            token.info,
            tuple(line for line in token.content.splitlines() if line.strip()),
            f"{document.name}:{token.map[0] + 1 if token.map else 0}",
        )
        for token in tokens(document)
        if token.type == "fence" and token.info in languages
    ]


def anchors(document: Path) -> set[str]:
    """Return the names that GitHub gives the headings."""
    found = tokens(document)
    titles = [found[n + 1].content for n, token in enumerate(found) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(document: Path) -> Iterator[str]:
    """Yield the target of every link and picture."""
    for token in tokens(document):
        for child in token.children or ():
            target = child.attrGet("href") or child.attrGet("src")
            if target is not None:
                yield str(target)


def table(document: Path, heading: str) -> list[dict[str, str]]:
    """Return the first table under `heading`, a row per line: column name -> cell without code marks."""
    found = tokens(document)
    titles = [
        n for n, token in enumerate(found) if token.type == "inline" and found[n - 1].type == "heading_open"
    ]
    start = next(n for n in titles if found[n].content == heading)
    end = next((n for n in titles if n > start), len(found))
    rows: list[list[str]] = []
    for n in range(start, end):
        if found[n].type == "table_close":
            break
        if found[n].type == "tr_open":
            rows.append([])
        elif found[n].type == "inline" and found[n - 1].type in ("th_open", "td_open"):
            rows[-1].append(found[n].content.replace("`", ""))
    assert rows, f"{document.name}: no table under {heading!r}"
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
