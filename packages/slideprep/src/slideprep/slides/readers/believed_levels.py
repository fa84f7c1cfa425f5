"""Which images of a file are levels of its pyramid in truth: those that are level 0 reduced.

Readers take an image for a level because it is tiled, marked as reduced, or of a fitting kind. A macro photograph or
another scene passes for one in that way, and tissue is then looked for on it. So two things are compared here:

- geometry: width and height must be level 0's, both divided by one number and rounded;
- pixels: at a few places the level's pattern must be the one that the next finer level shows there.

What does not agree is no level: it is taken away from the slide, with a warning. A level whose pixels tell nothing
(bare glass, a few pixels in all, damage) keeps its place. What is asked of a slide first makes no difference: this runs
when it is opened, and reads only some tiles of the large levels.

In: an opened slide. Out: the slide with the levels that are believed, and warnings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from slideprep.errors import SlideReadError
from slideprep.slides.readers.level_patterns import (
    PATCH_PX,
    Cells,
    Floats,
    Place,
    contrasting_places,
    reduced_cells,
    same_pattern,
)

if TYPE_CHECKING:
    from slideprep.slides.reader import Level, Slide
    from slideprep.units import Pixels

_ROUNDING_PX = 2.0
"""Level pixels by which a side may miss level 0's, reduced: rounded up or down at every one of several steps."""

_SHIFT_PX = 3
"""Level pixels by which a place may lie off: rounding of sizes, and tiles that a scanner laid side by side."""

_WHOLE_PX = 1_000_000
"""Levels up to this area are read whole, and show where there is something to compare."""

_FINER_PX = 16_000_000
"""Largest area of the finer level that is read for one place: a step of 200 between two levels."""

_LEAST_OTHER = 2
"""So many places at least must differ: one may be a damage that decodes, or a hole."""

_GRID = tuple(((2 * x + 1) / 10, (2 * y + 1) / 10) for y in range(5) for x in range(5))
"""Places to look at where nothing tells where there is a pattern."""

_PHASES = (None, 0.0, 0.5)
"""How a level may be made of the finer one: by means, or of the first or the middle one of every so many pixels."""

_ENOUGH = 4
"""So many places that agree are enough, and two more for each that does not: outlines of tissue are easily alike."""


def keep_believed_levels(slide: Slide) -> None:
    """Take away from a slide what is no level of it, and say so in its warnings."""
    if len(slide.levels) == 1:
        return
    looks = _Looks(slide)
    kept, warnings = [0], []
    for index in range(1, len(slide.levels)):
        reason = geometry_fault(slide.levels[0], slide.levels[index]) or looks.fault(index, kept[-1])
        if reason is None:
            kept.append(index)
        else:
            level = slide.levels[index]
            warnings.append(f"Level {index} of the file ({level.width} x {level.height} px) {reason}.")
    if warnings:
        slide.keep_levels(kept)
        slide.warnings += warnings


def geometry_fault(finest: Level, level: Level) -> str | None:
    """What is wrong with a level's size, or None where it is level 0's, reduced and rounded.

    Args:
        finest: Level 0.
        level: Another level; both in their own pixels.
    """
    sides = ((finest.width, level.width), (finest.height, level.height))
    least = max(side_l0 / (side + _ROUNDING_PX) for side_l0, side in sides)
    most = min(
        side_l0 / (side - _ROUNDING_PX) if side > _ROUNDING_PX else float("inf") for side_l0, side in sides
    )
    if most < 1:
        return "is larger than level 0 and is not used"
    if least <= most:
        return None
    return (
        f"is reduced {level.downsample_x:.3g} times in x but {level.downsample_y:.3g} times in y: it is another "
        "picture, such as a macro photograph, or padded, and is not used"
    )


class _Looks:
    """Looks at a slide's levels; small ones are kept in memory until all are judged."""

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        self._whole: dict[int, Pixels | None] = {}
        self._contrasting: dict[int, list[Place]] = {}

    def fault(self, index: int, finer: int) -> str | None:
        """What is wrong with a level's pixels, or None.

        Args:
            index: The level in question.
            finer: The coarsest level before it that is believed.
        """
        level = self._slide.levels[index]
        if min(level.width, level.height) < PATCH_PX + 2 * _SHIFT_PX:
            return None  # too few pixels to show a pattern
        same = other = 0
        for place in self._places(index):
            verdict = self._agrees(index, finer, place)
            same += verdict is True
            other += verdict is False
            if not -2 * _ENOUGH < same - 2 * other < _ENOUGH:
                break
        if 2 * other <= same or other < _LEAST_OTHER:
            return None
        return (
            f"does not show what the finer levels show, at {other} of the {same + other} places compared: it is "
            "another picture, such as a macro photograph, or covers another area, and is not used"
        )

    def _places(self, index: int) -> Iterator[Place]:
        """Where to compare: where the level has a pattern, as far as a look at a small level tells; then a grid."""
        small = (i for i, level in enumerate(self._slide.levels) if level.width * level.height <= _WHOLE_PX)
        guide = index if self._read_whole(index) is not None else next(small, index)
        picture = self._read_whole(guide)
        if guide not in self._contrasting:
            self._contrasting[guide] = [] if picture is None else contrasting_places(picture)
        yield from self._contrasting[guide]
        yield from _GRID

    def _agrees(self, index: int, finer: int, place: Place) -> bool | None:
        """Whether both levels show the same at a place; None where it tells nothing."""
        level, ground = self._slide.levels[index], self._slide.levels[finer]
        left = _first(place[0], level.width)
        top = _first(place[1], level.height)
        pitch_x, pitch_y = ground.width / level.width, ground.height / level.height
        side = PATCH_PX + 2 * _SHIFT_PX
        if side * side * pitch_x * pitch_y > _FINER_PX:
            return None
        try:
            patch = np.concatenate(list(self._strips(index, left, top, PATCH_PX, PATCH_PX)))
            for phase in _PHASES:
                down = reduced_cells((top - _SHIFT_PX) * pitch_y, pitch_y, side, ground.height, phase)
                across = reduced_cells((left - _SHIFT_PX) * pitch_x, pitch_x, side, ground.width, phase)
                verdict = same_pattern(patch.astype(np.float32), self._reduced(finer, down, across))
                if verdict is not False:
                    break
        except SlideReadError:
            return None  # damage is told of where it is read for good
        return verdict

    def _reduced(self, index: int, down: Cells, across: Cells) -> Floats:
        """A box of a level, made smaller: (cells down, cells across, 3)."""
        total = np.zeros((len(down.weights), len(across.weights), 3), np.float32)
        row = 0
        for strip in self._strips(
            index, across.first, down.first, across.weights.shape[1], down.weights.shape[1]
        ):
            rows = down.weights[:, row : row + len(strip)]
            for channel in range(3):
                total[..., channel] += rows @ strip[..., channel].astype(np.float32) @ across.weights.T
            row += len(strip)
        return total

    def _strips(self, index: int, x: int, y: int, width: int, height: int) -> Iterator[Pixels]:
        whole = self._read_whole(index)
        if whole is None:
            return self._slide.strips(index, x, y, width, height)
        return iter([whole[y : y + height, x : x + width]])

    def _read_whole(self, index: int) -> Pixels | None:
        """A level as (height, width, 3), or None where it is large or damaged."""
        level = self._slide.levels[index]
        if level.width * level.height > _WHOLE_PX:
            return None
        if index not in self._whole:
            try:
                strips = list(self._slide.strips(index, 0, 0, level.width, level.height))
                self._whole[index] = np.concatenate(strips)
            except SlideReadError:
                self._whole[index] = None
        return self._whole[index]


def _first(middle: float, size: int) -> int:
    """First pixel of a place on a side of ``size`` pixels, so that it lies inside with what may shift."""
    return min(size - PATCH_PX - _SHIFT_PX, max(_SHIFT_PX, round(middle * size) - PATCH_PX // 2))
