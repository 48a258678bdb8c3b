"""A photograph's data set as it comes in: its fragments, put together once, when all are there."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any


class GatheredDataSet(BytesIO):
    """What pynetdicom writes a data set into and asks for it whole; nobody reads in it on the way.

    A BytesIO that grows to a photograph's size touches new memory all the way, and whoever puts a header
    before it copies it once more.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        super().__init__()
        self._fragments: list[bytes] = []
        self._size = 0

    @property
    def fragments(self) -> Sequence[bytes]:
        """What was written, in order."""
        return self._fragments

    def write(self, data: Any, /) -> int:  # noqa: ANN401 -- any buffer
        """Append `data` and return its length."""
        fragment = bytes(data)
        self._fragments.append(fragment)
        self._size += len(fragment)
        return len(fragment)

    def tell(self) -> int:
        """Return the length of what was written."""
        return self._size

    def getvalue(self) -> bytes:
        """Return what was written, in one piece."""
        return b"".join(self._fragments)
