"""Who made an object: the equipment attributes that mark everything that leaves the node (PS3.3 C.7.5.1)."""

from __future__ import annotations

import uuid
from importlib.metadata import version
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import UID

MANUFACTURER: Final = "facenorm"
MANUFACTURER_MODEL_NAME: Final = "facenorm"
SOFTWARE_VERSION: Final = version("facenorm")
# One UID for the software as an observing device (TID 1004), and one for the implementation (PS3.7 D.3.3.2).
DEVICE_OBSERVER_UID: Final = UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_DNS, 'facenorm device observer').int}")
IMPLEMENTATION_CLASS_UID: Final = UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_DNS, 'facenorm implementation').int}")
IMPLEMENTATION_VERSION_NAME: Final = f"FACENORM_{SOFTWARE_VERSION}"[:16]


def add_equipment(target: Dataset) -> None:
    """Write the General Equipment module into `target` (PS3.3 C.7.5.1)."""
    target.Manufacturer = MANUFACTURER
    target.ManufacturerModelName = MANUFACTURER_MODEL_NAME
    target.SoftwareVersions = SOFTWARE_VERSION


def is_ours(dataset: Dataset) -> bool:
    """Whether `dataset` was made by this software, whatever node it comes back from."""
    return (
        str(dataset.get("Manufacturer") or "").strip() == MANUFACTURER
        and str(dataset.get("ManufacturerModelName") or "").strip() == MANUFACTURER_MODEL_NAME
    )
