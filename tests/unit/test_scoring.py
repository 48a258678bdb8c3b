"""Photograph in, score or reason out, on the tiny generator: quick, and the score means nothing."""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console

from dicom_node.score_output import ScoredFile, as_json, as_table
from models.cache import cached_path
from models.catalog import LPIPS_TRUNKS
from models.generator_card import GeneratorError
from models.regressor import Regressor, RegressorError, load_regressor
from pipeline.face_regions import REGIONS
from pipeline.features import FeatureExtractor, to_tensor
from pipeline.measurement import FaceMeasurer
from pipeline.measuring import Measuring
from pipeline.profile import Profile
from pipeline.result import (
    FITTED_OTHERWISE,
    FURTHER_FEATURES,
    Features,
    Rejection,
    RejectionReason,
    Scored,
    plain,
)
from pipeline.scoring import PhotographScorer, build_scorer
from pipeline.stopwatch import Stopwatch
from tests.faces import generated_face
from tests.real_weights import face_finder, real_metric
from tests.tiny import TINY_GENERATOR, random_metric, tiny_generator

pytestmark = pytest.mark.real_weights

REGRESSOR = TINY_GENERATOR.with_name("tiny-regressor.json")


def regressor(residual_std: float = 0.5) -> Regressor:
    """The tiny one, moved to where its scores are inside the scale: blobs are far from every face."""
    return replace(load_regressor(REGRESSOR), mean=np.array([0.73]), residual_std=residual_std)


def scorer(profile: str = "fast", seed: int = 0, residual_std: float = 0.5) -> PhotographScorer:
    fitted = regressor(residual_std)
    return PhotographScorer(Measuring(tiny_generator(), real_metric(), face_finder(), profile, seed), fitted)


@pytest.fixture(scope="module")
def photograph() -> NDArray[np.uint8]:
    """Not square, the face off the middle."""
    small = cv2.resize(generated_face(3), (700, 700), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.copyMakeBorder(small, 60, 20, 200, 50, cv2.BORDER_REPLICATE))


@pytest.fixture(scope="module")
def scored(photograph: NDArray[np.uint8]) -> Scored:
    result = scorer().score(photograph)
    assert isinstance(result, Scored)
    return result


def test_score_is_complete_and_on_the_scale(scored: Scored) -> None:
    score = scored.score
    assert 1 <= score.value <= 7
    assert (score.rows, score.columns) == (780, 950)
    assert {"face", "align", "normalize", "features"} <= score.seconds.keys()
    assert all(seconds >= 0 for seconds in score.seconds.values())
    assert score.seconds["normalize"] > 0
    outline = np.array(score.outline)
    assert (outline >= 0).all()
    assert (outline <= (949, 779)).all()
    # The nose of face 3 lies near the middle of its picture.
    assert cv2.pointPolygonTest(outline.astype(np.float32), (550.0, 430.0), False) > 0
    json.dumps(plain(score))


def test_score_is_the_regressors_answer_to_the_features(scored: Scored) -> None:
    expected = regressor().predict(scored.score.features.as_dict())
    assert 1 < expected < 7
    assert scored.score.value == pytest.approx(expected, abs=6e-4)


def test_all_sixteen_features_are_kept_and_told(scored: Scored) -> None:
    score = scored.score
    assert tuple(score.further_features) == FURTHER_FEATURES
    assert all(value > 0 for value in score.further_features.values())
    told = as_json(ScoredFile(Path("face.png"), score), score.provenance)
    assert told["further_features"] == dict(score.further_features)


def test_shares_of_the_regions_are_kept_and_told(scored: Scored) -> None:
    shares = scored.score.region_shares
    assert set(shares) == set(REGIONS)
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    files = [ScoredFile(Path("face.png"), scored.score)]
    assert as_json(files[0], scored.score.provenance)["region_shares"] == dict(shares)
    shown = io.StringIO()
    Console(file=shown, width=200).print(as_table(files, scored.score.provenance))
    first, *_, last = shares
    assert f"{first.replace('_', ' ')} {100 * shares[first]:.0f}" in shown.getvalue()
    assert last.replace("_", " ") not in shown.getvalue()


def test_regressor_may_ask_for_any_of_the_sixteen(photograph: NDArray[np.uint8]) -> None:
    line = replace(regressor(), features=("d_wmahalanobis",), mean=np.array([5.0]), scale=np.array([2.0]))
    generator = tiny_generator()
    one = PhotographScorer(Measuring(generator, random_metric(), face_finder(), "fast"), line)
    assert generator.covariance is not None
    assert one.provenance.settings["covariance_sha256"] == generator.covariance.sha256
    found = one.score(photograph)
    assert isinstance(found, Scored)
    expected = line.predict(found.score.further_features)
    assert found.score.value == pytest.approx(expected, abs=6e-4)
    with pytest.raises(RegressorError, match="d_wmahalanobis"):
        PhotographScorer(
            Measuring(replace(generator, covariance=None), random_metric(), face_finder(), "fast"), line
        )


def test_pictures_show_the_same_face_in_one_frame(scored: Scored) -> None:
    images = scored.images
    assert images.anomaly is not None
    for picture in (images.aligned, images.masked, images.normalized, images.difference, images.anomaly):
        assert picture.shape == (1024, 1024, 3)
        assert picture.dtype == np.uint8
    inside = (images.masked != 127).any(2)
    np.testing.assert_array_equal(images.masked[inside], images.aligned[inside])
    assert 0.2 < inside.mean() < 0.6
    outside = cv2.dilate(inside.astype(np.uint8), np.ones((5, 5))) == 0
    assert (images.difference[outside] == 127).all()
    assert images.difference[512, 512].tolist() != [127, 127, 127]


def test_photograph_is_left_alone(photograph: NDArray[np.uint8], scored: Scored) -> None:
    before = photograph.copy()
    again = scorer().score(photograph)
    np.testing.assert_array_equal(photograph, before)
    assert isinstance(again, Scored)
    assert again.score.value == scored.score.value
    assert again.score.features == scored.score.features
    np.testing.assert_array_equal(again.images.normalized, scored.images.normalized)


def test_another_seed_starts_elsewhere(photograph: NDArray[np.uint8], scored: Scored) -> None:
    other = scorer(seed=1).score(photograph)
    assert isinstance(other, Scored)
    assert other.score.features != scored.score.features


def test_uncertainty_joins_spread_and_the_regressors_own_error(
    photograph: NDArray[np.uint8], scored: Scored
) -> None:
    generator = tiny_generator()
    profile = Profile.from_card(generator.card.profiles["fast"])
    measurer = FaceMeasurer(generator, real_metric(), face_finder(), profile, seed=0)
    features = measurer.measure(measurer.locate(photograph, Stopwatch()), Stopwatch()).features
    assert len(features) == profile.candidates == 2
    scores = [regressor().predict(f.as_dict()) for f in features]
    spread = abs(scores[0] - scores[1]) / 2**0.5
    assert spread > 0
    assert scored.score.uncertainty == pytest.approx(np.hypot(spread, 0.5), abs=6e-4)
    exact = scorer(residual_std=0.0).score(photograph)
    assert isinstance(exact, Scored)
    assert exact.score.uncertainty == pytest.approx(spread, abs=6e-4)
    means = np.mean([list(f.as_dict().values()) for f in features], axis=0)
    assert list(scored.score.features.as_dict().values()) == pytest.approx(means.tolist())


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_normalized_picture_is_the_nearest_candidates(photograph: NDArray[np.uint8], seed: int) -> None:
    generator, metric = tiny_generator(), real_metric()
    profile = replace(Profile.from_card(generator.card.profiles["fast"]), candidates=3, start_spread=2.0)
    measurer = FaceMeasurer(generator, metric, face_finder(), profile, seed)
    face = measurer.locate(photograph, Stopwatch())
    found = measurer.measure(face, Stopwatch())
    raw, mask = to_tensor(face.picture, torch.device("cpu")), torch.from_numpy(face.mask)
    shown = to_tensor(found.normalized, torch.device("cpu"))[None]
    w = torch.tensor([[1.0, 2.0]])
    ((again,), _) = FeatureExtractor(metric, raw[None], mask[None]).compare(shown, w[:1], w)
    distances = sorted(f.d_xperc for f in found.features)
    assert distances[1] > distances[0] + 0.005
    # The picture is rounded to eight bits.
    assert again.d_xperc == pytest.approx(distances[0], abs=0.002)


def test_single_candidate_has_the_regressors_error_alone(photograph: NDArray[np.uint8]) -> None:
    result = scorer("reference").score(photograph)
    assert isinstance(result, Scored)
    assert result.score.uncertainty == 0.5


def test_blank_picture_is_rejected_with_reason_and_timing() -> None:
    result = scorer().score(np.full((600, 800, 3), 200, np.uint8))
    assert isinstance(result, Rejection)
    assert result.reason is RejectionReason.NO_FACE
    assert (result.rows, result.columns) == (600, 800)
    assert result.provenance == scorer().provenance
    assert result.seconds.keys() == {"face"}
    json.dumps(plain(result))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_files_are_scored_as_their_pixels_are(
    photograph: NDArray[np.uint8], tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"photograph{suffix}"
    cv2.imwrite(str(path), photograph[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    read = np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])
    from_file, from_pixels = scorer().score_file(path), scorer().score(read)
    assert isinstance(from_file, Scored)
    assert isinstance(from_pixels, Scored)
    assert "decode" in from_file.score.seconds
    # Two JPEG decoders may differ by a grey level.
    for name in Features.names():
        assert getattr(from_file.score.features, name) == pytest.approx(
            getattr(from_pixels.score.features, name), rel=0.02
        )


def test_a_kept_normalized_face_is_put_back_as_it_was_at_first(
    photograph: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "photograph.png"
    cv2.imwrite(str(path), photograph[:, :, ::-1])
    scored = scorer().score_file(path)
    assert isinstance(scored, Scored)
    np.testing.assert_array_equal(scorer().blend_file(path, scored.images.normalized), scored.images.in_place)


def test_file_that_cannot_be_read_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "photograph.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 this is no picture")
    result = scorer().score_file(path)
    assert isinstance(result, Rejection)
    assert result.reason is RejectionReason.UNREADABLE_PIXELS
    assert result.seconds.keys() == {"decode"}
    assert "photograph.jpg" not in result.detail


def test_progress_is_told(photograph: NDArray[np.uint8]) -> None:
    told: list[tuple[int, int]] = []
    scorer().score(photograph, lambda done, of: told.append((done, of)))
    assert told[-1] == (3, 3)


@pytest.mark.parametrize(
    ("changed", "otherwise"),
    [({}, None), ({"steps": 999}, "steps"), ({"average": "nearest"}, "average")],
)
def test_what_the_regressor_was_fitted_under_otherwise_is_named(
    changed: dict[str, object], otherwise: str | None
) -> None:
    settings = Profile.from_card(tiny_generator().card.profiles["fast"]).as_dict()
    fitted = replace(regressor(), card={"measured_with": {"profile": ["fast", settings | changed]}})
    one = PhotographScorer(Measuring(tiny_generator(), random_metric(), face_finder(), "fast"), fitted)
    assert one.provenance.settings.get(FITTED_OTHERWISE) == otherwise


@pytest.mark.parametrize("measured_with", [None, 1, {}, {"profile": "fast"}, {"profile": ["fast", 1]}])
def test_a_card_that_tells_nothing_of_its_settings_is_taken(measured_with: object) -> None:
    fitted = replace(regressor(), card={"measured_with": measured_with})
    one = PhotographScorer(Measuring(tiny_generator(), random_metric(), face_finder(), "fast"), fitted)
    assert FITTED_OTHERWISE not in one.provenance.settings


def test_provenance_tells_every_setup_apart(tmp_path: Path) -> None:
    other_file = tmp_path / "other.json"
    other_file.write_text(REGRESSOR.read_text().replace("-0.8", "-0.7"))
    metric, faces = real_metric(), face_finder()
    setups = [
        scorer(),
        scorer(seed=1),
        scorer("reference"),
        PhotographScorer(Measuring(tiny_generator(), metric, faces, "fast"), load_regressor(other_file)),
        PhotographScorer(Measuring(tiny_generator(), random_metric(), faces, "fast"), regressor()),
    ]
    digests = {setup.provenance.digest() for setup in setups}
    assert len(digests) == 5
    assert scorer().provenance.digest() in digests
    trunk = cached_path(LPIPS_TRUNKS, "alexnet.safetensors")
    assert setups[0].provenance.metric_sha256 == hashlib.sha256(trunk.read_bytes()).hexdigest()
    assert setups[0].provenance.landmarks_sha256.startswith("fbdc2cb80eb9aa7a")
    settings = setups[0].provenance.settings
    assert settings["steps"] == 3
    assert settings["lambda_avg"] == 1.0
    assert setups[0].provenance.regressor_is_synthetic


def test_regressor_of_another_generator_is_refused() -> None:
    foreign = replace(load_regressor(REGRESSOR), generator_sha256="0" * 64, generator="another-one")
    with pytest.raises(RegressorError, match=r"scoring\.regressor.*another-one.*tiny-test"):
        PhotographScorer(Measuring(tiny_generator(), real_metric(), face_finder(), "fast"), foreign)


def test_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(GeneratorError, match=r"scoring\.profile.*'slow'.*fast, newton, reference"):
        scorer("slow")


def test_regressor_on_unknown_features_is_refused() -> None:
    unheard_of = replace(regressor(), features=("d_unheard_of",))
    with pytest.raises(RegressorError, match=r"scoring\.regressor.*d_unheard_of"):
        PhotographScorer(Measuring(tiny_generator(), real_metric(), face_finder(), "fast"), unheard_of)


@pytest.fixture
def moved_generator(tmp_path: Path) -> Iterator[Path]:
    """The tiny generator and its card elsewhere, without its regressor."""
    for name in ("tiny.safetensors", "tiny.json", "tiny-covariance.safetensors"):
        (tmp_path / name).write_bytes(TINY_GENERATOR.with_name(name).read_bytes())
    yield tmp_path / "tiny.safetensors"


def test_scorer_is_built_from_settings(moved_generator: Path, photograph: NDArray[np.uint8]) -> None:
    with pytest.raises(RegressorError, match=r"tiny-regressor\.json"):
        build_scorer(str(moved_generator), "fast", "cpu")
    built = build_scorer(str(moved_generator), "fast", "cpu", str(REGRESSOR), seed=3)
    assert built.provenance == scorer(seed=3).provenance
    result, expected = built.score(photograph), scorer(seed=3).score(photograph)
    assert isinstance(result, Scored)
    assert isinstance(expected, Scored)
    assert result.score.features == expected.score.features


def test_stopwatch_adds_up_and_counts_what_failed() -> None:
    times = iter([0.0, 1.5, 10.0, 10.25, 20.0, 23.0])
    watch = Stopwatch(lambda: next(times))
    for _ in range(2):
        with watch.stage("face"):
            pass
    with pytest.raises(RuntimeError), watch.stage("features"):
        raise RuntimeError
    assert watch.seconds == {"face": 1.75, "features": 3.0}
