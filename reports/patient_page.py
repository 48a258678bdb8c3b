"""The page that a surgeon hands to a patient, as PDF: one or two pages of A4, more for many visits."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Final
from unicodedata import category

import numpy as np
from fpdf import FPDF, XPos, YPos
from fpdf.fonts import TTFFont
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from pipeline.encounter_score import EncounterScore
from reports.document_fonts import japanese, latin_and_arabic
from reports.header import text_of
from reports.notices import RESEARCH_USE_NOTICE, change_in_words, nature_in_words
from reports.patient_name import readable_names
from reports.reported_photograph import ReportedCourse

TITLE: Final = "Facial normality over time"
_FAMILY: Final = "sans"
_CJK: Final = "cjk"
_NO_LETTERS: Final = frozenset({"Mn", "Mc", "Me", "Zs", "Cf", "Cc"})
_UNPRINTABLE: Final = "(in letters that this page cannot print)"
_METHOD: Final = (
    "A computer program looks at a photograph of the face from the front. It draws the face anew as it would "
    "look without unusual features, and measures how far the photograph is from that drawing. The score runs "
    "from 1 (most deformed) to 7 (most normal)."
)
_LIMITS: Final = (
    "A score is a measurement with an error, which the bands in the chart show. A small change from one "
    "visit to the next may be due to light, expression or the camera alone. The drawing is made by a "
    "computer: it is not a forecast of what treatment can reach. The score says nothing about health, worth "
    "or beauty. It does not replace the judgement of the people who treat you."
)


@dataclass(frozen=True, slots=True)
class PatientPage:
    """What the page shows. trend, comparison: uint8 RGB; None where there is none."""

    course: ReportedCourse
    trend: NDArray[np.uint8] | None
    comparison: NDArray[np.uint8] | None


def draw_patient_page(source: Dataset, page: PatientPage, local: datetime) -> bytes:
    """Return the PDF, the same bytes for equal arguments. source: a photograph of it, for the header."""
    # It warns of characters that no font has, and quotes them: they may be a name's.
    logging.getLogger("fpdf").setLevel(logging.CRITICAL)
    pdf = _Document(format="A4")
    pdf.set_creation_date(local)
    pdf.set_title(TITLE)
    pdf.set_lang("en")
    pdf.set_margins(18, 14, 18)
    pdf.set_auto_page_break(True, margin=16)
    pdf.add_font(_FAMILY, "", latin_and_arabic())
    pdf.add_font(_FAMILY, "B", latin_and_arabic(bold=True))
    pdf.add_font(_CJK, "", japanese())
    pdf.set_fallback_fonts([_CJK], exact_match=False)
    # Without shaping Arabic letters stand alone, and from left to right.
    pdf.set_text_shaping(True)
    pdf.add_page()
    pdf.heading(TITLE, 18)
    _notice(pdf)
    _header(pdf, source, page.course, local)
    if page.trend is not None:
        pdf.picture(page.trend, 150)
    _table(pdf, page.course)
    if page.comparison is not None:
        pdf.picture(page.comparison, 160, "This visit")
    pdf.heading("What was measured", 13)
    provenance = page.course.encounter
    for text in (_METHOD, nature_in_words(provenance.regressor_is_synthetic)):
        pdf.paragraph(text)
    pdf.heading("What it cannot tell", 13)
    pdf.paragraph(_LIMITS)
    return bytes(pdf.output())


class _Document(FPDF):
    def prints(self, text: str) -> bool:
        """Whether the fonts have every letter; marks and the like only change how one looks."""
        fonts = [self.fonts[family] for family in (_FAMILY, _CJK)]
        known = [font.cmap for font in fonts if isinstance(font, TTFFont)]
        letters = [ord(letter) for letter in text if category(letter) not in _NO_LETTERS]
        return all(any(letter in cmap for cmap in known) for letter in letters)

    def footer(self) -> None:
        """Repeat the notice, with the page's number."""
        self.set_y(-13)
        self.set_font(_FAMILY, "", 8)
        self.cell(0, 5, f"{RESEARCH_USE_NOTICE} Page {self.page_no()}", align="C")

    def heading(self, text: str, size: int) -> None:
        self.set_font(_FAMILY, "B", size)
        self.ln(1.5)
        self.cell(0, size * 0.55, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.ln(1)

    def paragraph(self, text: str, size: float = 9.5) -> None:
        self.set_font(_FAMILY, "", size)
        self.multi_cell(0, 4.8, text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.ln(1.2)

    def picture(self, pixels: NDArray[np.uint8], width: float, heading: str = "") -> None:
        """Place the picture in the middle of the line, as JPEG: a page is not measured from."""
        height = width * pixels.shape[0] / pixels.shape[1]
        if self.get_y() + height + (12 if heading else 0) > self.h - self.b_margin:
            self.add_page()
        if heading:
            self.heading(heading, 13)
        with BytesIO() as content:
            Image.fromarray(pixels).save(content, "JPEG", quality=90)
            self.image(BytesIO(content.getvalue()), x=(self.w - width) / 2, w=width)
        self.ln(2)


def _notice(pdf: _Document) -> None:
    pdf.set_font(_FAMILY, "B", 11)
    pdf.set_fill_color(255, 240, 200)
    text = f"{RESEARCH_USE_NOTICE} Do not base a decision about treatment on this page."
    pdf.multi_cell(0, 7, text, fill=True, border=1, align="C", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pdf.ln(2)


def _header(pdf: _Document, source: Dataset, course: ReportedCourse, local: datetime) -> None:
    names = readable_names(source)
    names = [name for name in names if pdf.prints(name)] or names[:1]
    identifier = text_of(source, "PatientID")
    issuer = text_of(source, "IssuerOfPatientID")
    lines = [
        ("Name", names[0] if names else ""),
        *(("", name) for name in names[1:]),
        ("Identifier", f"{identifier} ({issuer})" if issuer and pdf.prints(issuer) else identifier),
        ("Born", _day(text_of(source, "PatientBirthDate"))),
        ("This visit", _day(course.encounter.study_date)),
        ("Accession number", text_of(source, "AccessionNumber")),
        ("Written", f"{local:%Y-%m-%d}"),
    ]
    for label, value in lines:
        if not value:
            continue
        pdf.set_font(_FAMILY, "B", 10)
        pdf.cell(42, 5.6, label)
        pdf.set_font(_FAMILY, "", 10)
        # A long one goes on in the next line: cut off, an identifier is another's.
        # And so is one with letters missing.
        shown = value if pdf.prints(value) else _UNPRINTABLE
        pdf.multi_cell(0, 5.6, shown, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pdf.ln(2)


def _table(pdf: _Document, course: ReportedCourse) -> None:
    pdf.set_font(_FAMILY, "", 9.5)
    pdf.set_fill_color(255, 255, 255)
    with pdf.table(width=174, col_widths=(30, 34, 30, 80), line_height=5.6, text_align="LEFT") as table:
        table.row(("Visit", "Score", "Photographs", "Remark"))
        for one in course.shown:
            table.row(
                (
                    _day(one.study_date) or "no date",
                    f"{one.value:.2f} \N{PLUS-MINUS SIGN} {one.uncertainty:.2f}",
                    str(one.photographs),
                    _remark(one, course),
                )
            )
    pdf.ln(1)


def _remark(one: EncounterScore, course: ReportedCourse) -> str:
    if one is course.encounter:
        return f"This visit. {change_in_words(one, course.change)}"
    if one.setup_digest != course.encounter.setup_digest:
        return "Another model or settings: not comparable."
    return ""


def _day(value: str) -> str:
    return f"{value[:4]}-{value[4:6]}-{value[6:]}" if len(value) == 8 and value.isdigit() else ""
