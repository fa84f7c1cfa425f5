"""Boxes, always with their frame said.

Every box is half-open: it covers ``x <= column < x + width``. Level-0 pixels are the pixels of the slide's
full-resolution image, origin at its top left corner, y downwards.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, order=True)
class Box:
    """A half-open rectangle of whole level-0 pixels; (x, y) is its top left corner."""

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        assert self.width > 0 and self.height > 0, f"an empty box: {self}"

    @property
    def right(self) -> int:
        """First column to the right of the box."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row below the box."""
        return self.y + self.height

    @property
    def area_px(self) -> int:
        """Area in level-0 pixels."""
        return self.width * self.height

    def intersection(self, other: Box) -> Box | None:
        """The common part of two boxes, or None where they do not touch."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        if right <= x or bottom <= y:
            return None
        return Box(x=x, y=y, width=right - x, height=bottom - y)
