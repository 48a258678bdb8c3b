"""Drawn anomalies of shape. Every amplitude is linear in severity; all else comes from the generator `rng`.

Each function takes the face (rows, columns, 3), its anatomy, a severity in (0, 1] and the generator, and
draws the same random numbers whatever the severity.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.anatomy import Anatomy, Half, Points
from pipeline.skin_paint import Picture, distance_field, line_mask, relief, skin_mask, smoothstep, tinted
from pipeline.warp import Bump, warped


def sides(anatomy: Anatomy, rng: np.random.Generator, both: float = 0.2) -> list[Half]:
    """Draw one half of the face, or with probability `both` the two."""
    first = anatomy.half(1 if rng.random() < 0.5 else -1)
    return [first, anatomy.half(-first.outward)] if rng.random() < both else [first]


def cleft_lip(face: Picture, anatomy: Anatomy, severity: float, rng: np.random.Generator) -> Picture:
    """Pull the upper lip up to the nostril, flatten the nostril, leave a scar between them."""
    unit = anatomy.unit
    lift, spread, gap = rng.uniform(0.17, 0.23), rng.uniform(0.05, 0.11), max(0.0, rng.uniform(-0.6, 1.0))
    for half in sides(anatomy, rng):
        peak = 0.7 * half.lip_peak + 0.3 * half.lip_inner
        bend = rng.uniform(-0.04, 0.04, 5) * unit
        up = severity * lift * unit
        target = peak - (0, up)
        bumps = [
            _bump(target, (0, -up), (0.13 * unit, 0.36 * unit)),
            _bump(half.mouth_corner, (0, -0.25 * up), (0.3 * unit, 0.25 * unit)),
            _bump(
                half.ala,
                (severity * spread * unit * half.outward, 0.5 * severity * spread * unit),
                (0.2 * unit, 0.17 * unit),
            ),
        ]
        face = warped(face, bumps)
        path = np.linspace(peak - (0, up + 0.02 * unit), _moved(half.nostril, 0, 0.03 * unit), 5)
        path[1:-1, 0] += bend[1:-1]
        scar = line_mask(face.shape[:2], path, 0.03 * unit) * np.float32(severity)
        face = tinted(face, scar, lightness=1.08, a=9, b=-1)
        notch = np.linspace(half.lip_inner - (0, 0.01 * unit), target - (0, 0.04 * unit), 5)
        opening = line_mask(face.shape[:2], notch, max(1.0, severity * 0.05 * unit))
        face = tinted(face, opening * np.float32(severity * gap), lightness=0.35, a=8, b=0)
    return face


def nose_deviation(face: Picture, anatomy: Anatomy, severity: float, rng: np.random.Generator) -> Picture:
    """Push the nose sideways: the tip most, the bridge less or the other way."""
    unit = anatomy.unit
    aside = rng.choice((-1, 1)) * rng.uniform(0.24, 0.31) * unit * severity
    bridge = rng.uniform(-0.3, 0.6) * aside
    tip, middle = anatomy.points[30], anatomy.points[28]
    return warped(
        face,
        [
            _bump(_moved(tip, aside, 0.05 * unit), (aside, 0), (0.6 * unit, 0.46 * unit)),
            _bump(_moved(middle, bridge, 0), (bridge, 0), (0.36 * unit, 0.4 * unit)),
        ],
    )


def mouth_droop(face: Picture, anatomy: Anatomy, severity: float, rng: np.random.Generator) -> Picture:
    """Let a corner of the mouth hang, as in a facial palsy; the lower lid follows a little."""
    unit = anatomy.unit
    down, inward, lid = rng.uniform(0.19, 0.25), rng.uniform(-0.04, 0.06), rng.uniform(0, 0.05)
    for half in sides(anatomy, rng, both=0.15):
        shift = (-half.outward * inward * unit * severity, down * unit * severity)
        low = _moved(half.lower_lid[1:3].mean(axis=0), 0, 0.03 * unit)
        face = warped(
            face,
            [
                _bump(half.mouth_corner + shift, shift, (0.4 * unit, 0.45 * unit)),
                _bump(half.lower_lip, (0, 0.3 * shift[1]), (0.3 * unit, 0.25 * unit)),
                _bump(low, (0, lid * unit * severity), (0.22 * unit, 0.1 * unit)),
            ],
        )
    return face


def eyelid_droop(face: Picture, anatomy: Anatomy, severity: float, rng: np.random.Generator) -> Picture:
    """Lower the upper lid over the eye. Its skin is stretched; the eye is covered, not squeezed."""
    closing = rng.uniform(0.85, 1.0)
    for half in sides(anatomy, rng):
        face = _lid_lowered(face, half, anatomy.unit, severity * closing)
    return face


def _lid_lowered(face: Picture, half: Half, unit: float, fraction: float) -> Picture:
    """Lower the lid of one eye by `fraction` of its opening."""
    upper, lower = (
        half.upper_lid[np.argsort(half.upper_lid[:, 0])],
        half.lower_lid[np.argsort(half.lower_lid[:, 0])],
    )
    left, right = max(0, int(upper[0, 0])), min(face.shape[1], int(upper[-1, 0]) + 1)
    if left >= right:
        return face
    columns = np.arange(left, right)
    lid, bottom = _curve(upper, columns), _curve(lower, columns)
    drop = fraction * np.maximum(bottom - lid, 0)
    brow_y = float(half.brow[:, 1].max())
    fixed = np.minimum(brow_y + 0.2 * (lid - brow_y), lid - 0.1 * unit)  # skin above this line stays
    top, base = int(max(0, fixed.min())), int(min(face.shape[0], bottom.max() + 2))
    if top >= base:
        return face
    rows = np.arange(top, base, dtype=np.float64)[:, None]
    edge = lid + drop + 0.012 * unit  # the lashes go with the lid
    along = np.clip((rows - fixed) / (edge - fixed), 0, 1)
    source_y = (rows - drop * along).astype(np.float32)
    source_x = np.broadcast_to(columns.astype(np.float32), source_y.shape).copy()
    covered = cv2.remap(face, source_x, source_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    weight = np.clip((edge - rows) / 2.5 + 0.5, 0, 1) * (drop > 0) * (rows > fixed)
    patch = face[top:base, left:right]
    result = face.copy()
    result[top:base, left:right] = np.rint(patch + weight[..., None] * (covered.astype(np.float64) - patch))
    return result


def eye_displaced(face: Picture, anatomy: Anatomy, severity: float, rng: np.random.Generator) -> Picture:
    """Move one eye, brow excepted, down or outward."""
    unit = anatomy.unit
    amount, angle = rng.uniform(0.18, 0.24) * unit * severity, rng.uniform(-0.3, 1.57)
    for half in sides(anatomy, rng, both=0.0):
        shift = (half.outward * amount * np.cos(angle), amount * np.sin(angle))
        face = warped(face, [_bump(half.eye + shift, shift, (0.46 * unit, 0.42 * unit))])
    return face


def eyes_wide_set(face: Picture, anatomy: Anatomy, severity: float, rng: np.random.Generator) -> Picture:
    """Move both eyes outward and broaden the bridge of the nose: a symmetric anomaly."""
    unit = anatomy.unit
    apart = rng.uniform(0.13, 0.18) * unit * severity
    bumps = [
        _bump(_moved(half.eye, half.outward * apart, 0), (half.outward * apart, 0), (0.46 * unit, 0.5 * unit))
        for half in (anatomy.left, anatomy.right)
    ]
    return warped(face, [*bumps, _bump(anatomy.points[27], (0, 0), (0.3 * unit, 0.4 * unit), 0.3 * severity)])


def cheek_swelling(face: Picture, anatomy: Anatomy, severity: float, rng: np.random.Generator) -> Picture:
    """Swell a cheek: its outline bulges outward and its dome catches light."""
    unit = anatomy.unit
    outward, size = rng.uniform(0.12, 0.2), rng.uniform(0.6, 0.8)
    light = (rng.uniform(-0.5, 0.5), -1.0)
    for half in sides(anatomy, rng):
        centre = half.cheek + rng.uniform(-0.08, 0.08, 2) * unit
        rim = half.jaw[4]
        push = half.outward * outward * unit * severity
        face = warped(
            face,
            [
                _bump(_moved(rim, push, 0), (push, 0.25 * abs(push)), (0.55 * unit, 0.62 * unit)),
                _bump(centre, (0, 0), (size * unit, size * unit), 0.22 * severity),
            ],
        )
        field = distance_field(face.shape[:2], centre, (size * 0.7 * unit, size * 0.75 * unit), 0, 0.05, rng)
        dome = smoothstep(1 - field) * skin_mask(face.shape[:2], anatomy)
        face = relief(face, (dome * 0.3 * unit * severity).astype(np.float32), light, gain=0.11)
    return face


def jaw_deviation(face: Picture, anatomy: Anatomy, severity: float, rng: np.random.Generator) -> Picture:
    """Push chin and lower jaw sideways, the mouth less."""
    unit = anatomy.unit
    aside = rng.choice((-1, 1)) * rng.uniform(0.3, 0.4) * unit * severity
    mouth = anatomy.points[57]
    return warped(
        face,
        [
            _bump(_moved(anatomy.chin, aside, -0.12 * unit), (aside, 0), (0.85 * unit, 0.66 * unit)),
            _bump(_moved(mouth, 0.25 * aside, 0), (0.25 * aside, 0), (0.6 * unit, 0.4 * unit)),
        ],
    )


def chin_small(face: Picture, anatomy: Anatomy, severity: float, rng: np.random.Generator) -> Picture:
    """Draw the chin up and in: a symmetric anomaly."""
    unit = anatomy.unit
    up = rng.uniform(0.2, 0.28) * unit * severity
    return warped(
        face,
        [_bump(anatomy.chin - (0, up), (0, -up), (0.85 * unit, 0.52 * unit), -0.25 * severity)],
    )


def _bump(
    centre: Points, shift: tuple[float, float], radii: tuple[float, float], magnify: float = 0.0
) -> Bump:
    return Bump((float(centre[0]), float(centre[1])), shift, radii, magnify)


def _moved(point: Points, x: float, y: float) -> Points:
    moved: Points = point + np.array((x, y))
    return moved


def _curve(points: Points, columns: NDArray[np.int64]) -> Points:
    """Return the height of a smooth curve through lid points (sorted by x) at each column."""
    coefficients = np.polyfit(points[:, 0], points[:, 1], 2)
    return np.polyval(coefficients, columns.astype(np.float64)).astype(np.float64)
