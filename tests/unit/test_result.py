"""The values that a scoring leaves behind keep their promises."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.result import Features, Provenance, Rejection, RejectionReason, Score, plain

texts = st.text(max_size=20)
settings_values = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), texts)
provenances = st.builds(
    Provenance,
    generator=texts,
    generator_sha256=texts,
    metric=texts,
    regressor=texts,
    regressor_sha256=texts,
    regressor_is_synthetic=st.booleans(),
    profile=texts,
    seed=st.integers(0, 2**63),
    software_version=texts,
    settings=st.dictionaries(texts, settings_values, max_size=5),
)


@given(provenances)
def test_provenance_survives_json(provenance: Provenance) -> None:
    stored = json.loads(json.dumps(provenance.as_dict()))
    again = Provenance.from_dict(stored)
    assert again == provenance
    assert again.digest() == provenance.digest()


@given(provenances, provenances)
def test_digests_are_equal_for_equal_provenances_only(one: Provenance, other: Provenance) -> None:
    assert (one.digest() == other.digest()) == (json.dumps(one.as_dict()) == json.dumps(other.as_dict()))


@given(provenances)
def test_order_of_the_settings_does_not_matter(provenance: Provenance) -> None:
    values = provenance.as_dict()
    values["settings"] = dict(reversed(list(provenance.settings.items())))
    again = Provenance.from_dict(values)
    assert again.digest() == provenance.digest()
    assert json.dumps(again.as_dict()) == json.dumps(provenance.as_dict())


def test_settings_cannot_be_changed_afterwards() -> None:
    given_settings: dict[str, float] = {"steps": 3}
    provenance = Provenance("g", "1", "m", "r", "2", True, "fast", 0, "1.0", given_settings)
    before = provenance.digest()
    given_settings["steps"] = 4
    assert provenance.digest() == before
    with pytest.raises(TypeError):
        provenance.settings["steps"] = 5  # type: ignore[index]


def test_record_from_before_the_digests_of_metric_and_landmarks_is_read() -> None:
    values = Provenance("g", "1", "m", "r", "2", True, "fast", 0, "1.0").as_dict()
    del values["metric_sha256"], values["landmarks_sha256"]
    assert Provenance.from_dict(values).metric_sha256 == ""


def score(**changes: object) -> Score:
    values = {
        "value": 4.0,
        "uncertainty": 0.5,
        "features": Features(0.1, 0.2, 20, 0.3, 0.4),
        "outline": ((1.0, 1.0), (5.0, 1.0), (5.0, 5.0), (1.0, 1.0)),
        "rows": 10,
        "columns": 12,
        "provenance": Provenance("g", "1", "m", "r", "2", True, "fast", 0, "1.0"),
        "seconds": {"face": 0.1},
    }
    return Score(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": 0.99}, "outside 1 to 7"),
        ({"value": 7.01}, "outside 1 to 7"),
        ({"value": float("nan")}, "outside 1 to 7"),
        ({"uncertainty": -0.1}, "uncertainty"),
        ({"uncertainty": float("inf")}, "uncertainty"),
        ({"outline": ((1.0, 1.0), (5.0, 1.0), (1.0, 1.0))}, "outline"),
        ({"outline": ((1.0, 1.0), (5.0, 1.0), (5.0, 5.0), (2.0, 1.0))}, "outline"),
        ({"outline": ()}, "outline"),
        ({"further_features": {"d_wcosine": float("nan")}}, "d_wcosine"),
        ({"region_shares": {"nose": 1.2}}, "nose"),
        ({"region_shares": {"nose": float("nan")}}, "nose"),
    ],
)
def test_impossible_scores_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(**changes)


def test_score_and_rejection_become_plain_json() -> None:
    values = json.loads(json.dumps(plain(score())))
    assert values["features"]["d_xpsnr"] == 20
    assert values["outline"][0] == values["outline"][-1] == [1.0, 1.0]
    assert values["provenance"]["generator"] == "g"
    rejection = Rejection(RejectionReason.NO_FACE, "no face", 3, 4)
    assert json.loads(json.dumps(plain(rejection))) == {
        "reason": "no_face",
        "detail": "no face",
        "rows": 3,
        "columns": 4,
        "provenance": None,
        "seconds": {},
    }


def test_shares_of_regions_are_frozen_and_kept_in_order() -> None:
    shares = {"nose": 0.75, "brows": 0.25}
    found = score(region_shares=shares)
    shares["nose"] = 0.0
    assert list(found.region_shares.items()) == [("nose", 0.75), ("brows", 0.25)]
    with pytest.raises(TypeError):
        found.region_shares["nose"] = 0.5  # type: ignore[index]
    assert json.loads(json.dumps(plain(found)))["region_shares"] == {"nose": 0.75, "brows": 0.25}
    assert score().region_shares == {}


def test_features_keep_their_order() -> None:
    names = ("d_xperc", "d_xstr", "d_xpsnr", "d_wbc", "d_wcorr")
    assert Features.names() == names
    assert tuple(Features(*np.arange(5.0)).as_dict().items()) == tuple(zip(names, range(5), strict=True))


def test_the_interval_lies_around_the_score_and_within_the_scale():
    assert score(value=4.0, uncertainty=1.0).interval == (2.355, 5.645)
    assert score(value=6.5, uncertainty=1.0).interval == (4.855, 7.0)
    assert score(value=1.2, uncertainty=1.0).interval == (1.0, 2.845)
