"""A photograph (JPEG, PNG or a DICOM file) as RGB, or the reason why not.

Sizes are checked before anything is decoded, here and in `pipeline.dicom_pixels`: a small hostile file must
not fill the memory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import ExifTags, Image

from pipeline.colour_profile import to_srgb
from pipeline.dicom_pixels import rgb_from_dataset
from pipeline.frame_size import check_frame_size
from pipeline.rejection import UnscorablePhotographError
from pipeline.result import Rejection, RejectionReason

__all__ = ["read_photograph", "rgb_from_dataset"]

_DICOM_PREFIX_OFFSET = 128
# By EXIF orientation. Pillow's own function also writes EXIF anew, and raises for entries of a wrong type.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_GREY = 128  # what shows through transparent parts


def read_photograph(path: Path) -> NDArray[np.uint8]:
    """Return the photograph in `path` as sRGB, (rows, columns, 3), upright as its EXIF orientation says.

    A DICOM file is known by its prefix (PS3.10 section 7.1), the others by their contents. Raises
    UnscorablePhotographError for a photograph that cannot be used and OSError for a file that cannot be read.
    """
    with path.open("rb") as stream:
        is_dicom = stream.read(_DICOM_PREFIX_OFFSET + 4)[_DICOM_PREFIX_OFFSET:] == b"DICM"
    return _rgb_from_dicom_file(path) if is_dicom else _rgb_from_picture(path)


def _rgb_from_dicom_file(path: Path) -> NDArray[np.uint8]:
    try:
        dataset = pydicom.dcmread(path)
    except Exception as error:  # a damaged file makes pydicom raise nearly anything
        raise _unreadable("The DICOM file is damaged; send it again from its source.") from error
    return rgb_from_dataset(dataset)


def _rgb_from_picture(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as picture:
            _check_picture(picture)
            return _upright_rgb(picture)
    except UnscorablePhotographError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _unreadable("The picture claims to be far larger than any photograph; reduce it.") from error
    except Exception as error:  # a damaged picture makes the decoders raise nearly anything
        raise _unreadable(
            "The file is damaged or is not a JPEG, PNG or DICOM file; export it again as one of these."
        ) from error


def _check_picture(picture: Image.Image) -> None:
    columns, rows = picture.size
    check_frame_size(rows, columns)
    if picture.format == "PNG" and getattr(picture, "n_frames", 1) > 1:
        raise UnscorablePhotographError(
            Rejection(
                RejectionReason.NOT_A_SINGLE_FRAME,
                "The PNG file is an animation; send one still photograph.",
                rows,
                columns,
            )
        )
    if picture.mode not in ("RGB", "RGBA", "P", "PA"):
        raise UnscorablePhotographError(
            Rejection(
                RejectionReason.UNSUPPORTED_COLOUR,
                "The picture is not an RGB colour picture (greyscale or CMYK); send the colour photograph.",
                rows,
                columns,
            )
        )


def _upright_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    upright = picture if turn is None else picture.transpose(turn)
    if upright.mode != "RGB":
        layered = upright.convert("RGBA")
        ground = Image.new("RGBA", layered.size, (_GREY, _GREY, _GREY, 255))
        upright = Image.alpha_composite(ground, layered).convert("RGB")
    rgb = np.array(upright, dtype=np.uint8)
    profile = picture.info.get("icc_profile")
    return to_srgb(rgb, profile) if isinstance(profile, bytes) else rgb


def _unreadable(detail: str) -> UnscorablePhotographError:
    return UnscorablePhotographError(Rejection(RejectionReason.UNREADABLE_PIXELS, detail))
