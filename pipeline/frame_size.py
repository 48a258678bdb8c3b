"""Which sizes of photograph are worth decoding."""

from __future__ import annotations

from pipeline.rejection import UnscorablePhotographError
from pipeline.result import Rejection, RejectionReason

MINIMUM_SIDE = 256
"""Pixels of the shorter side; the method needs as many for the face alone."""

MAXIMUM_PIXELS = 80_000_000
"""Rows times columns; more than clinical cameras deliver, little enough to fit the memory."""


def check_frame_size(rows: int, columns: int) -> None:
    """Raise UnscorablePhotographError for a frame that is too small to hold a face, or absurdly large."""
    if rows < 1 or columns < 1 or rows * columns > MAXIMUM_PIXELS:
        raise UnscorablePhotographError(
            Rejection(
                RejectionReason.UNREADABLE_PIXELS,
                f"The photograph states {columns} x {rows} pixels; at most {MAXIMUM_PIXELS // 1_000_000} "
                "megapixels are read. Send a smaller version.",
                rows,
                columns,
            )
        )
    if min(rows, columns) < MINIMUM_SIDE:
        raise UnscorablePhotographError(
            Rejection(
                RejectionReason.FACE_TOO_SMALL,
                f"The photograph has {columns} x {rows} pixels; the face alone needs {MINIMUM_SIDE} on its "
                "shorter side. Send the full-size photograph.",
                rows,
                columns,
            )
        )
