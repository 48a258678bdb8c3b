"""The sheet that raters fill in: a CSV file, and a web page that needs no server and loads nothing."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template

from PIL import Image

SHEET_COLUMNS = ("picture", "rater", "rating")
_SCALE = range(1, 8)
_SIDE = 640  # pixels of a picture in the page: 150 of them make about 10 MB
_QUALITY = 88

_ITEM = Template(
    '<figure><img alt="Face $number" src="data:image/jpeg;base64,$picture">'
    '<figcaption><fieldset name="$name"><legend>Face $number of $count</legend>$choices</fieldset>'
    "</figcaption></figure>"
)
_CHOICE = Template('<label><input type="radio" name="$name" value="$value"> $value$meaning</label>')
_MEANING = {1: " (most deformed)", 7: " (most normal)"}


def write_sheets(folder: Path, pictures: Sequence[Path]) -> None:
    """Write `sheet.csv` and `sheet.html` for the pictures (PNG files), in their order. Raises OSError."""
    with (folder / "sheet.csv").open("w", encoding="utf-8", newline="") as file:
        sheet = csv.writer(file)
        sheet.writerow(SHEET_COLUMNS)
        sheet.writerows((picture.name, "", "") for picture in pictures)
    (folder / "sheet.html").write_text(_page(pictures), "utf-8")


def _page(pictures: Sequence[Path]) -> str:
    template = Template((resources.files("dicom_node") / "pages" / "rating_sheet.html").read_text("utf-8"))
    shown = [_reduced(picture) for picture in pictures]
    # So that the browser does not mix up two sets that have the same numbers.
    set_id = hashlib.sha256(b"".join(shown)).hexdigest()[:16]
    items = [
        _ITEM.substitute(
            number=number,
            count=len(pictures),
            name=picture.name,
            picture=base64.b64encode(jpeg).decode(),
            choices="".join(
                _CHOICE.substitute(name=picture.name, value=value, meaning=_MEANING.get(value, ""))
                for value in _SCALE
            ),
        )
        for number, (picture, jpeg) in enumerate(zip(pictures, shown, strict=True), start=1)
    ]
    return template.substitute(count=len(pictures), items="\n".join(items), set_id=set_id)


def _reduced(path: Path) -> bytes:
    with Image.open(path) as picture:
        small = picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    small.save(content, format="JPEG", quality=_QUALITY)
    return content.getvalue()
