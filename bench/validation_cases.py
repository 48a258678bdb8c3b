"""What validation measures: people and generated faces, as they are, taken again, and with anomalies.

The split is fixed here, before anything is tuned: of the people of --photos, sorted by identifier, every
second one (`TUNING`) may be looked at while settings are chosen; the others are only ever measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline.anomaly import AnomalyKind
from pipeline.perceptual_severity import LEVELS

TUNING, HELD_OUT, GENERATED = "tuning", "held_out", "generated"
NEUTRAL, SMILING = "neutral", "smiling"
RETAKES = ("recompressed", "turned", "resized", "relit")
"""The same picture again: JPEG of quality 40, turned by 4 degrees, at half the size, in another light."""
VIEWS = (NEUTRAL, SMILING, *RETAKES)

_EXPRESSIONS = {NEUTRAL: "_03", SMILING: "_08"}
_UNDEFORMED_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Case:
    """One photograph to be measured.

    person: an identifier of --photos, or the number of a generated face. split: `TUNING`, `HELD_OUT` or
    `GENERATED`. view: `NEUTRAL`, `SMILING` or one of `RETAKES`. kind: an `AnomalyKind`, or empty. level: the
    severity that is drawn. seed: of the drawing.
    """

    person: str
    split: str
    view: str = NEUTRAL
    kind: str = ""
    level: float = 0.0
    seed: int = 0

    @property
    def name(self) -> str:
        """What tells it from all others; a file's name."""
        parts = [self.split, self.person, self.view, self.kind or "undeformed", f"{self.level:.3f}"]
        return "-".join(parts)

    def as_dict(self) -> dict[str, object]:
        """Return the fields by name."""
        return asdict(self)


def people(photos: Path) -> dict[str, str]:
    """Return person -> split for everybody of whom --photos has a neutral photograph."""
    found = sorted(path.name.split("_")[0] for path in photos.glob(f"*{_EXPRESSIONS[NEUTRAL]}.jpg"))
    return {person: TUNING if n % 2 == 0 else HELD_OUT for n, person in enumerate(found)}


def photograph_of(photos: Path, person: str, view: str) -> Path:
    """Return the file that a view is made from."""
    return photos / f"{person}{_EXPRESSIONS[SMILING if view == SMILING else NEUTRAL]}.jpg"


def cases_of_people(photos: Path, splits: Sequence[str]) -> list[Case]:
    """Return all cases of the people in these splits: views, retakes, every kind at every level."""
    cases = []
    for number, (person, split) in enumerate(people(photos).items()):
        if split not in splits:
            continue
        cases += [Case(person, split, view) for view in VIEWS]
        cases += [
            Case(person, split, kind=str(kind), level=level, seed=1000 * number + k)
            for k, kind in enumerate(AnomalyKind)
            for level in LEVELS[1:]
        ]
    return cases


def cases_of_generated_faces(count: int, seed: int) -> list[Case]:
    """Return as many cases, one a face: undeformed, or one kind at any severity."""
    cases = []
    for number in range(count):
        random = np.random.default_rng([seed, number])
        kind = str(random.choice([str(k) for k in AnomalyKind]))
        level = 0.0 if random.random() < _UNDEFORMED_SHARE else float(random.uniform(0.1, 1))
        drawn = {"kind": kind, "level": round(level, 3)} if level else {}
        cases.append(Case(f"{number:05d}", GENERATED, seed=number, **drawn))  # type: ignore[arg-type]
    return cases
