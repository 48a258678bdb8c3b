"""Features in, normality score out: a small model kept as JSON, with the card that says what it is."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.regressor_member import Member, mean_answer, member_from_json

LOWEST, HIGHEST = 1.0, 7.0
"""The paper's scale: 1 most deformed, 7 most normal."""


class RegressorError(ValueError):
    """The regressor cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Regressor:
    """Standardized features through the members of an ensemble, whose answers are averaged.

    features: names in input order. mean, scale: (F,), of the training data. residual_std: standard
    deviation of held-out residuals, in points. generator_sha256, profile: what the features came from.
    synthetic: True where the ratings were severities of drawn anomalies, not judgements of people. card: what
    it was learned from and how far it errs (`pipeline.calibration_card`). sha256: over the file's bytes.
    """

    name: str
    features: tuple[str, ...]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    members: tuple[Member, ...]
    residual_std: float
    generator: str
    generator_sha256: str
    profile: str
    synthetic: bool
    card: Mapping[str, object]
    sha256: str

    def predict(self, features: Mapping[str, float]) -> float:
        """Return the score in [1, 7]; raises KeyError naming a missing feature."""
        x = (np.array([features[name] for name in self.features]) - self.mean) / self.scale
        return float(np.clip(mean_answer(self.members, x[None])[0], LOWEST, HIGHEST))


def load_regressor(path: Path) -> Regressor:
    """Read a regressor file; raises RegressorError where it is missing or malformed."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RegressorError(f"scoring.regressor: {path.name} cannot be read ({error.strerror})") from error
    try:
        values = json.loads(content)
        members = tuple(member_from_json(member) for member in values["members"])
        regressor = Regressor(
            name=values["name"],
            features=tuple(values["features"]),
            mean=np.array(values["mean"], dtype=np.float64),
            scale=np.array(values["scale"], dtype=np.float64),
            members=members,
            residual_std=float(values["residual_std"]),
            generator=values["generator"],
            generator_sha256=values["generator_sha256"],
            profile=values["profile"],
            synthetic=values["synthetic"],
            card=values["card"],
            sha256=hashlib.sha256(content).hexdigest(),
        )
        _check(regressor)
    except KeyError as missing:
        raise RegressorError(f"scoring.regressor: {path.name} lacks the key {missing}") from missing
    except (TypeError, ValueError) as error:
        raise RegressorError(f"scoring.regressor: {path.name} is no regressor file ({error})") from error
    return regressor


def _check(regressor: Regressor) -> None:
    """Raise ValueError for what would fail, or mislead, only when the first photograph is scored."""
    inputs = (len(regressor.features),)
    if not regressor.mean.shape == regressor.scale.shape == inputs:
        raise ValueError(f"mean and scale must hold one number for each of {inputs[0]} features")
    if not (np.isfinite(regressor.mean).all() and (regressor.scale > 0).all()):
        raise ValueError("mean must be finite and scale above zero")
    if not np.isfinite(regressor.scale).all():
        raise ValueError("scale must be finite")
    if not (math.isfinite(regressor.residual_std) and regressor.residual_std >= 0):
        raise ValueError("residual_std must be finite and not negative")
    if not isinstance(regressor.synthetic, bool):
        raise TypeError("synthetic must be true or false")
    if not regressor.members:
        raise ValueError("it has no members")
    for member in regressor.members:
        member.check(*inputs)
    if not isinstance(regressor.card, dict):
        raise TypeError("the card must be an object")
    if not all(isinstance(name, str) for name in regressor.features):
        raise TypeError("features must be names")
    texts = (regressor.name, regressor.generator, regressor.generator_sha256, regressor.profile)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("name, generator, generator_sha256 and profile must be text")
