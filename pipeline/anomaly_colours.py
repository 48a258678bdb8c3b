"""Drawn anomalies of the skin: colour, relief, scars. The strength under the mask is linear in severity.

Each function takes the face (rows, columns, 3), its anatomy, a severity in (0, 1] and the generator, and
draws the same random numbers whatever the severity.
"""

from __future__ import annotations

import numpy as np

from pipeline.anatomy import Anatomy, Points
from pipeline.anomaly_shapes import sides
from pipeline.skin_paint import (
    Picture,
    distance_field,
    line_mask,
    noise,
    relief,
    skin_mask,
    smoothstep,
    tinted,
)
from pipeline.warp import Bump, warped


def port_wine_stain(face: Picture, anatomy: Anatomy, severity: float, rng: np.random.Generator) -> Picture:
    """Stain a cheek red to violet, flat, with a ragged rim, as far as the nose or lip at times."""
    unit, shape = anatomy.unit, face.shape[:2]
    skin = skin_mask(shape, anatomy)
    violet, dark = rng.uniform(-7, 8), rng.uniform(0.66, 0.82)
    texture = noise(shape, 40, rng)
    for half in sides(anatomy, rng, both=0.1):
        centre = half.cheek + rng.uniform(-0.18, 0.18, 2) * unit
        radii = (rng.uniform(0.4, 0.7) * unit, rng.uniform(0.5, 0.85) * unit)
        field = distance_field(shape, centre, radii, rng.uniform(-0.5, 0.5), 0.45, rng)
        stain = smoothstep((0.7 + 0.3 * severity - field) / 0.2) * skin * np.float32(severity)
        face = tinted(face, stain, lightness=dark, a=23, b=violet, texture=texture)
    return face


def pigmented_lesion(face: Picture, anatomy: Anatomy, severity: float, rng: np.random.Generator) -> Picture:
    """Draw a brown patch with a ragged rim and a few specks around it."""
    unit, shape = anatomy.unit, face.shape[:2]
    skin = skin_mask(shape, anatomy)
    centre, radius = _place(anatomy, rng), rng.uniform(0.14, 0.34) * unit
    radii = (radius, radius * rng.uniform(0.6, 1.0))
    dark, red = rng.uniform(0.3, 0.5), rng.uniform(2, 9)
    field = distance_field(shape, centre, radii, rng.uniform(0, 3.1), 0.4, rng)
    for _ in range(int(rng.integers(0, 5))):
        aside = centre + rng.uniform(-1.4, 1.4, 2) * radius
        speck = rng.uniform(0.06, 0.16) * radius
        field = np.minimum(field, distance_field(shape, aside, (speck, speck), 0, 0.3, rng))
    patch = smoothstep((0.75 + 0.25 * severity - field) / 0.16) * skin * np.float32(severity)
    return tinted(face, patch, lightness=dark, a=red, b=2, texture=noise(shape, 50, rng))


def haemangioma(face: Picture, anatomy: Anatomy, severity: float, rng: np.random.Generator) -> Picture:
    """Draw a raised red lump: the skin bulges, is coloured, shaded from above and a little glossy."""
    unit, shape = anatomy.unit, face.shape[:2]
    centre, radius = _place(anatomy, rng), rng.uniform(0.16, 0.32) * unit
    light, violet = (rng.uniform(-0.6, 0.6), -1.0), rng.uniform(-4, 8)
    field = distance_field(shape, centre, (radius, radius * rng.uniform(0.8, 1.1)), 0, 0.22, rng)
    lumps, texture = noise(shape, 36, rng), noise(shape, 60, rng)
    reach = 1.7 * radius
    bulge = Bump((float(centre[0]), float(centre[1])), (0, 0), (reach, reach), 0.35 * severity)
    face = warped(face, [bulge])
    skin = skin_mask(shape, anatomy)
    colour = smoothstep((1 - field) / 0.3) * skin * np.float32(severity)
    face = tinted(face, colour, lightness=0.66, a=34, b=violet, texture=texture)
    dome = smoothstep(1.1 * (1 - field)) * (1 + 0.12 * lumps) * skin
    height = (dome * 0.45 * radius * severity).astype(np.float32)
    return relief(face, height, light, gain=0.3, gloss=7 * severity)


def scar(face: Picture, anatomy: Anatomy, severity: float, rng: np.random.Generator) -> Picture:
    """Draw a pale, slightly raised line across the skin, which is drawn together along it."""
    unit, shape = anatomy.unit, face.shape[:2]
    middle, angle, length = _place(anatomy, rng), rng.uniform(0, np.pi), rng.uniform(0.7, 1.2) * unit
    width, curve = rng.uniform(0.045, 0.08) * unit, rng.uniform(-0.15, 0.15) * unit
    along = np.array((np.cos(angle), np.sin(angle)))
    across = np.array((-along[1], along[0]))
    t = np.linspace(-0.5, 0.5, 14)
    wobble = np.convolve(rng.normal(0, 0.02, 16) * unit, (0.25, 0.5, 0.25), mode="valid")
    path: Points = middle + length * t[:, None] * along + ((1 - 4 * t**2) * curve + wobble)[:, None] * across
    red, texture = rng.uniform(10, 20), noise(shape, 80, rng)
    reach = 0.32 * unit
    drawn_in = [
        Bump((float(p[0]), float(p[1])), (0, 0), (reach, reach), -0.22 * severity) for p in path[2:-2:3]
    ]
    face = warped(face, drawn_in)
    skin = skin_mask(shape, anatomy)
    line = line_mask(shape, path, width) * skin
    halo = line_mask(shape, path, 2.6 * width) * skin
    face = tinted(face, halo * np.float32(severity), lightness=0.88, a=red, b=1, texture=texture)
    face = tinted(face, line * np.float32(severity), lightness=1.3, a=-4, b=-7, texture=texture)
    return relief(face, (line * 0.35 * width * severity).astype(np.float32), (0.4, -0.9), gain=0.22)


def _place(anatomy: Anatomy, rng: np.random.Generator) -> Points:
    """Draw a point on a cheek, the forehead, the nose, the chin or the upper lip."""
    half, unit = anatomy.half(1 if rng.random() < 0.5 else -1), anatomy.unit
    brow = half.brow.mean(axis=0)
    spots = (
        half.cheek,
        0.6 * half.cheek + 0.4 * half.jaw[4],
        brow - (0, 0.16 * unit),
        anatomy.points[30] - (0, 0.08 * unit),
        0.5 * (half.mouth_corner + anatomy.chin) + (0, 0.02 * unit),
        0.5 * (half.lip_peak + half.nostril),
    )
    choice = rng.choice(len(spots), p=(0.35, 0.2, 0.18, 0.09, 0.1, 0.08))
    place: Points = spots[choice] + rng.uniform(-0.1, 0.1, 2) * unit
    return place
