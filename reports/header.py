"""Reading single attributes of a photograph's header that may be damaged."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR, STR_VR

from reports.character_set import character_set_for, declared_character_set, without_escapes

_LARGEST: Final = 2**31 - 1  # of VR IS (PS3.5 section 6.2)


def readable(header: Dataset, keyword: str) -> Any:  # noqa: ANN401 - the type depends on the attribute
    """Return the attribute's value, None where it is absent, empty or cannot be read.

    A weight of "abc" must not cost a patient the report.
    """
    try:
        value = header.get(keyword)
    except Exception:
        # A damaged value can raise nearly anything in a parser.
        return None
    return None if value in ("", b"") else value


def copied(header: Dataset, keyword: str) -> DataElement | None:
    """Return a copy of the attribute that a result can carry, None where it is absent, empty or damaged.

    It is of the dictionary's VR: a text may come as another text, anything else must be of that VR already.
    What pydicom hands out as it found it, and refuses to write, would cost the whole study its report.
    """
    try:
        if not header.get(keyword):
            return None
        element, vr = header[keyword], dictionary_VR(keyword)
        if vr != element.VR and not {element.VR, vr} <= STR_VR:
            return None
        alone = Dataset()
        setattr(alone, keyword, deepcopy(element.value))
        for nested in alone.iterall():  # decodes its text while the photograph's own character set applies
            _drop_escapes(nested)
        found = alone[keyword]
        alone.SpecificCharacterSet = character_set_for(alone, declared_character_set(header)) or None
        write_dataset(_explicit(), alone)
    except Exception:
        return None
    return found


def _drop_escapes(element: DataElement) -> None:
    if element.VR not in CUSTOMIZABLE_CHARSET_VR or not element.value:
        return
    several = isinstance(element.value, MultiValue)
    texts = [str(text) for text in (element.value if several else [element.value])]
    cleaned = [without_escapes(text) for text in texts]
    if cleaned != texts:
        element.value = cleaned if several else cleaned[0]


def trimmed(header: Dataset, keyword: str) -> str:
    """Return an identifier as it is compared: the spaces around it say nothing (PS3.5 section 6.2, LO).

    The archive may pad as it likes.
    """
    return without_escapes(str(header.get(keyword) or "")).strip(" \0")


def text_of(header: Dataset, keyword: str) -> str:
    """Return the attribute's value for people to read, '' where it is absent, empty or damaged."""
    found = copied(header, keyword)
    return str(found.value) if found is not None else ""


def whole_number(header: Dataset, keyword: str, default: int) -> int:
    """Return the attribute's value as a whole number from 0 to 2**31 - 1, or `default`."""
    value = readable(header, keyword)
    try:
        number = max(0, int(value)) if value is not None else default
    except (ValueError, TypeError, ArithmeticError):
        return default
    return number if number <= _LARGEST else default


def _explicit() -> DicomBytesIO:
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    return file
