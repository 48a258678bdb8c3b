"""The comparison as a picture: photograph, norm, deviation, and the score on its scale with earlier ones.

No name, identifier or date of the patient's is drawn: earlier scores are told by how long ago they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.optimize import isotonic_regression

from pipeline.encounter_score import Change, EncounterScore
from pipeline.result import Score
from reports.notices import RESEARCH_USE_NOTICE, regressor_in_brief, visit_in_words
from reports.plain_font import font

WIDTH: Final = 1536
HEIGHT: Final = 1024
SMALLEST_TEXT: Final = 26
"""Pixels; on a viewer that shows the picture 1024 pixels wide, 17 are left of them."""
MOST_EARLIER: Final = 6

_PANEL: Final = 480
_MARGIN: Final = 24
_GAP: Final = 16
_TOP: Final = 84
# The part of the aligned frame that the mask fills; the rest is hair and background.
_CROP: Final = (0.105, 0.18, 0.895, 0.97)
_BLACK, _GREY, _LIGHT = (20, 20, 20), (110, 110, 110), (205, 205, 205)
_ACCENT: Final = (0, 84, 147)
_SCALE_LEFT, _SCALE_RIGHT, _SCALE_ROW = 150, 1386, 872


@dataclass(frozen=True, slots=True)
class Panels:
    """The three pictures of one scoring in the aligned frame, uint8 RGB, square, of one side."""

    aligned: NDArray[np.uint8]
    normalized: NDArray[np.uint8]
    anomaly: NDArray[np.uint8]


def draw_comparison(
    panels: Panels,
    score: Score,
    encounter: EncounterScore,
    earlier: Sequence[EncounterScore],
    change: Change | None,
    days_before: Sequence[int],
) -> NDArray[np.uint8]:
    """Return the picture, uint8 (1024, 1536, 3).

    score: the photograph's. encounter: the one that it belongs to. earlier: oldest first; the newest
    `MOST_EARLIER` are drawn, those of another setup in grey. change: of the encounter against the newest
    comparable one. days_before: for each of `earlier`, how long before.
    """
    canvas = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(canvas)
    titles = ("Photograph", "Own norm (generated)", "Deviation from the norm")
    for number, (title, picture) in enumerate(
        zip(titles, (panels.aligned, panels.normalized, panels.anomaly), strict=True)
    ):
        left = _MARGIN + number * (_PANEL + _MARGIN)
        pen.text((left + _PANEL / 2, 20), title, _BLACK, font(32, bold=True), anchor="ma")
        canvas.paste(_cropped(picture), (left, _TOP))
    _draw_colour_bar(canvas, pen)
    _draw_verdict(pen, score, visit_in_words(encounter, change))
    _draw_scale(pen, score)
    setup = score.provenance.digest()
    shown = list(zip(earlier, days_before, strict=True))[-MOST_EARLIER:]
    _draw_earlier(pen, [(one, days, one.setup_digest == setup) for one, days in shown])
    _draw_this(pen, score)
    footer = f"{RESEARCH_USE_NOTICE} {regressor_in_brief(score.provenance)}"
    pen.text((WIDTH / 2, HEIGHT - 14), footer, _BLACK, font(SMALLEST_TEXT), anchor="md")
    return np.asarray(canvas, dtype=np.uint8)


def _cropped(picture: NDArray[np.uint8]) -> Image.Image:
    side = picture.shape[0]
    left, top, right, bottom = (round(share * side) for share in _CROP)
    crop = Image.fromarray(np.ascontiguousarray(picture[top:bottom, left:right]))
    return crop.resize((_PANEL, _PANEL), Image.Resampling.LANCZOS)


def _draw_colour_bar(canvas: Image.Image, pen: ImageDraw.ImageDraw) -> None:
    """Under the third panel, in the colours of the deviation's picture (`inferno`)."""
    left = _MARGIN + 2 * (_PANEL + _MARGIN)
    ramp = matplotlib.colormaps["inferno"](np.linspace(0, 1, _PANEL))[:, :3]
    bar = np.repeat((ramp[None] * 255).round().astype(np.uint8), 22, axis=0)
    row = _TOP + _PANEL + 10
    canvas.paste(Image.fromarray(bar), (left, row))
    pen.text((left, row + 26), "none", _BLACK, font(SMALLEST_TEXT))
    pen.text((left + _PANEL, row + 26), "strong", _BLACK, font(SMALLEST_TEXT), anchor="ra")


def _draw_verdict(pen: ImageDraw.ImageDraw, score: Score, visit: str) -> None:
    row = _TOP + _PANEL + 16
    text = f"Score {score.value:.2f} \N{PLUS-MINUS SIGN} {score.uncertainty:.2f}"
    pen.text((_MARGIN, row), text, _ACCENT, font(44, bold=True))
    pen.text((_MARGIN, row + 60), visit, _BLACK, font(SMALLEST_TEXT + 2))


def _column(value: float) -> float:
    share = (min(7.0, max(1.0, value)) - 1) / 6
    return _SCALE_LEFT + share * (_SCALE_RIGHT - _SCALE_LEFT)


def _draw_scale(pen: ImageDraw.ImageDraw, score: Score) -> None:
    low, high = _column(score.value - score.uncertainty), _column(score.value + score.uncertainty)
    pen.line((low, _SCALE_ROW, high, _SCALE_ROW), (150, 195, 225), 22)
    pen.line((_SCALE_LEFT, _SCALE_ROW, _SCALE_RIGHT, _SCALE_ROW), _BLACK, 4)
    for tick in range(1, 8):
        column = _column(tick)
        pen.line((column, _SCALE_ROW, column, _SCALE_ROW + 12), _BLACK, 4)
        pen.text((column, _SCALE_ROW + 16), str(tick), _BLACK, font(30), anchor="ma")
    for column, text, anchor in (
        (_SCALE_LEFT - 24, "most\ndeformed", "rm"),
        (_SCALE_RIGHT + 24, "most\nnormal", "lm"),
    ):
        pen.multiline_text((column, _SCALE_ROW), text, _BLACK, font(SMALLEST_TEXT - 2), anchor=anchor)


def _draw_earlier(pen: ImageDraw.ImageDraw, earlier: Sequence[tuple[EncounterScore, int, bool]]) -> None:
    """Draw a ring for each, and its age in a row above: side by side, however near the scores are."""
    by_score = sorted(earlier, key=lambda told: told[0].value)
    columns = [_column(one.value) for one, _, _ in by_score]
    texts = [how_long_ago(days) + ("" if comparable else " *") for _, days, comparable in by_score]
    lettering = font(SMALLEST_TEXT - 2)
    places = _side_by_side(columns, [lettering.getlength(text) for text in texts])
    row = _SCALE_ROW - 190
    for column, place in zip(columns, places, strict=True):
        pen.line((place, row + 30, column, _SCALE_ROW - 12), _LIGHT, 2)
    for (_, _, comparable), column, place, text in zip(by_score, columns, places, texts, strict=True):
        colour = _ACCENT if comparable else _GREY
        pen.ellipse((column - 11, _SCALE_ROW - 11, column + 11, _SCALE_ROW + 11), "white", colour, 4)
        pen.text((place, row), text, colour, lettering, anchor="ma")
    if any(not comparable for _, _, comparable in earlier):
        note = "* scored with another model or settings: not comparable"
        pen.text((WIDTH / 2, _SCALE_ROW + 58), note, _GREY, font(SMALLEST_TEXT), anchor="ma")


def _side_by_side(columns: Sequence[float], widths: Sequence[float]) -> list[float]:
    """Return the middles of texts of these widths: as near to their columns, which rise, as there is room."""
    if not columns:
        return []
    middles = np.array(columns)
    apart = np.array([0, *((one + other) / 2 + _GAP for one, other in pairwise(widths))]).cumsum()
    near = isotonic_regression(middles - apart).x
    leftmost, rightmost = _MARGIN + widths[0] / 2, WIDTH - _MARGIN - widths[-1] / 2 - apart[-1]
    return list(map(float, np.clip(near, leftmost, max(leftmost, rightmost)) + apart))


def _draw_this(pen: ImageDraw.ImageDraw, score: Score) -> None:
    column = _column(score.value)
    pen.line((column, _SCALE_ROW - 104, column, _SCALE_ROW - 34), _ACCENT, 3)
    pen.polygon(
        [(column - 16, _SCALE_ROW - 34), (column + 16, _SCALE_ROW - 34), (column, _SCALE_ROW - 2)], _ACCENT
    )
    place, lettering = (column, _SCALE_ROW - 108), font(SMALLEST_TEXT, bold=True)
    pen.text(place, "now", _ACCENT, lettering, anchor="md", stroke_width=6, stroke_fill="white")


def how_long_ago(days: int) -> str:
    """Return `days` in the unit that a clinician would use: days, weeks, months, years before."""
    for unit, length, least in (("y", 365.25, 730), ("mo", 30.44, 92), ("wk", 7, 21)):
        if days >= least:
            return f"{days / length:.0f} {unit} before"
    return f"{days} d before"
