"""What differs between photographs of one normal face: light, colour balance, contrast, blur, noise, grain.

Generated faces lack most of it, so that whatever learns on them alone takes a real photograph's light for
an anomaly. Drawn on generated faces in training only.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def vary_capture(face: NDArray[np.uint8], strength: float, seed: int) -> NDArray[np.uint8]:
    """Return `face`, uint8 (H, W, 3) RGB, as another camera and light might have taken it.

    strength: 0 (unchanged) to 1 (a plainly different clinic). Geometry moves by about 0.6 % of the side
    then, nowhere by 2 %.
    """
    if strength == 0:
        return face.copy()
    random = np.random.default_rng(seed)
    side = face.shape[0]
    picture = _moved(face, random, strength).astype(np.float32) / 255
    picture = np.power(np.clip(picture, 1e-4, 1), np.exp(random.normal(0, 0.2 * strength)))
    light = _smooth_field(random, side, 4) * 0.14 * strength
    balance = random.normal(0, 0.03 * strength, 3)
    picture = picture * np.exp(light[:, :, None] + balance)
    grain = _smooth_field(random, side, max(8, side // 6)) * 0.03 * strength * random.uniform(0, 1)
    picture = picture + grain[:, :, None]
    blur = random.uniform(0, 0.004) * side * strength
    if blur > 0.3:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), blur), dtype=np.float32)
    picture = picture + random.normal(0, 0.012 * strength * random.uniform(), picture.shape)
    return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)


def _moved(face: NDArray[np.uint8], random: np.random.Generator, strength: float) -> NDArray[np.uint8]:
    """Shift single regions a little: two people's normal proportions differ from any generated face's."""
    side = face.shape[0]
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    amplitude = 0.006 * side * strength
    moved = cv2.remap(
        face,
        columns + amplitude * _smooth_field(random, side, 5),
        rows + amplitude * _smooth_field(random, side, 5),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(moved, dtype=np.uint8)


def _smooth_field(random: np.random.Generator, side: int, cells: int) -> NDArray[np.float32]:
    """Return a random field (side, side) of about unit variance, `cells` bumps across."""
    coarse = random.normal(0, 1, (cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), dtype=np.float32)
