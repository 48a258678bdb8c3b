"""A rectangle of a picture: only the masked face needs to be drawn and compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """Rows top to bottom and columns left to right (ends excluded) of a square picture of `side` pixels."""

    side: int
    top: int
    bottom: int
    left: int
    right: int

    def __post_init__(self) -> None:
        """Raise ValueError for a rectangle that is empty or leaves the picture."""
        if not (0 <= self.top < self.bottom <= self.side and 0 <= self.left < self.right <= self.side):
            raise ValueError(f"{self} is no part of a picture of {self.side} pixels")

    @staticmethod
    def whole(side: int) -> Window:
        """Return the window that is the whole picture."""
        return Window(side, 0, side, 0, side)

    @property
    def rows(self) -> slice:
        """Return the rows."""
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        """Return the columns."""
        return slice(self.left, self.right)

    def halved(self, halo: int) -> Window:
        """Return the part of a picture of half the side that gives this window and `halo` pixels around."""
        half = self.side // 2
        return Window(
            half,
            max(0, (self.top - halo) // 2),
            min(half, (self.bottom + halo + 1) // 2),
            max(0, (self.left - halo) // 2),
            min(half, (self.right + halo + 1) // 2),
        )

    def scaled(self, times: int) -> Window:
        """Return the same part of a picture that is `times` as large."""
        return Window(*(times * n for n in (self.side, self.top, self.bottom, self.left, self.right)))

    def inside(self, outer: Window) -> tuple[slice, slice]:
        """Return where this window's rows and columns are within those of `outer`, which contains it."""
        return (
            slice(self.top - outer.top, self.bottom - outer.top),
            slice(self.left - outer.left, self.right - outer.left),
        )
