"""What measures is the same for the node and for calibration, and says everything that it depends on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from models.anomaly_ensemble import AnomalyEnsemble, LoadedAnomalyNetwork
from models.anomaly_network import AnomalyNetwork
from models.cache import cached_path
from models.catalog import LANDMARKS
from models.generator_card import GeneratorError
from models.latent_covariance import LatentCovariance
from models.regressor import load_regressor
from pipeline.face import FaceFinder, load_face_finder
from pipeline.kept_measurements import measure_photograph
from pipeline.measuring import Measuring, measured_features
from pipeline.quality_thresholds import QualityThresholds
from pipeline.result import Rejection
from pipeline.scoring import PhotographScorer
from pipeline.stopwatch import Stopwatch
from tests.faces import generated_face
from tests.real_weights import face_finder, real_metric
from tests.tiny import TINY_GENERATOR, random_metric, tiny_generator

pytestmark = pytest.mark.real_weights

STRICT = QualityThresholds(rejected_sharpness=0.9, warned_sharpness=0.95)


def measuring(quality: QualityThresholds | None = None) -> Measuring:
    quality = quality or QualityThresholds()
    faces = load_face_finder(quality.minimum_face_pixels)
    return Measuring(tiny_generator(), random_metric(), faces, "fast", 0, quality=quality)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A face of some 170 px."""
    small = cv2.resize(generated_face(3), (340, 340), interpolation=cv2.INTER_AREA)
    Image.fromarray(np.asarray(small)).save(tmp_path / "face.png")
    return tmp_path / "face.png"


@pytest.mark.parametrize(
    "quality", [None, QualityThresholds(minimum_face_pixels=100), replace(STRICT, minimum_face_pixels=100)]
)
def test_calibration_leaves_out_what_the_node_rejects_and_nothing_else(
    photograph: Path, quality: QualityThresholds | None
) -> None:
    row = measure_photograph(measuring(quality), photograph)
    thresholds = quality or QualityThresholds()
    faces = load_face_finder(thresholds.minimum_face_pixels)
    regressor = load_regressor(TINY_GENERATOR.with_name("tiny-regressor.json"))
    scorer = PhotographScorer(
        Measuring(tiny_generator(), random_metric(), faces, "fast", quality=thresholds), regressor
    )
    scored = scorer.score_file(photograph)
    expected = {None: "face_too_small", 0.08: "", 0.9: "blurred"}[quality and quality.rejected_sharpness]
    assert row.reason == expected
    assert (scored.reason if isinstance(scored, Rejection) else "") == expected
    assert bool(row.features) == (not expected)


def test_landmarks_placed_beside_a_photograph_count_in_a_calibration(photograph: Path) -> None:
    found = measuring(QualityThresholds(minimum_face_pixels=100, rejected_sharpness=0.0))
    alone = measure_photograph(found, photograph)
    points = found.accepted_face(photograph, Stopwatch()).found
    assert points is not None
    beside = photograph.with_name("face.png.landmarks.json")
    beside.write_text(json.dumps({"landmarks": (points.landmarks * 1.02).tolist()}))
    placed = measure_photograph(found, photograph)
    assert placed.features
    assert placed.features != alone.features
    beside.write_text('{"landmarks": [[1, 2]]}')
    assert measure_photograph(found, photograph).reason == "unusable_landmarks"


def test_setup_tells_the_files_apart_that_decide_what_is_measured() -> None:
    one = measuring()
    without = FaceFinder(cached_path(LANDMARKS, "shape_predictor_68_face_landmarks.dat"), one.faces.sha256)
    covariance = LatentCovariance(*(2 * [np.eye(4)]), sha256="c" * 64)
    card = replace(one.generator.card, regions={"usual": {"nose": 1.0}})
    others = [
        replace(one, faces=without),
        replace(one, metric=real_metric()),
        replace(one, quality=STRICT),
        replace(one, generator=replace(one.generator, covariance=covariance)),
        replace(one, generator=replace(one.generator, covariance=None)),
        replace(one, generator=replace(one.generator, card=card)),
        replace(one, seed=1),
        replace(one, profile_name="reference"),
    ]
    setups = [one.setup(), *(other.setup() for other in others)]
    assert len({str(setup) for setup in setups}) == len(setups)
    assert replace(one).setup() == one.setup()


def test_what_decides_a_regressors_features_is_compared_and_nothing_else() -> None:
    network = LoadedAnomalyNetwork(AnomalyEnsemble([AnomalyNetwork(24)]), "a" * 64)
    bare = replace(measuring(), faces=face_finder())
    judged = replace(bare, generator=replace(bare.generator, anomaly_network=network))
    fitted = judged.setup()
    other = fitted | {"anomaly_network_sha256": "b" * 64, "covariance_sha256": "c" * 64, "seed": 9}
    assert "n_peak" in measured_features(judged.generator)
    assert judged.otherwise(fitted, ("n_peak", "d_wmahalanobis")) == []
    assert judged.otherwise(other, ("n_peak",)) == ["anomaly_network_sha256"]
    assert judged.otherwise(other, ("d_wmahalanobis",)) == ["covariance_sha256"]
    assert judged.otherwise(other, ("d_xperc",)) == []
    assert judged.otherwise(fitted | {"landmarks": "d" * 64}, ("d_xperc",)) == ["landmarks"]
    assert judged.otherwise(fitted | {"averages_sha256": "e" * 64}, ("d_xperc",)) == ["averages_sha256"]


def test_an_unknown_profile_is_told_with_those_there_are() -> None:
    with pytest.raises(GeneratorError, match=r"scoring\.profile: 'slow' is none of .*fast.* \(tiny-test\)"):
        replace(measuring(), profile_name="slow")
