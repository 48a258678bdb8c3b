"""How a stage of the pipeline says that a photograph cannot be scored."""

from __future__ import annotations

from pipeline.result import Rejection


class UnscorablePhotographError(Exception):
    """Carries the recorded rejection; the message is the reason only and never holds patient data."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.reason.value)
        self.rejection = rejection
