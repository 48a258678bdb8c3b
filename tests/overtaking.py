"""Something that happens at a chosen moment of a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from storage.instances import InstanceStore, StoredFile


@dataclass
class Once:
    """Calls a function the first time that it is called itself."""

    function: Callable[[], object]
    called: bool = field(default=False, init=False)

    def __call__(self) -> None:
        if not self.called:
            self.called = True
            self.function()


class OvertakenStore(InstanceStore):
    """A store whose user is overtaken when it writes an object of a kind."""

    def __init__(self, folder: Path, kind: str, overtake: Callable[[], None]) -> None:
        super().__init__(folder)
        self._kind, self._overtake = kind, overtake

    def write(self, kind: str, sop_instance_uid: str, data: bytes) -> StoredFile:
        if kind == self._kind:
            self._overtake()
        return super().write(kind, sop_instance_uid, data)
