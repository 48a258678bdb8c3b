"""Codes: complete, valid, and documented."""

from __future__ import annotations

from pathlib import Path

from pydicom.sr.coding import Code

from pipeline.face_regions import REGIONS
from pipeline.learned_features import LEARNED_FEATURES
from pipeline.local_features import LOCAL_FEATURES
from pipeline.result import Features, RejectionReason
from pipeline.shape_features import SHAPE_FEATURES
from reports import codes


def private_codes() -> list[Code]:
    found = [value for value in vars(codes).values() if isinstance(value, Code)]
    found += [name for name, _ in codes.EVERY_FEATURE.values()]
    found += [*codes.REJECTIONS.values(), *codes.REGION_SHARES.values()]
    return [code for code in found if code.scheme_designator == codes.SCHEME]


def test_every_feature_and_every_reason_has_a_code() -> None:
    assert tuple(codes.FEATURES) == Features.names()
    assert tuple(codes.LOCAL_FEATURES) == LOCAL_FEATURES
    assert tuple(codes.LEARNED_FEATURES) == LEARNED_FEATURES
    assert tuple(codes.SHAPE_FEATURES) == SHAPE_FEATURES
    assert set(codes.REJECTIONS) == set(RejectionReason)
    assert tuple(codes.REGION_SHARES) == REGIONS


def test_codes_are_distinct_and_fit_their_attributes() -> None:
    values = [code.value for code in private_codes()]
    assert len(values) == len(set(values)) == 47
    assert all(len(code.value) <= 16 and len(code.meaning) <= 64 for code in private_codes())


def test_every_private_code_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "codes.md").read_text()
    missing = [code.value for code in private_codes() if f"| `{code.value}` | {code.meaning} |" not in text]
    assert missing == []
    assert text.count("\n| `") == len(private_codes())
