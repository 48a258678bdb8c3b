"""The character set of a result: the photograph's own, or UTF-8 where that one cannot hold the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pydicom.charset import python_encoding
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR

UTF_8: Final = "ISO_IR 192"
# These stand alone, without code extensions (PS3.3 C.12.1.1.2).
_STANDALONE: Final = frozenset({UTF_8, "GB18030", "GBK"})
# ASCII; pydicom reads it more generously.
_DEFAULT_REPERTOIRE: Final = frozenset({"", "ISO_IR 6", "ISO 2022 IR 6"})
# pydicom writes Chinese of this set without the escape sequence before it.
_READ_ONLY: Final = frozenset({"ISO 2022 IR 58"})
_GB_2312: Final = "\x1b$)A"
# Python's codecs hold more than the sets that they stand for: how a character of the set itself begins.
_OF_THE_SET: Final = {
    "shift_jis": tuple(bytes([kana]) for kana in range(0xA1, 0xE0)),  # JIS X 0201
    "iso2022_jp": (b"\x1b$B",),  # JIS X 0208
    "iso2022_jp_2": (b"\x1b$(D",),  # JIS X 0212
}


def character_set_for(dataset: Dataset, declared: Sequence[str]) -> list[str]:
    """Return Specific Character Set for the decoded text of `dataset` (PS3.3 C.12.1.1.2).

    declared: the values that the photograph declares. Where it declares none, neither do we: the bytes
    then go out as they came in. Sets that pydicom does not know, or that lack a character, become UTF-8.
    """
    if not any(declared):
        return []
    known = all(term == "" or term in python_encoding for term in declared)
    alone = len(declared) == 1 or not _STANDALONE.intersection(declared)
    if not (known and alone):
        return [UTF_8]
    encodings = [
        "ascii" if term in _DEFAULT_REPERTOIRE else python_encoding[term]
        for term in declared
        if term not in _READ_ONLY
    ]
    # Where ASCII comes first, pydicom writes the letters of Latin-1 as such, without saying so.
    unsaid = declared[0] in _DEFAULT_REPERTOIRE
    if all(_fits(text, encodings) and not (unsaid and _has_latin_1(text)) for text in _texts(dataset)):
        return list(declared)
    return [UTF_8]


def declared_character_set(dataset: Dataset) -> list[str]:
    """Return the values of Specific Character Set, empty where there is none."""
    value = dataset.get("SpecificCharacterSet")
    if value is None:
        return []
    return [str(term) for term in value] if isinstance(value, (MultiValue, list)) else [str(value)]


def without_escapes(text: str) -> str:
    """Return what was read without what pydicom leaves of ISO 2022 IR 58: no text holds an escape."""
    return text.replace(_GB_2312, "")


def is_ascii(dataset: Dataset) -> bool:
    """Whether all text of `dataset` is, so that it may be declared in any set."""
    return all(text.isascii() for text in _texts(dataset))


def _texts(dataset: Dataset) -> Iterator[str]:
    for element in dataset.iterall():
        if element.VR in CUSTOMIZABLE_CHARSET_VR and element.value is not None:
            yield str(element.value)


def _fits(text: str, encodings: Sequence[str]) -> bool:
    """Whether each character has a place in one of the sets: an escape sequence may stand between any two."""
    return text.isascii() or all(
        any(_encodes(character, name) for name in encodings) for character in set(text)
    )


def _has_latin_1(text: str) -> bool:
    return any("\x80" <= character <= "\xff" for character in text)


def _encodes(character: str, encoding: str) -> bool:
    try:
        encoded = character.encode(encoding)
    except UnicodeError:
        return False
    return character.isascii() or encoded.startswith(_OF_THE_SET.get(encoding, b""))
