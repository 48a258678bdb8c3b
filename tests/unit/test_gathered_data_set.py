"""A data set in fragments says what a BytesIO would say of it."""

from __future__ import annotations

from io import BytesIO, UnsupportedOperation

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.gathered_data_set import GatheredDataSet

FRAGMENTS = st.lists(st.binary(max_size=50), max_size=20)


@given(FRAGMENTS)
def test_what_was_written_comes_back_in_one_piece(fragments: list[bytes]) -> None:
    gathered, expected = GatheredDataSet(), BytesIO()
    for fragment in fragments:
        assert gathered.write(memoryview(fragment)) == expected.write(fragment)
        assert gathered.tell() == expected.tell()
    assert gathered.getvalue() == expected.getvalue() == b"".join(gathered.fragments)


def test_many_short_fragments_take_little_more_than_they_hold() -> None:
    gathered = GatheredDataSet()
    for _ in range(200_000):
        gathered.write(memoryview(b"x"))
        gathered.write(memoryview(b""))
    assert gathered.tell() == 200_000
    assert len(gathered.fragments) < 5


@pytest.mark.parametrize("name", ["read", "seek", "getbuffer", "readinto"])
def test_nobody_reads_in_it_by_mistake(name: str) -> None:
    gathered = GatheredDataSet()
    gathered.write(b"something")
    with pytest.raises(UnsupportedOperation):
        getattr(gathered, name)(0)


def test_a_fragment_is_kept_though_its_buffer_is_used_again() -> None:
    gathered, buffer = GatheredDataSet(), bytearray(b"first")
    gathered.write(memoryview(buffer))
    buffer[:] = b"later"
    assert gathered.getvalue() == b"first"
