"""A photograph's data set as it comes in: its fragments, put together once, when all are there."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO, UnsupportedOperation
from typing import Any, Final, NoReturn

_SHORT_BYTES: Final = 64 * 1024
"""A shorter fragment is put together with the next: thousands of them would take more than they hold."""


class GatheredDataSet(BytesIO):
    """What pynetdicom writes a data set into and asks for it whole; nobody reads in it on the way.

    A BytesIO that grows to a photograph's size touches new memory all the way, and whoever puts a header
    before it copies it once more.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        super().__init__()
        self._fragments: list[bytearray] = []
        self._size = 0

    @property
    def fragments(self) -> Sequence[bytearray]:
        """What was written, in order."""
        return self._fragments

    def write(self, data: Any, /) -> int:  # noqa: ANN401 -- any buffer
        """Append `data` and return its length."""
        if self._fragments and len(self._fragments[-1]) < _SHORT_BYTES:
            self._fragments[-1] += data
        else:
            self._fragments.append(bytearray(data))
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        """Return the length of what was written."""
        return self._size

    def getvalue(self) -> bytes:
        """Return what was written, in one piece."""
        return b"".join(self._fragments)

    def _refuse(self, *_arguments: object) -> NoReturn:
        raise UnsupportedOperation("a gathered data set is written, and taken whole")

    read = read1 = readinto = readline = readlines = seek = truncate = getbuffer = _refuse
