"""What measures photographs: composed in one place, for the node, calibration and validation alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.allocator import keep_freed_memory
from models.generator import Generator, choose_device, load_generator
from models.generator_card import GeneratorError
from models.lpips import Lpips, load_metric
from pipeline.face import FaceFinder, load_face_finder
from pipeline.learned_features import LEARNED_FEATURES
from pipeline.local_features import LOCAL_FEATURES
from pipeline.locating import AlignedFace
from pipeline.measurement import FaceMeasurer
from pipeline.nearest_average import averages_to_choose_from
from pipeline.newton_normalization import StepEngine
from pipeline.photograph import read_photograph
from pipeline.profile import Profile
from pipeline.quality import QualityGate
from pipeline.quality_thresholds import QualityThresholds
from pipeline.result import FURTHER_FEATURES, Features, SettingValue
from pipeline.shape_features import SHAPE_FEATURES
from pipeline.similarity import PERCEPTUAL_TRUNKS
from pipeline.stopwatch import Stopwatch

# What of the card's baseline decides shares; the rest describes it.
_REGIONS = ("usual", "judged")


@dataclass(frozen=True, slots=True)
class Measuring:
    """Everything that a photograph's features depend on besides the photograph.

    similarity_metric: what the optimisation compares pictures with, where that is not `metric`. engine: what
    Newton's steps are computed with, None for plain float32. quality: what a photograph must be like.
    """

    generator: Generator
    metric: Lpips
    faces: FaceFinder
    profile_name: str
    seed: int = 0
    similarity_metric: Lpips | None = None
    engine: StepEngine | None = None
    quality: QualityThresholds = field(default_factory=QualityThresholds)
    profile: Profile = field(init=False)
    gate: QualityGate = field(init=False)
    measurer: FaceMeasurer = field(init=False)

    def __post_init__(self) -> None:
        """Raise GeneratorError for an unknown profile, ProfileError where the generator lacks its needs."""
        profiles = self.generator.card.profiles
        if self.profile_name not in profiles:
            raise GeneratorError(
                f"scoring.profile: {self.profile_name!r} is none of {', '.join(sorted(profiles))} "
                f"({self.generator.name})"
            )
        profile = Profile.from_card(profiles[self.profile_name])
        averages_to_choose_from(self.generator, profile)
        made = FaceMeasurer(
            self.generator, self.metric, self.faces, profile, self.seed, self.similarity_metric, self.engine
        )
        object.__setattr__(self, "profile", profile)
        object.__setattr__(self, "gate", QualityGate(self.quality))
        object.__setattr__(self, "measurer", made)

    def accepted_face(
        self, path: Path, watch: Stopwatch, landmarks: NDArray[np.float64] | None = None
    ) -> AlignedFace:
        """Return the face of a photograph that the node would score, aligned.

        landmarks: those that a person placed, (68, 2), instead of looking for the face. Raises
        UnscorablePhotographError for any other, OSError where the file cannot be read.
        """
        rgb = read_photograph(path)
        face = self.measurer.locate(rgb, watch, landmarks)
        self.gate.check(face, *rgb.shape[:2])
        return face

    def files(self) -> dict[str, SettingValue]:
        """Return the digests of files besides the generator's, the metric's trunk and the landmark model.

        Of those that are there; the detection network decides whether a face is found at all.
        """
        generator = self.generator
        averages = averages_to_choose_from(generator, self.profile)
        regions = {name: generator.card.regions[name] for name in _REGIONS if name in generator.card.regions}
        digests = {
            "averages_sha256": averages and averages.sha256,
            "covariance_sha256": generator.covariance and generator.covariance.sha256,
            "anomaly_network_sha256": generator.anomaly_network and generator.anomaly_network.sha256,
            "metric_heads_sha256": self.metric.heads_sha256,
            "similarity_sha256": self.similarity_metric and self.similarity_metric.sha256,
            "detector_sha256": self.faces.detector_sha256,
            "regions_sha256": regions and _sha256(regions),
        }
        return {name: digest for name, digest in digests.items() if digest}

    def choices(self) -> dict[str, SettingValue]:
        """Return what was chosen otherwise than usual, besides profile and seed."""
        precision = self.engine.precision if self.engine else "float32"
        return {
            **({"precision": precision} if precision != "float32" else {}),
            **{f"quality.{name}": at for name, at in self.quality.changed().items()},
        }

    def setup(self) -> dict[str, object]:
        """Return all that rows depend on, ready for JSON: for a regressor's card, and what is kept by it."""
        return {
            "generator": self.generator.sha256,
            "metric": [self.metric.trunk, self.metric.sha256],
            "landmarks": self.faces.sha256,
            "profile": [self.profile_name, self.profile.as_dict()],
            "seed": self.seed,
            "features": sorted(measured_features(self.generator)),
            "software": version("facenorm"),
            **self.files(),
            **self.choices(),
        }

    def otherwise(self, setup: Mapping[str, object], features: tuple[str, ...]) -> list[str]:
        """Name what decides these features and is otherwise in `setup`, another's; [] where it tells nothing.

        Raises nothing: `setup` comes out of a file.
        """
        match setup.get("profile"):
            case [_, dict(settings)]:
                theirs = dict(setup) | settings
            case _:
                return []
        decisive = ["averages_sha256", "metric_heads_sha256", "similarity_sha256"]
        decisive += ["covariance_sha256"] if "d_wmahalanobis" in features else []
        decisive += ["anomaly_network_sha256"] if set(features) & set(LEARNED_FEATURES) else []
        profile = self.profile.as_dict()
        ours, names = self.files() | profile, {*settings, *profile, *decisive}
        differing = {name for name in names if ours.get(name) != theirs.get(name)}
        pairs = (("metric", [self.metric.trunk, self.metric.sha256]), ("landmarks", self.faces.sha256))
        return sorted(differing | {name for name, value in pairs if setup.get(name, value) != value})


def _sha256(values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def load_measuring(
    generator: str,
    profile: str,
    device: str = "auto",
    seed: int = 0,
    precision: str = "float32",
    quality: QualityThresholds | None = None,
) -> Measuring:
    """Compose it from settings. precision: of Newton's steps (`models.precision`).

    Raises GeneratorError, ProfileError, PrecisionError or WeightsMissingError, each saying what to do.
    """
    keep_freed_memory()
    return measuring_on(load_generator(generator, choose_device(device)), profile, seed, precision, quality)


def measuring_on(
    generator: Generator,
    profile: str,
    seed: int = 0,
    precision: str = "float32",
    quality: QualityThresholds | None = None,
) -> Measuring:
    """Compose it around a generator. Raises as `load_measuring`."""
    metric, quality = load_metric(generator.device), quality or QualityThresholds()
    return Measuring(
        generator,
        metric,
        load_face_finder(quality.minimum_face_pixels),
        profile,
        seed,
        _similarity_metric(generator, profile),
        StepEngine.on_device(generator, metric, precision),
        quality,
    )


def measured_features(generator: Generator) -> frozenset[str]:
    """Return the names of all features that are measured on this generator."""
    further = set(FURTHER_FEATURES)
    if generator.covariance is None:
        further.discard("d_wmahalanobis")
    learned = set() if generator.anomaly_network is None else set(LEARNED_FEATURES)
    return frozenset({*Features.names(), *LOCAL_FEATURES, *SHAPE_FEATURES} | further | learned)


def _similarity_metric(generator: Generator, profile: str) -> Lpips | None:
    """Load the metric that the profile asks for, where it is not the one of the features."""
    similarity = str(generator.card.profiles.get(profile, {}).get("similarity", "perceptual"))
    trunk = PERCEPTUAL_TRUNKS.get(similarity, "alexnet")
    return None if trunk == "alexnet" else load_metric(generator.device, trunk)
