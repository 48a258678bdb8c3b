"""How good a photograph of a face is, in figures: sharpness, exposure, eyes, what is cut off or covered."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.alignment import ALIGNED_SIDE, Alignment

_SHARPNESS_SIDE = 256  # as the metric sees it; finer detail changes no score, and noise is averaged out
_REBLUR = 1.0  # pixels at that side
_CLIPPED, _DARK = 250, 20  # of 255
_COVER_SIDE = 256
_UPPER_SKIN = ((27, 27), (21, 22), (36, 0), (45, 16), (27, 39), (27, 42))  # between these landmarks
_LOWER_FACE = (*range(2, 15), 30)
# Of CIE L*a*b*: distance from the skin in a*b*, share of its lightness, chroma of white and grey.
_OTHER_COLOUR, _BEARD_LIGHTNESS, _NEUTRAL = 16, 0.6, 5
_EYES = ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47))

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]
Mask = NDArray[np.float32]


def sharpness(picture: Picture, landmarks: Points) -> float:
    """Return how much of the inner face's gradients a slight further blur takes away, 0 (blurred) to 1.

    picture: aligned, (1024, 1024, 3). landmarks: (68, 2) in it. Contrast and light do not count
    (after Crete et al., "The blur effect", SPIE 6492, 2007), and the frame makes faces of all sizes equal.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    side = (_SHARPNESS_SIDE, _SHARPNESS_SIDE)
    small = np.asarray(cv2.resize(grey, side, interpolation=cv2.INTER_AREA), dtype=np.float32)
    inside = _inner_face(landmarks, _SHARPNESS_SIDE)
    had = _gradients(small)[inside].sum()
    blurred = np.asarray(cv2.GaussianBlur(small, (0, 0), _REBLUR), dtype=np.float32)
    left = _gradients(blurred)[inside].sum()
    return float(1 - left / had) if had > 0 else 0.0


def clipped_and_dark(picture: Picture, mask: Mask) -> tuple[float, float]:
    """Return the shares of the mask's pixels that are burnt out and that are nearly black, 0 to 1 each.

    picture: aligned, (S, S, 3). mask: (S, S) of 0 and 1.
    """
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[mask > 0]
    if len(luma) == 0:
        return 0.0, 0.0
    return float((luma >= _CLIPPED).mean()), float((luma <= _DARK).mean())


def brightness(picture: Picture, landmarks: Points) -> float:
    """Return how light the lightest hundredth of the inner face is, 0 to 1: white of the eyes, highlights.

    Skin of any colour has them, so this tells a dim photograph from a dark face. picture: aligned,
    (1024, 1024, 3), uint8 RGB. landmarks: (68, 2) in it.
    """
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[_inner_face(landmarks, ALIGNED_SIDE)]
    return float(np.quantile(luma, 0.99) / 255) if len(luma) else 0.0


def eye_opening(landmarks: Points) -> float:
    """Return height over width of the eye that is open wider, by its landmarks (the eye aspect ratio).

    dlib's landmarks follow a closed lid only in part: what is below 0.2 is closed, not all above is open.
    """
    return max(_opening(landmarks[list(eye)]) for eye in _EYES)


def share_outside(mask: Mask, alignment: Alignment, rows: int, columns: int) -> float:
    """Return the share of the mask, in the aligned frame, that lies outside the photograph, 0 to 1."""
    line, column = np.nonzero(mask[::4, ::4])
    if len(line) == 0:
        return 0.0
    points = alignment.to_photograph(4.0 * np.stack((column, line), axis=1).astype(np.float64) + 1.5)
    inside = (points >= -0.5).all(1) & (points[:, 0] <= columns - 0.5) & (points[:, 1] <= rows - 0.5)
    return float(1 - inside.mean())


def covered_share(picture: Picture, landmarks: Points) -> float:
    """Return the share of the lower face that is neither as the skin, nor redder, nor darker, 0 to 1.

    That is what a surgical mask, a dressing, a sheet or a glove looks like; birthmarks are redder, beards
    darker than the skin around the eyes, which it is compared with. A hand has the skin's colour: not seen.
    """
    lab, points = _reduced_lab(picture, landmarks)
    skin = _skin(lab, points)
    face = np.zeros(lab.shape[:2], np.uint8)
    cv2.fillPoly(face, [np.round(points[list(_LOWER_FACE)]).astype(np.int32)], 1)
    cv2.fillConvexPoly(face, cv2.convexHull(np.round(points[48:]).astype(np.int32)), 0)
    away, chroma = lab - skin, np.hypot(lab[..., 1], lab[..., 2])
    other = (np.hypot(away[..., 1], away[..., 2]) > _OTHER_COLOUR) & (away[..., 1] < 5)
    other &= lab[..., 0] > _BEARD_LIGHTNESS * skin[0]
    white = (chroma < _NEUTRAL) & (away[..., 0] > 0) & (np.hypot(skin[1], skin[2]) > 2 * _NEUTRAL)
    return float((other | white)[face > 0].mean()) if face.any() else 0.0


def _reduced_lab(picture: Picture, landmarks: Points) -> tuple[NDArray[np.float32], Points]:
    """Return the picture as CIE L*a*b* at `_COVER_SIDE` pixels, and the landmarks in it."""
    small = cv2.resize(picture, (_COVER_SIDE, _COVER_SIDE), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return np.asarray(lab, dtype=np.float32), landmarks * _COVER_SIDE / ALIGNED_SIDE


def _skin(lab: NDArray[np.float32], points: Points) -> NDArray[np.float32]:
    """Return the colour of the skin around the eyes, which masks leave free, (3,)."""
    spots = [points[list(pair)].mean(0) for pair in _UPPER_SKIN]
    return np.asarray(np.median([_around(lab, spot) for spot in spots], axis=0), dtype=np.float32)


def _inner_face(landmarks: Points, side: int) -> NDArray[np.bool_]:
    """Return what lies between brows and mouth in the aligned frame, (side, side)."""
    inside = np.zeros((side, side), np.uint8)
    hull = cv2.convexHull(np.round(landmarks[17:] * side / ALIGNED_SIDE).astype(np.int32))
    cv2.fillConvexPoly(inside, hull, 1)
    return inside > 0


def _gradients(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    across, down = np.zeros_like(grey), np.zeros_like(grey)
    across[:, 1:], down[1:] = np.diff(grey, axis=1), np.diff(grey, axis=0)
    return np.hypot(across, down)


def _opening(eye: Points) -> float:
    width = np.linalg.norm(eye[0] - eye[3])
    height = np.linalg.norm(eye[1] - eye[5]) + np.linalg.norm(eye[2] - eye[4])
    return float(height / (2 * width)) if width > 0 else 0.0


def _around(lab: NDArray[np.float32], point: Points) -> NDArray[np.float32]:
    column, row = np.clip(np.round(point).astype(int), 3, _COVER_SIDE - 4)
    return np.asarray(np.median(lab[row - 3 : row + 4, column - 3 : column + 4], axis=(0, 1)))
