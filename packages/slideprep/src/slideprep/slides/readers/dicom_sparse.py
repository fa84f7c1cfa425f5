"""Frames that a DICOM file of the kind TILED_SPARSE leaves out: bare glass, or tissue that was lost.

In: a slide in OpenSlide, which shows such a frame as background without a word. Out: the same slide, but that it
refuses a box of level 0 that touches a lost frame. A frame is glass where a coarser level that stores the place shows
it bright and even, or where no level of several stores it; else it is lost. A coarser level that leaves out what level
0 stores is taken away, so that no tissue is looked for on it.

Where frames lie is said by ColumnPositionInTotalImagePixelMatrix (0048,021E) and the row's (0048,021F), from 1 on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from slideprep.errors import SlideOpenError, SlideReadError
from slideprep.slides.dicom import UNREADABLE
from slideprep.slides.reader import ClosingSlide, Level, Slide, grid_cells
from slideprep.slides.readers.openslide import open_openslide
from slideprep.units import Pixels

if TYPE_CHECKING:
    from slideprep.slides.files import SlideFile

_POSITIONS = re.compile(
    rb"\x48\x00\x1e\x02(?:SL\x04\x00|\x04\x00\x00\x00)(.{4})"
    rb"\x48\x00\x1f\x02(?:SL\x04\x00|\x04\x00\x00\x00)(.{4})",
    re.DOTALL,
)
"""Column and row of a frame as they stand in a file, with or without a type; pydicom takes 0.1 ms for each."""

_GLASS_LEAST, _GLASS_RANGE = 190, 30
"""Grey levels: glass is at least so bright and varies at most so much."""

_TAGS = ["Columns", "DimensionOrganizationType", "Rows", "TotalPixelMatrixColumns", "TotalPixelMatrixRows"]


@dataclass(frozen=True, kw_only=True)
class FrameGrid:
    """The frames of one level.

    Attributes:
        size: (width, height) of the level, pixels.
        tile: (width, height) of a frame, pixels.
        stored: (rows, columns) bool: the file holds the frame.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    stored: NDArray[np.bool_]


def open_dicom_openslide(file: SlideFile) -> Slide:
    """Open a DICOM slide through OpenSlide, with an eye on frames that are not there.

    Raises:
        SlideOpenError: OpenSlide refuses it, its colours cannot be trusted, or frames lie on each other.
    """
    grids = frame_grids(file)
    slide = open_openslide(file)
    sizes = [(level.width, level.height) for level in slide.levels]
    found = [grids.get(size) for size in sizes]
    if found[0] is None or all(grid is None or grid.stored.all() for grid in found):
        return slide
    return SparseSlide(slide, found)


def frame_grids(file: SlideFile) -> dict[tuple[int, int], FrameGrid]:
    """The frames of each level of the kind TILED_SPARSE, by the level's size; a level may be spread over files.

    Raises:
        SlideOpenError: Two frames lie at one place, or one lies on no grid.
    """
    counts: dict[tuple[int, int], NDArray[np.int_]] = {}
    tiles: dict[tuple[int, int], tuple[int, int]] = {}
    for path in file.files:
        try:
            size, tile, corners = _corners(path)
        except UNREADABLE as error:
            raise SlideOpenError(
                f"slide '{file.name}': {path.name} cannot be read as DICOM ({error}); copy it again from its source"
            ) from error
        if corners is None:
            continue
        columns, rows = -(-size[0] // tile[0]), -(-size[1] // tile[1])
        inside = (corners >= 0).all() and (corners < size).all()
        if not inside or (corners % tile).any() or tiles.setdefault(size, tile) != tile:
            raise SlideOpenError(
                f"slide '{file.name}': the frames of {path.name} lie on no grid of {tile[0]} x {tile[1]} px, so they "
                "cannot be put together; export the slide in the organisation TILED_FULL"
            )
        count = counts.setdefault(size, np.zeros((rows, columns), int))
        np.add.at(count, (corners[:, 1] // tile[1], corners[:, 0] // tile[0]), 1)
        if count.max() > 1:
            raise SlideOpenError(
                f"slide '{file.name}': {path.name} has several frames at one place, as of several focal planes or "
                "optical paths, and nothing says which one is the slide; export one of them alone"
            )
    return {size: FrameGrid(size=size, tile=tiles[size], stored=count > 0) for size, count in counts.items()}


def _corners(path: Path) -> tuple[tuple[int, int], tuple[int, int], NDArray[np.int_] | None]:
    """A file's level size, its frame size, and (frames, 2): where they begin, from 0; None for TILED_FULL."""
    with path.open("rb") as stream:
        tags: Any = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(_TAGS))
        size = int(tags.TotalPixelMatrixColumns), int(tags.TotalPixelMatrixRows)
        tile = int(tags.Columns), int(tags.Rows)
        if tags.get("DimensionOrganizationType") != "TILED_SPARSE":
            return size, tile, None
        end = stream.tell()
        stream.seek(0)
        found = _POSITIONS.findall(stream.read(end))
    raw = b"".join(column + row for column, row in found)
    return size, tile, np.frombuffer(raw, "<i4").reshape(-1, 2).astype(int) - 1


class SparseSlide(ClosingSlide):
    """A slide whose level 0 lacks frames; see :class:`slideprep.slides.reader.Slide`."""

    def __init__(self, slide: Slide, grids: Sequence[FrameGrid | None]) -> None:
        """Take over an opened slide, and the frames of its levels; None for a level that stores all."""
        assert grids[0] is not None, "only a slide that lacks frames is wrapped"
        self._slide = slide
        self._finest = grids[0]
        self._glass: dict[tuple[int, int], bool] = {}
        self.name, self.reader, self.vendor = slide.name, slide.reader, slide.vendor
        self.mpp, self.objective, self.background = slide.mpp, slide.objective, slide.background
        self.warnings, self.scale_doubts = slide.warnings, slide.scale_doubts
        self._grids = list(grids)
        self.levels: tuple[Level, ...] = slide.levels
        missing = int((~self._finest.stored).sum())
        if missing:
            self.warnings.append(
                f"{missing} of {self._finest.stored.size} frames of level 0 are not stored in the file; a region that "
                "touches one of them fails unless a coarser level shows glass there."
            )
        whole = [k for k, grid in enumerate(grids) if k == 0 or grid is None or _covers(grid, self._finest)]
        if len(whole) < len(grids):
            lost = ", ".join(str(k) for k in range(len(grids)) if k not in whole)
            self.warnings.append(
                f"Level {lost} of the file lacks frames that level 0 stores, and is not used."
            )
            self.keep_levels(whole)

    def keep_levels(self, indices: Sequence[int]) -> None:
        """Keep some levels only; see :meth:`slideprep.slides.reader.Slide.keep_levels`."""
        self._slide.keep_levels(indices)
        self.levels = self._slide.levels
        self._grids = [self._grids[index] for index in indices]

    def strips(self, level: int, x: int, y: int, width: int, height: int) -> Iterator[Pixels]:
        """Read a box of a level; see :meth:`slideprep.slides.reader.Slide.strips`."""
        if level == 0:
            self._refuse_lost(x, y, width, height)
        return self._slide.strips(level, x, y, width, height)

    def coarse_strips(self, level: int, reduction: float) -> tuple[int, Iterator[Pixels]]:
        """Strips of the whole level, missing frames in the background's colour."""
        return self._slide.coarse_strips(level, reduction)

    def close(self) -> None:
        """Release the files."""
        self._slide.close()

    def _refuse_lost(self, x: int, y: int, width: int, height: int) -> None:
        tile_width, tile_height = self._finest.tile
        for row, _, _ in grid_cells(y, y + height, tile_height):
            for column, _, _ in grid_cells(x, x + width, tile_width):
                if not self._finest.stored[row, column] and not self._is_glass(column, row):
                    raise SlideReadError(
                        f"slide '{self.name}' level 0: the frame in column {column}, row {row} is not stored in the "
                        "file, and no coarser level shows glass there: tissue may be missing; export the slide again, "
                        "or leave this region out"
                    )

    def _is_glass(self, column: int, row: int) -> bool:
        place = (column, row)
        if place not in self._glass:
            self._glass[place] = self._shown_as_glass(column, row)
        return self._glass[place]

    def _shown_as_glass(self, column: int, row: int) -> bool:
        """What the finest of the coarser levels that stores the place shows; glass where none of several does."""
        left, top = column * self._finest.tile[0], row * self._finest.tile[1]
        for index in range(1, len(self.levels)):
            level, grid = self.levels[index], self._grids[index]
            x, y = int(left / level.downsample_x), int(top / level.downsample_y)
            right = min(level.width, max(x + 1, int((left + self._finest.tile[0]) / level.downsample_x)))
            bottom = min(level.height, max(y + 1, int((top + self._finest.tile[1]) / level.downsample_y)))
            if x >= right or y >= bottom or not _stores(grid, x, y, right, bottom):
                continue
            try:
                seen = np.concatenate(list(self._slide.strips(index, x, y, right - x, bottom - y)))
            except SlideReadError:
                continue
            return bool(seen.min() >= _GLASS_LEAST and np.ptp(seen, axis=(0, 1)).max() <= _GLASS_RANGE)
        return len(self.levels) > 1


def _stores(grid: FrameGrid | None, x: int, y: int, right: int, bottom: int) -> bool:
    """Whether a level stores every frame that a box touches, level pixels, half open."""
    if grid is None:
        return True
    width, height = grid.tile
    return bool(grid.stored[y // height : -(-bottom // height), x // width : -(-right // width)].all())


def _covers(grid: FrameGrid, finest: FrameGrid) -> bool:
    """Whether a coarser level stores the middle of every frame that level 0 stores."""
    rows, columns = np.nonzero(finest.stored)
    middle_x = (
        np.minimum((columns + 0.5) * finest.tile[0], finest.size[0] - 1) * grid.size[0] / finest.size[0]
    )
    middle_y = np.minimum((rows + 0.5) * finest.tile[1], finest.size[1] - 1) * grid.size[1] / finest.size[1]
    return bool(grid.stored[middle_y.astype(int) // grid.tile[1], middle_x.astype(int) // grid.tile[0]].all())
