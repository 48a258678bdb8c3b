"""A person's name as people read it (PS3.5 6.2.1)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from reports.header import copied


def readable_names(source: Dataset) -> list[str]:
    """Return the patient's name once per group that it has: alphabetic, ideographic, phonetic.

    In the alphabetic group the family name comes last, after prefix, given and middle names; the others keep
    their order. Empty where there is no name.
    """
    found = copied(source, "PatientName")
    if found is None:
        return []
    name = found.value if isinstance(found.value, PersonName) else PersonName(str(found.value))
    groups = [str(name.alphabetic), str(name.ideographic), str(name.phonetic)]
    ordered = [_western(groups[0]), *(" ".join(group.replace("^", " ").split()) for group in groups[1:])]
    return [text for text in ordered if text]


def _western(group: str) -> str:
    family, given, middle, prefix, suffix, *_ = [*group.split("^"), "", "", "", "", ""]
    return " ".join(" ".join((prefix, given, middle, family, suffix)).split())
