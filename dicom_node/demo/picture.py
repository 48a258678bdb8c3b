"""One picture of the whole demo: per encounter the photograph, its normalized version and the difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_TILE, _GAP, _MARGIN = 440, 20, 36
_ROW_HEAD, _COLUMN_HEAD = 58, 40
_INK, _PALE, _PAPER, _ACCENT = (28, 32, 38), (96, 104, 114), (255, 255, 255), (0, 92, 138)
_COLUMNS: Final = ("Photograph, aligned", "Normalized, from the PACS", "Difference")
_TITLE: Final = "facenorm: two encounters of a test patient, scored by the node"
_SCALE: Final = (
    "Score: 1 most deformed, 7 most normal, ± one standard deviation. The face is generated; it is nobody's."
)

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class PictureRow:
    """One encounter. Pictures: uint8 (side, side, 3), all of one side."""

    heading: str
    score: str
    photograph: NDArray[np.uint8]
    normalized: NDArray[np.uint8]
    difference: NDArray[np.uint8]


def draw_picture(rows: Sequence[PictureRow], notices: Sequence[str]) -> Image.Image:
    """Return the picture; notices: lines at its foot, wrapped where they are too long."""
    width = 2 * _MARGIN + 3 * _TILE + 2 * _GAP
    foot = _wrapped([_SCALE, *notices], width - 2 * _MARGIN)
    head = _MARGIN + 46
    height = head + _COLUMN_HEAD + len(rows) * (_ROW_HEAD + _TILE) + 28 + 25 * len(foot) + _MARGIN
    canvas = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN), _TITLE, _INK, _font(30))
    for column, name in enumerate(_COLUMNS):
        draw.text((_column(column), head + 14), name, _PALE, _font(20))
    top = head + _COLUMN_HEAD
    for row in rows:
        _draw_row(canvas, draw, row, top)
        top += _ROW_HEAD + _TILE
    for number, line in enumerate(foot):
        draw.text((_MARGIN, top + 28 + 25 * number), line, _PALE, _font(18))
    return canvas


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write `picture` as PNG, whole or not at all. Raises OSError."""
    partial = path.with_name(f"{path.name}.part")
    picture.save(partial, format="PNG", optimize=True)
    partial.replace(path)


def _draw_row(canvas: Image.Image, draw: ImageDraw.ImageDraw, row: PictureRow, top: int) -> None:
    baseline = top + _ROW_HEAD - 16
    draw.text((_MARGIN, baseline), row.heading, _INK, _font(24), anchor="ls")
    draw.text((_column(2) + _TILE, baseline), row.score, _ACCENT, _font(28), anchor="rs")
    for column, array in enumerate((row.photograph, row.normalized, row.difference)):
        tile = Image.fromarray(array).resize((_TILE, _TILE), Image.Resampling.LANCZOS)
        canvas.paste(tile, (_column(column), top + _ROW_HEAD))


def _column(number: int) -> int:
    return _MARGIN + number * (_TILE + _GAP)


def _font(size: int) -> _Font:
    return ImageFont.load_default(size)


def _wrapped(texts: Sequence[str], width: int) -> list[str]:
    """Break texts into lines of at most `width` pixels at the foot's size."""
    font, lines = _font(18), []
    for text in texts:
        line = ""
        for word in text.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines
