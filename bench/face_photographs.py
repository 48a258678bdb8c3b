"""Photographs with a face in them, nobody's: the default generator draws it, a frame of any size holds it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydicom.uid import generate_uid

from bench.noise_photographs import dicom_file, jpeg
from models.catalog import GENERATOR
from models.generator import choose_device, load_generator
from pipeline.features import to_picture


@cache
def face(number: int = 0) -> NDArray[np.uint8]:
    """Return a generated face, uint8 RGB (1024, 1024, 3)."""
    generator = load_generator(GENERATOR, choose_device("cpu"))
    z = torch.randn(number + 1, generator.network.w_dim, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        w = generator.w_avg + 0.7 * (generator.network.mapping(z[number:]) - generator.w_avg)
        return to_picture(generator.network.synthesis(w)[0])


def framed(picture: NDArray[np.uint8], megapixels: float) -> NDArray[np.uint8]:
    """Return a 4:3 photograph of that size with the face in its middle, over four fifths of its height."""
    rows = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    columns = round(megapixels * 1e6 / rows)
    side = rows * 4 // 5
    frame = np.full((rows, columns, 3), 128, np.uint8)
    top, left = (rows - side) // 2, (columns - side) // 2
    frame[top : top + side, left : left + side] = cv2.resize(
        picture, (side, side), interpolation=cv2.INTER_CUBIC
    )
    return frame


def write_photograph(path: Path, rgb: NDArray[np.uint8], study: str = "", patient: str = "TEST-0001") -> Path:
    """Write `rgb` as a JPEG baseline VL Photographic Image of a test patient; return `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = rgb.shape[:2]
    path.write_bytes(dicom_file(jpeg(rgb), rows, columns, study or generate_uid(), patient))
    return path
