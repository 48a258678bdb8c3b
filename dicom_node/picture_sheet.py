"""Small pictures in rows, each with a caption: the sheets that `facenorm losses` and `iterates` write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_GAP, _MARGIN, _LINE = 12, 20, 20
_TITLE_SIZE, _TEXT_SIZE = 20, 14
_INK, _PALE, _PAPER = (28, 32, 38), (96, 104, 114), (255, 255, 255)
_CAPTION_LINES: Final = 2


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture, uint8 (side, side, 3), and up to two lines below it."""

    picture: NDArray[np.uint8]
    caption: tuple[str, ...]


def draw_sheet(title: str, rows: Sequence[Sequence[Tile]], notice: str) -> Image.Image:
    """Return the sheet: all pictures of one side, rows of any length."""
    side = rows[0][0].picture.shape[0]
    columns = max(len(row) for row in rows)
    cell = side + _CAPTION_LINES * _LINE + _GAP
    head = _MARGIN + _TITLE_SIZE + 2 * _GAP
    width = 2 * _MARGIN + columns * (side + _GAP) - _GAP
    canvas = Image.new("RGB", (width, head + len(rows) * cell + _LINE + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN), title, _INK, ImageFont.load_default(_TITLE_SIZE))
    font = ImageFont.load_default(_TEXT_SIZE)
    for line, row in enumerate(rows):
        for column, tile in enumerate(row):
            left, top = _MARGIN + column * (side + _GAP), head + line * cell
            canvas.paste(Image.fromarray(tile.picture), (left, top))
            for number, text in enumerate(tile.caption[:_CAPTION_LINES]):
                ink = _PALE if number else _INK
                draw.text((left, top + side + 3 + number * _LINE), text, ink, font)
    draw.text((_MARGIN, head + len(rows) * cell), notice, _PALE, font)
    return canvas


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write the sheet as PNG, whole or not at all. Raises OSError."""
    partial = path.with_name(f"{path.name}.part")
    sheet.save(partial, format="PNG", optimize=True)
    partial.replace(path)
