"""The folder of `facenorm score --output-dir`: six pictures per photograph, none written over another's."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from pathlib import Path

import pydicom
from numpy import uint8
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.misc import is_dicom

from dicom_node.received_dataset import is_uid
from pipeline.result import FaceImages

# A PNG text that tells whose pictures these are: a digest of the photograph's file, nothing of the patient.
_SOURCE_KEY = "facenorm source sha256"
_UNNAMED = "photograph"


class PictureFolder:
    """Writes `<name>-aligned.png`, `-masked`, `-normalized`, `-difference`, `-anomaly` and `-in_place`.

    <name> is the stem of a JPEG's or PNG's file name, as its user chose it. Names of DICOM files may hold a
    patient's name, so there it is the SOP Instance UID. Another photograph that has the name already, in this
    run or from an earlier one, keeps it; the newcomer gets `-2`, `-3` and so on. Earlier pictures of the same
    photograph are replaced.
    """

    def __init__(self, folder: Path) -> None:
        """Make the folder where needed. Raises OSError where that cannot be done."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._taken: set[str] = set()

    def write(self, photograph: Path, images: FaceImages) -> dict[str, str]:
        """Write the pictures of `photograph`; return kind -> path. Raises OSError."""
        source = hashlib.sha256(photograph.read_bytes()).hexdigest()
        name = self._free_name(picture_name(photograph), source)
        # Some file systems do not tell upper from lower case.
        self._taken.add(name.casefold())
        written: dict[str, str] = {}
        for field in fields(images):
            picture = getattr(images, field.name)
            if picture is None:
                continue
            path = self._path(name, field.name)
            _write_png(path, picture, source)
            written[field.name] = str(path)
        return written

    def _free_name(self, wanted: str, source: str) -> str:
        name, number = wanted, 1
        while name.casefold() in self._taken or not self._may_write(name, source):
            number += 1
            name = f"{wanted}-{number}"
        return name

    def _may_write(self, name: str, source: str) -> bool:
        """Whether nothing of this name is here, or only the same photograph's pictures."""
        paths = [self._path(name, field.name) for field in fields(FaceImages)]
        return all(not path.exists() or _source_of(path) == source for path in paths)

    def _path(self, name: str, kind: str) -> Path:
        return self._folder / f"{name}-{kind}.png"


def picture_name(photograph: Path) -> str:
    """Return what the pictures of `photograph` are called after; it holds no patient data of a DICOM file."""
    if not is_dicom(photograph):
        return photograph.stem
    try:
        header = pydicom.dcmread(photograph, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
        uid = str(header.get("SOPInstanceUID") or "").strip(" \0")
    except Exception:  # a damaged file makes pydicom raise nearly anything
        return _UNNAMED
    # It comes from the file and becomes part of a path.
    return uid if is_uid(uid) else _UNNAMED


def _write_png(path: Path, picture: NDArray[uint8], source: str) -> None:
    notes = PngInfo()
    notes.add_text(_SOURCE_KEY, source)
    partial = path.with_name(f"{path.name}.part")
    Image.fromarray(picture).save(partial, format="PNG", pnginfo=notes)
    partial.replace(path)


def _source_of(path: Path) -> str | None:
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return picture.info.get(_SOURCE_KEY)
    except (OSError, Image.DecompressionBombError):
        return None
