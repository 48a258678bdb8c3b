"""The pictures of a scoring, kept as one file, so that a later report can show them with newer scores."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from dicom_node.outage import is_outage
from pipeline.result import FaceImages
from reports.comparison_picture import Panels
from storage.file_store import FileStore
from storage.instances import intact, intact_content

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)

KIND = "pictures"
"""The kind under which the instance store keeps them."""


def packed(images: FaceImages) -> bytes:
    """Return photograph, norm and deviation in the aligned frame, side by side, as a PNG."""
    anomaly = images.difference if images.anomaly is None else images.anomaly
    row = np.concatenate([images.aligned, images.normalized, anomaly], axis=1)
    with BytesIO() as content:
        # Level 1: twice as fast as the default, and hardly larger on photographs.
        Image.fromarray(row).save(content, "PNG", compress_level=1)
        return content.getvalue()


def unpacked(content: bytes) -> Panels:
    """Return the three pictures that `packed` was given.

    Raises OSError where `content` is no such file.
    """
    with Image.open(BytesIO(content)) as picture:
        row = np.asarray(picture.convert("RGB"), dtype=np.uint8)
    side = row.shape[0]
    if row.shape[1] != 3 * side:
        raise OSError("the kept pictures are damaged")
    return Panels(row[:, :side], row[:, side : 2 * side], row[:, 2 * side :])


def read_panels(store: FileStore, path: str) -> Panels | None:
    """Return the pictures of a scoring; None where their file is lost or damaged, and objects do without.

    Raises UnreachableError where the files are away: they will be there again.
    """
    # Checked first: whoever decodes what is damaged may raise nearly anything.
    return _unless_lost(lambda: unpacked(intact_content(path, store.read(path))))


def read_image(store: FileStore, path: str) -> NDArray[np.uint8] | None:
    """Return the pixels of an image of ours in the same way."""

    def read() -> NDArray[np.uint8]:
        return np.asarray(dcmread(intact(path, store.absolute(path))).pixel_array, dtype=np.uint8)

    return _unless_lost(read)


def _unless_lost(read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except OSError as error:  # a restored backup may lack them
        if is_outage(error):
            raise
        _log.warning("kept pictures not read", error=type(error).__name__)
        return None
