"""The default generator, profile and regressor on a real run: anomaly removed, person kept, score lower."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.catalog import GENERATOR
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.result import FITTED_OTHERWISE, Scored
from pipeline.scoring import PhotographScorer, build_scorer
from pipeline.stopwatch import Stopwatch
from tests.faces import generated_face
from tests.real_weights import face_finder

pytestmark = pytest.mark.real_weights


@pytest.fixture(scope="module")
def scorer() -> PhotographScorer:
    return build_scorer(GENERATOR, "fast", "cpu")


@pytest.fixture(scope="module")
def pair(scorer: PhotographScorer) -> tuple[Scored, Scored]:
    """The same face with and without a port-wine stain, scored."""
    face = generated_face(15)
    deformed = draw_anomaly(face, face_finder().find(face).landmarks, AnomalyKind.PORT_WINE_STAIN, 0.9, 1)
    results = scorer.score(deformed), scorer.score(face)
    assert isinstance(results[0], Scored)
    assert isinstance(results[1], Scored)
    return results[0], results[1]


def test_the_deformed_face_scores_lower(pair: tuple[Scored, Scored]) -> None:
    deformed, undeformed = pair
    assert deformed.score.value < undeformed.score.value - 0.5


def test_the_regressor_was_fitted_on_what_is_measured(scorer: PhotographScorer) -> None:
    assert FITTED_OTHERWISE not in scorer.provenance.settings
    assert scorer.provenance.settings["regressor_profile"] == scorer.provenance.profile


def test_the_anomaly_is_gone_from_the_normalized_face(pair: tuple[Scored, Scored]) -> None:
    deformed, undeformed = pair
    stain = np.abs(deformed.images.aligned.astype(int) - undeformed.images.aligned).max(2) > 25
    assert stain.mean() > 0.005
    left = redness(deformed.images.normalized, stain) - redness(undeformed.images.aligned, stain)
    made = redness(deformed.images.aligned, stain) - redness(undeformed.images.aligned, stain)
    assert left < 0.35 * made


def redness(picture: NDArray[np.uint8], where: NDArray[np.bool_]) -> float:
    """Return the mean of red over green inside `where`."""
    inside = picture[where].astype(float)
    return float((inside[:, 0] - inside[:, 1]).mean())


def test_the_person_is_kept(scorer: PhotographScorer, pair: tuple[Scored, Scored]) -> None:
    deformed, undeformed = pair
    other = scorer.measurer.locate(generated_face(21), Stopwatch())
    own = np.abs(deformed.images.normalized.astype(int) - undeformed.images.aligned)
    others = np.abs(other.picture.astype(int) - undeformed.images.aligned)
    inside = (undeformed.images.masked != 127).any(2)
    assert own[inside].mean() < 0.7 * others[inside].mean()
