"""What decides a score besides the pixels: the features measured, and the provenance that names it all."""

from __future__ import annotations

from importlib.metadata import version

from models.generator import Generator
from models.lpips import Lpips
from models.regressor import Regressor
from pipeline.face import FaceFinder
from pipeline.learned_features import LEARNED_FEATURES
from pipeline.local_features import LOCAL_FEATURES
from pipeline.nearest_average import averages_to_choose_from
from pipeline.newton_normalization import StepEngine
from pipeline.profile import Profile
from pipeline.quality_thresholds import QualityThresholds
from pipeline.result import FITTED_OTHERWISE, FURTHER_FEATURES, Features, Provenance, SettingValue


def measured_features(generator: Generator) -> set[str]:
    """Return the names of all features that are measured on this generator."""
    further = set(FURTHER_FEATURES)
    if generator.covariance is None:
        further.discard("d_wmahalanobis")
    learned = set() if generator.anomaly_network is None else set(LEARNED_FEATURES)
    return {*Features.names(), *LOCAL_FEATURES} | further | learned


def scoring_provenance(
    generator: Generator,
    metric: Lpips,
    faces: FaceFinder,
    regressor: Regressor,
    profile_name: str,
    seed: int,
    similarity_metric: Lpips | None,
    engine: StepEngine | None,
    quality: QualityThresholds,
) -> Provenance:
    """Return the provenance of a `PhotographScorer` that is made of these.

    Raises ProfileError where the generator lacks what the profile takes.
    """
    profile = Profile.from_card(generator.card.profiles[profile_name])
    return Provenance(
        generator=generator.name,
        generator_sha256=generator.sha256,
        metric=f"lpips-{metric.trunk}",
        metric_sha256=metric.sha256,
        landmarks_sha256=faces.sha256,
        regressor=regressor.name,
        regressor_sha256=regressor.sha256,
        regressor_is_synthetic=regressor.synthetic,
        profile=profile_name,
        seed=seed,
        software_version=version("facenorm"),
        settings={
            **profile.as_dict(),
            **_regressor_setting(generator, profile, regressor),
            **averages_setting(generator, profile),
            **_covariance_setting(generator, regressor),
            **_anomaly_network_setting(generator, regressor),
            **_repeatability_setting(regressor),
            **({"similarity_sha256": similarity_metric.sha256} if similarity_metric else {}),
            **({"precision": engine.precision} if engine and engine.precision != "float32" else {}),
            **{f"quality.{name}": at for name, at in quality.changed().items()},
        },
    )


def _regressor_setting(generator: Generator, profile: Profile, regressor: Regressor) -> dict[str, str]:
    """Name the profile that the regressor was fitted under, and what of it is otherwise here, if known."""
    named = {"regressor_profile": regressor.profile}
    fitted = _settings_fitted_under(regressor)
    here = profile.as_dict() | averages_setting(generator, profile)
    otherwise = {key for key, _ in here.items() ^ fitted.items()} if fitted else set()
    return named | ({FITTED_OTHERWISE: " ".join(sorted(otherwise))} if otherwise else {})


def _settings_fitted_under(regressor: Regressor) -> dict[str, SettingValue]:
    """Return what the regressor's card says of the profile; nothing where it says none."""
    measured_with = regressor.card.get("measured_with")
    if not isinstance(measured_with, dict):
        return {}
    match measured_with.get("profile"):
        case [_, dict(settings)]:
            keys = {"averages_sha256"} & measured_with.keys()
            return settings | {key: measured_with[key] for key in keys}
    return {}


def averages_setting(generator: Generator, profile: Profile) -> dict[str, str]:
    """Name the averages where what is measured depends on them.

    Raises ProfileError where they are missing.
    """
    averages = averages_to_choose_from(generator, profile)
    return {"averages_sha256": averages.sha256} if averages else {}


def _covariance_setting(generator: Generator, regressor: Regressor) -> dict[str, str]:
    """Name the covariance where the score depends on it."""
    if generator.covariance is None or "d_wmahalanobis" not in regressor.features:
        return {}
    return {"covariance_sha256": generator.covariance.sha256}


def _anomaly_network_setting(generator: Generator, regressor: Regressor) -> dict[str, str]:
    """Name the anomaly network where the score depends on it."""
    if generator.anomaly_network is None or not set(regressor.features) & set(LEARNED_FEATURES):
        return {}
    return {"anomaly_network_sha256": generator.anomaly_network.sha256}


def _repeatability_setting(regressor: Regressor) -> dict[str, float]:
    """State how far scores of one face taken again lie apart, one standard deviation in points, if known."""
    stated = regressor.card.get("repeatability_sd")
    return {"repeatability_sd": float(stated)} if isinstance(stated, (int, float)) else {}
