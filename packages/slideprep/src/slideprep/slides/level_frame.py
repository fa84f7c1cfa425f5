"""How a level of a slide's pyramid lies on level 0, and which level is fine enough for an image.

Images of a shard set come from level 0 alone. A coarser level is faster to read, and its pixels went through the
scanner's own reduction and one more JPEG: what that changes has to be measured (:mod:`slideprep.regions.fast`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slideprep.slides.reader import Level


@dataclass(frozen=True, kw_only=True)
class LevelFrame:
    """Where a level's pixels lie.

    Attributes:
        index: Number of the level.
        downsample_x: Level-0 pixels per level pixel.
        downsample_y: Level-0 pixels per level pixel.
    """

    index: int
    downsample_x: Fraction
    downsample_y: Fraction

    @property
    def coarsest(self) -> Fraction:
        """Level-0 pixels per level pixel along the side where they are more."""
        return max(self.downsample_x, self.downsample_y)

    def factor(self, factor_l0: Fraction) -> Fraction:
        """Level pixels per image pixel; the two sides' downsamples differ by a pixel over the whole slide at most."""
        return 2 * factor_l0 / (self.downsample_x + self.downsample_y)


LEVEL_0 = LevelFrame(index=0, downsample_x=Fraction(1), downsample_y=Fraction(1))
"""Level 0 itself."""


def coarsest_frame(levels: Sequence[Level], factor: Fraction) -> LevelFrame:
    """The coarsest level that an image can be made of without enlarging anything.

    Args:
        levels: Levels of a slide, level 0 first.
        factor: Level-0 pixels per image pixel.

    Returns:
        Level 0 where no other level is fine enough.
    """
    frames = (
        _frame(levels, index) for index in range(1, len(levels)) if _shows_all(levels[0], levels[index])
    )
    fine_enough = [frame for frame in frames if frame.coarsest <= factor]
    return max(fine_enough, key=lambda frame: frame.coarsest, default=LEVEL_0)


def _frame(levels: Sequence[Level], index: int) -> LevelFrame:
    finest, level = levels[0], levels[index]
    whole = _whole_downsample(((finest.width, level.width), (finest.height, level.height)))
    return LevelFrame(
        index=index,
        downsample_x=Fraction(finest.width, level.width) if whole is None else Fraction(whole),
        downsample_y=Fraction(finest.height, level.height) if whole is None else Fraction(whole),
    )


def _shows_all(finest: Level, level: Level) -> bool:
    """Whether both sides are reduced alike, to within a pixel; else the level is cut off, or another picture."""
    sides = ((finest.width, level.width), (finest.height, level.height))
    least = max(Fraction(side_l0, side + 1) for side_l0, side in sides)
    return all(side == 1 or least <= Fraction(side_l0, side - 1) for side_l0, side in sides)


def _whole_downsample(sides: Sequence[tuple[int, int]]) -> int | None:
    """The whole number that a slide was reduced by, where it explains both sides of a level to within rounding.

    Sizes of small levels fit several; then it is a power of two, as scanners make them, or else the smallest. Where a
    program stretched the slide to the rounded size instead, which no file tells, its far edge lies off by less than one
    pixel of that level.

    Args:
        sides: (level-0 pixels, level pixels) of width and height.
    """
    low = max(side_l0 // (side + 1) + 1 for side_l0, side in sides)
    high = min(ceil(Fraction(side_l0, side - 1)) - 1 if side > 1 else side_l0 for side_l0, side in sides)
    power = 1 << (low - 1).bit_length()
    if power <= high:
        return power
    return low if low <= high else None
