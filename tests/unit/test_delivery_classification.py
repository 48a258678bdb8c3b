import pytest

from dicom_node.sender import Verdict, classify_status


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0xB006, 0xB007, 0x0111])
def test_success_warnings_and_duplicates_are_delivered(status: int) -> None:
    assert classify_status(status).verdict is Verdict.DELIVERED
    assert classify_status(status).error is None


@pytest.mark.parametrize("status", [0xA700, 0xA7FF, 0x0110, 0x0210, 0xFE00, 0x0001])
def test_what_may_pass_is_transient(status: int) -> None:
    outcome = classify_status(status)
    assert outcome.verdict is Verdict.TRANSIENT
    assert outcome.error == f"status_{status:04X}"


@pytest.mark.parametrize("status", [0xA900, 0xA9FF, 0xC000, 0xCFFF, 0x0117, 0x0122, 0x0124, 0x0211, 0x0212])
def test_what_cannot_pass_is_permanent(status: int) -> None:
    outcome = classify_status(status)
    assert outcome.verdict is Verdict.PERMANENT
    assert outcome.error == f"status_{status:04X}"
