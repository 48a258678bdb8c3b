"""Derived UIDs: valid, repeatable, and different whenever the objects differ."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reports.equipment import DEVICE_OBSERVER_UID, IMPLEMENTATION_CLASS_UID
from reports.uids import derive_uid

names = st.lists(st.text(max_size=8), max_size=3)
arguments = st.tuples(st.text(max_size=8), names, names, st.none() | st.text(max_size=8))


def uid_of(values: tuple[str, list[str], list[str], str | None]) -> str:
    role, sources, scorings, predecessor = values
    return derive_uid(role, source_uids=sources, scoring_ids=scorings, predecessor_uid=predecessor)


@given(arguments)
def test_uids_are_valid_and_repeatable(values) -> None:
    uid = uid_of(values)
    assert uid.is_valid
    assert len(uid) <= 64
    assert uid.startswith("2.25.")
    assert uid == uid_of(values)


@given(st.lists(arguments, min_size=2, max_size=12, unique_by=repr))
def test_different_inputs_give_different_uids(many) -> None:
    assert len({uid_of(values) for values in many}) == len(many)


def test_values_do_not_run_into_each_other() -> None:
    assert derive_uid("r", source_uids=["a", "bc"]) != derive_uid("r", source_uids=["ab", "c"])
    assert derive_uid("r", source_uids=["a"]) != derive_uid("r", source_uids=[], scoring_ids=["a"])
    assert derive_uid("r", source_uids=[], predecessor_uid="a") != derive_uid("r", source_uids=["a"])


def test_a_uid_never_changes_between_releases() -> None:
    # What is in an archive already must be recognized: if this fails, SCHEMA_VERSION or the scheme changed.
    uid = derive_uid("structured_report", source_uids=["1.2.3"], scoring_ids=["d"])
    assert uid == "2.25.6196804597016280525311913119344678035"


def test_device_and_implementation_have_different_uids() -> None:
    assert DEVICE_OBSERVER_UID.is_valid
    assert IMPLEMENTATION_CLASS_UID.is_valid
    assert DEVICE_OBSERVER_UID != IMPLEMENTATION_CLASS_UID
