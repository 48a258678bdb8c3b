"""The pictures of a scoring, kept as one file, so that a later report can show them with newer scores."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from pipeline.result import FaceImages
from reports.comparison_picture import Panels

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
