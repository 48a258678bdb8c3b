"""What decides a score besides the pixels: the provenance that names it all."""

from __future__ import annotations

from importlib.metadata import version

from models.regressor import Regressor
from pipeline.measuring import Measuring
from pipeline.result import FITTED_OTHERWISE, Provenance


def scoring_provenance(measuring: Measuring, regressor: Regressor) -> Provenance:
    """Return the provenance of scores that this regressor gives to what is measured so."""
    generator, metric = measuring.generator, measuring.metric
    return Provenance(
        generator=generator.name,
        generator_sha256=generator.sha256,
        metric=f"lpips-{metric.trunk}",
        metric_sha256=metric.sha256,
        landmarks_sha256=measuring.faces.sha256,
        regressor=regressor.name,
        regressor_sha256=regressor.sha256,
        regressor_is_synthetic=regressor.synthetic,
        profile=measuring.profile_name,
        seed=measuring.seed,
        software_version=version("facenorm"),
        settings={
            **measuring.profile.as_dict(),
            **measuring.files(),
            **measuring.choices(),
            "regressor_profile": regressor.profile,
            **_fitted_otherwise(measuring, regressor),
            **_repeatability_setting(regressor),
        },
    )


def _fitted_otherwise(measuring: Measuring, regressor: Regressor) -> dict[str, str]:
    """Name what the regressor was fitted under otherwise, where its card tells."""
    measured_with = regressor.card.get("measured_with")
    if not isinstance(measured_with, dict):
        return {}
    otherwise = measuring.otherwise(measured_with, regressor.features)
    return {FITTED_OTHERWISE: " ".join(otherwise)} if otherwise else {}


def _repeatability_setting(regressor: Regressor) -> dict[str, float]:
    """State how far scores of one face taken again lie apart, one standard deviation in points, if known."""
    stated = regressor.card.get("repeatability_sd")
    return {"repeatability_sd": float(stated)} if isinstance(stated, (int, float)) else {}
