"""Reading single attributes of a photograph's header that may be damaged."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset


def readable(header: Dataset, keyword: str) -> Any:  # noqa: ANN401 - the type depends on the attribute
    """Return the attribute's value, None where it is absent, empty or cannot be read.

    A weight of "abc" must not cost a patient the report.
    """
    try:
        value = header.get(keyword)
    except (ValueError, TypeError, ArithmeticError, NotImplementedError):
        return None
    return None if value in ("", b"") else value


def whole_number(header: Dataset, keyword: str, default: int) -> int:
    """Return the attribute's value as a whole number of at least 0, or `default`."""
    value = readable(header, keyword)
    try:
        return max(0, int(value)) if value is not None else default
    except (ValueError, TypeError, ArithmeticError):
        return default
