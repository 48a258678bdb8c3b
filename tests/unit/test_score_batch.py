"""Photographs scored together: in order, each as if it were alone, whoever is rejected beside it."""

from __future__ import annotations

import numpy as np
import pytest

from models.captured import Captures
from models.precision import PrecisionError
from pipeline.newton_normalization import StepEngine
from pipeline.result import Rejection, RejectionReason, Scored
from pipeline.scoring import PhotographScorer, build_scorer
from tests.faces import generated_face
from tests.real_weights import face_finder, real_metric
from tests.tiny import TINY_GENERATOR, tiny_generator
from tests.unit.test_scoring import regressor

pytestmark = pytest.mark.real_weights


def scorer(profile: str = "newton", engine: StepEngine | None = None) -> PhotographScorer:
    return PhotographScorer(
        tiny_generator(), real_metric(), face_finder(), regressor(), profile, engine=engine
    )


@pytest.mark.parametrize("profile", ["newton", "fast"])
def test_each_photograph_gets_its_own_result_in_order(profile: str) -> None:
    faces = [generated_face(seed) for seed in (3, 5)]
    nobody = np.zeros((400, 300, 3), np.uint8)
    results = scorer(profile).score_batch([faces[0], nobody, faces[1]])
    assert isinstance(results[1], Rejection)
    assert (results[1].reason, results[1].rows) == (RejectionReason.NO_FACE, 400)
    features = []
    for face, result in zip(faces, (results[0], results[2]), strict=True):
        alone = scorer(profile).score(face)
        assert isinstance(result, Scored)
        assert isinstance(alone, Scored)
        assert result.score.outline == alone.score.outline
        assert result.score.provenance == alone.score.provenance
        # On 64 px every window is the whole picture, so only rounding differs (measured: 3e-7).
        assert result.score.features.d_xperc == pytest.approx(alone.score.features.d_xperc, rel=1e-4)
        assert {"face", "align", "normalize", "features"} <= result.score.seconds.keys()
        features.append(result.score.features.as_dict())
    assert features[0] != features[1]


def test_nobody_to_score() -> None:
    assert scorer().score_batch([]) == []
    (result,) = scorer().score_batch([np.zeros((300, 300, 3), np.uint8)])
    assert isinstance(result, Rejection)


def test_precision_is_chosen_and_named_in_the_provenance() -> None:
    weights = str(TINY_GENERATOR)
    assert "precision" not in build_scorer(weights, "newton", "cpu").provenance.settings
    coarse = build_scorer(weights, "newton", "cpu", precision="bfloat16")
    assert coarse.provenance.settings["precision"] == "bfloat16"
    assert isinstance(coarse.score(generated_face(3)), Scored)
    with pytest.raises(PrecisionError, match="float8"):
        build_scorer(weights, "newton", "cpu", precision="float8")


def test_on_a_cpu_nothing_is_recorded() -> None:
    engine = StepEngine.on_device(tiny_generator(), real_metric())
    assert not engine.captures.records
    recorded = []

    class Listening(Captures):
        def call(self, key, function, *inputs):
            recorded.append(key)
            return super().call(key, function, *inputs)

    listening = StepEngine(tiny_generator(), real_metric(), Listening(None))
    with_engine = scorer(engine=listening).score(generated_face(3))
    plain = scorer().score(generated_face(3))
    assert recorded, "Newton's steps go through the scorer's own engine"
    assert isinstance(with_engine, Scored)
    assert isinstance(plain, Scored)
    assert with_engine.score.features == plain.score.features
