"""Anomalies of no named kind, drawn anywhere on the face: what a network learns on that shall know no kinds.

Each is one to three random pieces: a displacement, a patch of another colour, a line, a lump, a transplant of
the neighbouring skin. Whoever learns from these alone has seen none of the kinds of `pipeline.anomaly`, which
can then test it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.anatomy import Anatomy, Points
from pipeline.skin_paint import (
    Mask,
    Picture,
    Tint,
    distance_field,
    line_mask,
    noise,
    relief,
    skin_mask,
    smoothstep,
    tinted,
)
from pipeline.warp import Bump, warped

_MIRRORED_SHARE = 0.2
_PIECES = (0.6, 0.3, 0.1)  # how often there are one, two or three


def draw_free_anomaly(
    face: NDArray[np.uint8], landmarks: NDArray[np.float64], strength: float, seed: int
) -> NDArray[np.uint8]:
    """Return a copy of `face`, (rows, columns, 3) RGB, with random changes drawn on it.

    landmarks: (68, 2) as (x, y) in pixels of `face`. strength: 0 (unchanged) to 1. seed: decides what and
    where, at every strength the same. Raises ValueError for a strength outside 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength {strength} is outside 0 to 1")
    if strength == 0:
        return face.copy()
    drawn = face
    for piece in free_pieces(landmarks, seed):
        drawn = piece.drawn_on(drawn, strength)
    return drawn.copy() if drawn is face else drawn


@dataclass(frozen=True, slots=True)
class FreePiece:
    """One change, in one place or in two that mirror each other.

    places: each with the side that it is drawn for, 1 or -1. seed: of what is left open.
    """

    anatomy: Anatomy
    draw: Callable[[Picture, Anatomy, Points, int, float, np.random.Generator], Picture]
    places: tuple[tuple[Points, int], ...]
    seed: int

    @property
    def moves(self) -> bool:
        """Whether the piece displaces what is there, and draws nothing."""
        return self.draw is _displacement

    def drawn_on(self, face: Picture, strength: float) -> Picture:
        """Return `face` with the piece drawn on it. strength: above 0, at most 1."""
        for place, side in self.places:
            face = self.draw(face, self.anatomy, place, side, strength, np.random.default_rng(self.seed))
        return face


def free_pieces(landmarks: NDArray[np.float64], seed: int) -> list[FreePiece]:
    """Return the pieces that `draw_free_anomaly` draws for this seed on a face with these landmarks."""
    anatomy, rng = Anatomy.of(landmarks), np.random.default_rng(seed)
    pieces = []
    for _ in range(1 + int(rng.choice(len(_PIECES), p=_PIECES))):
        draw = _DRAWINGS[int(rng.choice(len(_DRAWINGS), p=_SHARES))]
        place, mirrored = _place(anatomy, rng), rng.random() < _MIRRORED_SHARE
        places = ((place, 1), (_mirror(place, anatomy), -1)) if mirrored else ((place, 1),)
        pieces.append(FreePiece(anatomy, draw, places, int(rng.integers(2**31))))
    return pieces


def _place(anatomy: Anatomy, rng: np.random.Generator) -> Points:
    """Draw a point of the face: near a landmark, or between three of them."""
    points = anatomy.points
    if rng.random() < 0.5:
        place: Points = points[rng.integers(68)] + rng.normal(0, 0.12, 2) * anatomy.unit
        return place
    inside: Points = rng.dirichlet((1, 1, 1)) @ points[rng.choice(68, 3, replace=False)]
    return inside


def _mirror(place: Points, anatomy: Anatomy) -> Points:
    """Return the point on the other side of the line from the nose's bridge to the chin."""
    top, along = anatomy.points[27], anatomy.chin - anatomy.points[27]
    along = along / np.hypot(*along)
    mirrored: Points = top + 2 * ((place - top) @ along) * along - (place - top)
    return mirrored


def _displacement(
    face: Picture, anatomy: Anatomy, place: Points, side: int, strength: float, rng: np.random.Generator
) -> Picture:
    radii = np.exp(rng.uniform(np.log(0.18), np.log(1.1), 2)) * anatomy.unit
    if rng.random() < 0.5:
        radii[1] = radii[0] * rng.uniform(0.7, 1.4)
    angle, share = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.5)
    least = float(radii.min())
    shift = (side * np.cos(angle) * share * least * strength, np.sin(angle) * share * least * strength)
    magnify = float(np.clip(rng.normal(0, 0.25), -0.5, 0.45)) * strength * (rng.random() < 0.6)
    centre = (float(place[0] + shift[0]), float(place[1] + shift[1]))
    return warped(face, [Bump(centre, shift, (float(radii[0]), float(radii[1])), magnify)])


def _patch(
    face: Picture, anatomy: Anatomy, place: Points, side: int, strength: float, rng: np.random.Generator
) -> Picture:
    shape = face.shape[:2]
    _, field = _ragged(shape, anatomy, place, side, rng, (0.09, 0.7), 0.5, 0.5)
    soft = rng.uniform(0.08, 0.5)
    mask = smoothstep((1 - field) / soft) * skin_mask(shape, anatomy) * np.float32(strength)
    return tinted(face, mask, **_colour(rng), texture=noise(shape, int(rng.integers(20, 80)), rng))


def _line(
    face: Picture, anatomy: Anatomy, place: Points, side: int, strength: float, rng: np.random.Generator
) -> Picture:
    shape, unit = face.shape[:2], anatomy.unit
    angle, length = side * rng.uniform(0, np.pi), rng.uniform(0.3, 1.3) * unit
    width, curve = rng.uniform(0.025, 0.1) * unit, side * rng.uniform(-0.2, 0.2) * unit
    along = np.array((np.cos(angle), np.sin(angle)))
    across = np.array((-along[1], along[0]))
    t = np.linspace(-0.5, 0.5, 14)
    wobble = np.convolve(rng.normal(0, 0.03, 16) * unit, (0.25, 0.5, 0.25), mode="valid")
    path: Points = place + length * t[:, None] * along + ((1 - 4 * t**2) * curve + wobble)[:, None] * across
    reach, drawn_in = 0.32 * unit, rng.uniform(-0.25, 0.1) * strength
    face = warped(
        face, [Bump((float(p[0]), float(p[1])), (0, 0), (reach, reach), drawn_in) for p in path[2:-2:3]]
    )
    mask = line_mask(shape, path, width) * skin_mask(shape, anatomy)
    face = tinted(face, mask * np.float32(strength), **_colour(rng))
    height = (mask * rng.uniform(-0.4, 0.4) * width * strength).astype(np.float32)
    return relief(face, height, (0.4, -0.9), gain=0.22)


def _lump(
    face: Picture, anatomy: Anatomy, place: Points, side: int, strength: float, rng: np.random.Generator
) -> Picture:
    shape, unit = face.shape[:2], anatomy.unit
    radius = float(np.exp(rng.uniform(np.log(0.12), np.log(0.6)))) * unit
    field = distance_field(
        shape, place, (radius, radius * rng.uniform(0.7, 1.1)), 0, rng.uniform(0, 0.25), rng
    )
    reach = 1.6 * radius
    face = warped(
        face,
        [Bump((float(place[0]), float(place[1])), (0, 0), (reach, reach), rng.uniform(0.1, 0.35) * strength)],
    )
    dome = smoothstep(1.1 * (1 - field)) * skin_mask(shape, anatomy)
    if rng.random() < 0.5:
        face = tinted(face, dome * np.float32(strength * rng.uniform(0.3, 1)), **_colour(rng))
    height = (dome * rng.uniform(0.2, 0.5) * radius * strength).astype(np.float32)
    return relief(
        face,
        height,
        (side * rng.uniform(-0.6, 0.6), -1.0),
        rng.uniform(0.1, 0.3),
        7 * strength * rng.random(),
    )


def _transplant(
    face: Picture, anatomy: Anatomy, place: Points, side: int, strength: float, rng: np.random.Generator
) -> Picture:
    """Cover a place with what lies beside it, more of it the stronger; the rim is sharp or soft."""
    shape = face.shape[:2]
    radius, field = _ragged(shape, anatomy, place, side, rng, (0.1, 0.4), 0.35, 0.3)
    rim, angle = rng.uniform(0.05, 0.5), rng.uniform(0, 2 * np.pi)
    away = rng.uniform(0.6, 1.4) * radius * np.array((side * np.cos(angle), np.sin(angle)))
    weight = smoothstep((0.35 + 0.65 * strength - field) / rim)[..., None]
    move = np.array(((1, 0, away[0]), (0, 1, away[1])), np.float64)
    beside = cv2.warpAffine(face, move, shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(np.rint(face + weight * (beside.astype(np.float32) - face)), np.uint8)


def _ragged(
    shape: tuple[int, int],
    anatomy: Anatomy,
    place: Points,
    side: int,
    rng: np.random.Generator,
    sizes: tuple[float, float],
    least_ratio: float,
    most_ragged: float,
) -> tuple[float, Mask]:
    """Draw an oval with a ragged rim; return its radius and the distance from its middle, 1 on the rim.

    sizes: the radius, from and to, in units of the face.
    """
    radius = float(np.exp(rng.uniform(*np.log(sizes)))) * anatomy.unit
    radii = (radius, radius * rng.uniform(least_ratio, 1.0))
    angle, ragged = side * rng.uniform(0, np.pi), rng.uniform(0, most_ragged)
    return radius, distance_field(shape, place, radii, angle, ragged, rng)


_DRAWINGS = (_displacement, _patch, _line, _lump, _transplant)
_SHARES = (0.48, 0.19, 0.11, 0.11, 0.11)


def _colour(rng: np.random.Generator) -> Tint:
    """Draw a change of colour that shows: darker or redder mostly, paler at times."""
    if rng.random() < 0.25:
        return {"lightness": rng.uniform(1.12, 1.35), "a": rng.uniform(-6, 4), "b": rng.uniform(-8, 3)}
    return {"lightness": rng.uniform(0.35, 0.95), "a": rng.uniform(0, 34), "b": rng.uniform(-9, 9)}
