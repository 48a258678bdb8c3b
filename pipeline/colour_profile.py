"""Bring pixels with an embedded ICC profile to sRGB, the colour space that the models know."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms


def to_srgb(rgb: NDArray[np.uint8], profile: bytes) -> NDArray[np.uint8]:
    """Return `rgb` (rows, columns, 3) converted from `profile`; unchanged where that is sRGB or unusable."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return rgb
        converted = ImageCms.profileToProfile(
            Image.fromarray(rgb), source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return rgb  # a broken or foreign profile: the pixels are still the best that there is
    return rgb if converted is None else np.array(converted, dtype=np.uint8)
