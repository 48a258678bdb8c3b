"""The precision of Newton's steps, and the engine that they run on."""

from __future__ import annotations

import pytest

from models.captured import Captures
from models.precision import PrecisionError
from pipeline.measuring import Measuring
from pipeline.newton_normalization import StepEngine
from pipeline.result import Scored
from pipeline.scoring import PhotographScorer, build_scorer
from tests.faces import generated_face
from tests.real_weights import face_finder, real_metric
from tests.tiny import TINY_GENERATOR, tiny_generator
from tests.unit.test_scoring import regressor

pytestmark = pytest.mark.real_weights


def scorer(profile: str = "newton", engine: StepEngine | None = None) -> PhotographScorer:
    return PhotographScorer(
        Measuring(tiny_generator(), real_metric(), face_finder(), profile, engine=engine), regressor()
    )


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
