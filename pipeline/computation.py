"""On what a score was computed, and what may go wrong with it; no torch here, so everybody may import it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class DeviceFault(StrEnum):
    """What went wrong with the device that the settings ask for. The value is stored; never rename one."""

    OUT_OF_MEMORY = "out_of_memory"
    LOST = "lost"
    UNUSABLE = "unusable"


FaultAnswer = Literal["smaller_batch", "cpu", "handed_back"]
"""What follows a fault."""


class DeviceFaultError(RuntimeError):
    """The device failed; what was asked of it may go well elsewhere."""

    def __init__(self, fault: DeviceFault) -> None:
        """Take which fault it is; there is no other text."""
        super().__init__(fault.value)
        self.fault = fault

    def __reduce__(self) -> tuple[type[DeviceFaultError], tuple[DeviceFault]]:
        """Let it cross from one process to another."""
        return DeviceFaultError, (self.fault,)


@dataclass(frozen=True, slots=True)
class Computation:
    """What does not belong to the setup, for it hardly moves a score (docs/performance.md).

    device: "cpu" or a GPU's name. batch: for how many photographs at once the normalization was computed,
    those included that only fill it up. fault: why that is not the device, or the batch, that the settings
    ask for.
    """

    device: str
    batch: int = 1
    fault: DeviceFault | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a batch of nothing."""
        if self.batch < 1:
            raise ValueError(f"a batch of {self.batch}; it must hold a photograph")

    @staticmethod
    def from_dict(values: dict[str, object]) -> Computation:
        """Rebuild what `dataclasses.asdict` returned."""
        fault = values.get("fault")
        return Computation(
            str(values["device"]), int(str(values["batch"])), DeviceFault(str(fault)) if fault else None
        )
