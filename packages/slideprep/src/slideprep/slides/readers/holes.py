"""Tiles that a TIFF does not store: bare glass that was never scanned, or tissue that was lost.

In: an opened slide, and which tiles its pages lack. Out: the same slide, but that it refuses a box that touches a lost
tile; the readers show such a tile as background. Which are glass, :mod:`slideprep.slides.readers.missing_glass` tells
from the coarser levels; all others are lost. A coarser level with lost tiles is left out, so that no tissue is looked
for on it.

Formats' own rules. Aperio's encoder skips tiles by mistake, and what its coarser levels hold of such a place is not
trusted by OpenSlide either, which paints every level there from level 0: all of them are lost, and no other tile is.
Philips' slides leave out at every level what was not scanned; a place that none of them stores is glass. Leica's and
Ventana's do so too and place tiles by their metadata, so that here they are counted only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slideprep.errors import SlideReadError
from slideprep.slides.reader import ClosingSlide, Level, Slide
from slideprep.slides.readers.missing_glass import not_glass
from slideprep.slides.readers.tiff_check import slide_pages
from slideprep.slides.readers.tiff_facts import PageFacts, TiffFacts
from slideprep.units import Pixels

Corners = tuple[int, int, int, int]
"""(left, top, right, bottom), level pixels, half open."""

_PLACED_BY_METADATA = ("leica", "ventana")


@dataclass(frozen=True, kw_only=True)
class LevelHoles:
    """The tiles that one level does not store.

    Attributes:
        tile: (width, height), level pixels.
        missing: (rows, columns) bool: not stored.
        lost: (rows, columns) bool: not stored, and not known to be glass.
    """

    tile: tuple[int, int]
    missing: NDArray[np.bool_]
    lost: NDArray[np.bool_]


def without_holes(slide: Slide, facts: TiffFacts, vendor: str) -> Slide:
    """The slide itself where it stores every tile or only glass is missing, else one that refuses boxes on lost tiles.

    Args:
        slide: Just opened; it is closed with what is returned. Warnings are added to it.
        facts: Its file's pages.
        vendor: OpenSlide's name of the format.
    """
    pages = slide_pages(facts, vendor)
    count = sum(int(page.missing.sum()) for page in pages if page.missing is not None)
    if not count:
        return slide
    if vendor in _PLACED_BY_METADATA or len(pages) != len(slide.levels):
        slide.warnings.append(f"Tiles that are not stored in the file ({count}) are shown as background.")
        return slide
    holes = _judged(slide, pages, vendor)
    if vendor != "philips" or any(level.lost.any() for level in holes.values()):
        slide.warnings += _sentences(holes)
    return SlideWithHoles(slide, holes) if any(level.lost.any() for level in holes.values()) else slide


def _sentences(holes: dict[int, LevelHoles]) -> Iterator[str]:
    for number, level in holes.items():
        missing, lost = int(level.missing.sum()), int(level.lost.sum())
        stored = f"{missing} of {level.missing.size} tiles of level {number} are not stored in the file"
        if number == 0 and lost:
            yield f"{stored}, and {lost} of them are not known to be glass: a region that touches one of these fails."
        elif number == 0:
            yield f"{stored}; the other levels tell that they are glass, and they are shown as background."
        elif lost:
            yield f"{stored}, and not known to be glass: this level is left out."


def _judged(slide: Slide, pages: Sequence[PageFacts], vendor: str) -> dict[int, LevelHoles]:
    """Of each level that lacks tiles, which of them are lost."""
    found: dict[int, LevelHoles] = {}
    for level, page in enumerate(pages):
        if page.missing is None or page.tile is None:
            continue
        if vendor == "aperio":
            lost = page.missing if level == 0 else np.zeros_like(page.missing)
        else:
            lost = not_glass(slide, pages, level, unstored_is_glass=vendor == "philips")
        found[level] = LevelHoles(tile=page.tile, missing=page.missing, lost=lost)
    return found


def _touches(tiles: NDArray[np.bool_], tile: tuple[int, int], corners: Corners) -> tuple[int, int] | None:
    """(column, row) of the first of some tiles that a box touches."""
    left, top, right, bottom = corners
    first_column, first_row = left // tile[0], top // tile[1]
    part = tiles[first_row : -(-bottom // tile[1]), first_column : -(-right // tile[0])]
    found = np.argwhere(part)
    return (first_column + int(found[0, 1]), first_row + int(found[0, 0])) if len(found) else None


class SlideWithHoles(ClosingSlide):
    """A slide some of whose tiles are lost; see :class:`slideprep.slides.reader.Slide`."""

    def __init__(self, slide: Slide, holes: dict[int, LevelHoles]) -> None:
        """Take over an opened slide, and what its levels lack."""
        self._slide = slide
        self._kept = [
            i for i in range(len(slide.levels)) if i == 0 or i not in holes or not holes[i].lost.any()
        ]
        self._holes = holes.get(0)
        self.name, self.reader, self.vendor = slide.name, slide.reader, slide.vendor
        self.levels = tuple(slide.levels[i] for i in self._kept)
        self.mpp, self.objective, self.background = slide.mpp, slide.objective, slide.background
        self.warnings = slide.warnings
        self.scale_doubts = slide.scale_doubts

    def keep_levels(self, indices: Sequence[int]) -> None:
        """Keep some levels only; see :meth:`slideprep.slides.reader.Slide.keep_levels`."""
        self.levels = tuple(self.levels[index] for index in indices)
        self._kept = [self._kept[index] for index in indices]

    def strips(self, level: int, x: int, y: int, width: int, height: int) -> Iterator[Pixels]:
        """Read a box of a level; see :meth:`slideprep.slides.reader.Slide.strips`."""
        if self._holes is not None and (level == 0 or self.vendor == "aperio"):
            self._refuse_lost(self._holes, self.levels[level], (x, y, x + width, y + height))
        return self._slide.strips(self._kept[level], x, y, width, height)

    def _refuse_lost(self, holes: LevelHoles, level: Level, corners: Corners) -> None:
        left, right = (int(side * level.downsample_x) for side in corners[::2])
        top, bottom = (int(side * level.downsample_y) for side in corners[1::2])
        lost = _touches(holes.lost, holes.tile, (left, top, right, bottom))
        if lost is not None:
            raise SlideReadError(
                f"slide '{self.name}' level 0: the tile in column {lost[0]}, row {lost[1]} is not stored in the file, "
                "and is not known to be glass: tissue may be missing there; export or copy the slide again from its "
                "source, or leave this region out"
            )

    def coarse_strips(self, level: int, reduction: float) -> tuple[int, Iterator[Pixels]]:
        """Strips of the whole level, lost tiles in the background's colour."""
        return self._slide.coarse_strips(self._kept[level], reduction)

    def close(self) -> None:
        """Release the file."""
        self._slide.close()
