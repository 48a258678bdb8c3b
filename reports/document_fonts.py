"""The fonts of the PDF: DejaVu Sans (Latin, Greek, Cyrillic, Arabic), IPAex Gothic for Chinese and Japanese.

The first comes with matplotlib, the second with the package matplotlib-fontja, of which only the file is
used.
"""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

from reports.plain_font import font_file


def latin_and_arabic(*, bold: bool = False) -> Path:
    """Return the font with Latin and Arabic letters."""
    return font_file(bold=bold)


def japanese() -> Path:
    """Return the font with kana and kanji.

    Raises importlib.metadata.PackageNotFoundError where matplotlib-fontja is not installed.
    """
    return Path(str(distribution("matplotlib-fontja").locate_file("matplotlib_fontja/fonts/ipaexg.ttf")))
