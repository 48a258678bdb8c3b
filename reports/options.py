"""Which objects leave the node, and of which SOP classes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    SecondaryCaptureImageStorage,
    VLPhotographicImageStorage,
)


class ReportClass(StrEnum):
    """The SOP class of the report (PS3.3 A.35.13, A.35.3, A.35.2)."""

    COMPREHENSIVE_3D = "comprehensive3d"
    COMPREHENSIVE = "comprehensive"
    ENHANCED = "enhanced"


class ImageClass(StrEnum):
    """The SOP class of the normalized photographs (PS3.3 A.8.1, A.32.4)."""

    SECONDARY_CAPTURE = "sc"
    VL_PHOTOGRAPHIC = "vl"


class ResultObject(StrEnum):
    """What may go out beside the report, which always does."""

    NORMALIZED = "normalized"
    IN_PLACE = "in_place"
    COMPARISON = "comparison"
    TREND = "trend"
    PDF = "pdf"


_REPORT_UIDS: Final = {
    ReportClass.COMPREHENSIVE_3D: Comprehensive3DSRStorage,
    ReportClass.COMPREHENSIVE: ComprehensiveSRStorage,
    ReportClass.ENHANCED: EnhancedSRStorage,
}
_IMAGE_UIDS: Final = {
    ImageClass.SECONDARY_CAPTURE: SecondaryCaptureImageStorage,
    ImageClass.VL_PHOTOGRAPHIC: VLPhotographicImageStorage,
}
REPORT_SOP_CLASSES: Final = frozenset(_REPORT_UIDS.values())


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """The `[reports]` section.

    compatible: stay within what Weasis reads: a Comprehensive 3D SR becomes a Comprehensive SR. objects:
    what is made and sent beside the report.
    """

    sr: ReportClass = ReportClass.COMPREHENSIVE_3D
    image: ImageClass = ImageClass.SECONDARY_CAPTURE
    compatible: bool = False
    objects: frozenset[ResultObject] = frozenset(ResultObject)

    @property
    def report_sop_class(self) -> UID:
        """The report's SOP class."""
        if self.compatible and self.sr is ReportClass.COMPREHENSIVE_3D:
            return _REPORT_UIDS[ReportClass.COMPREHENSIVE]
        return _REPORT_UIDS[self.sr]

    @property
    def image_sop_class(self) -> UID:
        """The SOP class of the normalized photographs."""
        return _IMAGE_UIDS[self.image]

    def sends(self, wanted: ResultObject) -> bool:
        """Whether this object is made and sent."""
        return wanted in self.objects
