"""A TIFF whose tiles are decoded one by one, strictly: what the readers of JPEG and of JPEG 2000 tiles share.

In: where the tiles lie (:class:`~slideprep.slides.readers.tiff_pages.TiledPage`) and what the slide says of itself.
Out: strips of RGB pixels, a strip per row of tiles, each tile read by ``os.pread`` and decoded once. How a tile's bytes
become pixels is the subclass's part. A tile that is damaged, cut off or unreadable fails the box that was asked for, by
its place.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from slideprep.errors import SlideReadError
from slideprep.slides.reader import ClosingSlide, grid_cells, levels_from_sizes
from slideprep.slides.readers.tiff_pages import TiledPage
from slideprep.units import Pixels

if TYPE_CHECKING:
    from slideprep.slides.files import SlideFile
    from slideprep.slides.readers.openslide import Metadata

_LEAST_COARSE_PX = 64
"""A level is reduced while decoding only to at least this size, so that the partial row or column left out at its
end is a small part of it."""

_REMEDY = "copy the slide again from its source, or leave this region out"


class TiledSlide(ClosingSlide):
    """A slide whose tiles are read directly; see :class:`slideprep.slides.reader.Slide`.

    ``pages`` has one :class:`TiledPage` per level. ``reductions`` are those that the decoder makes while decoding,
    largest first; each is the mean of a block.
    """

    reader: str
    reductions: tuple[int, ...] = ()

    def __init__(
        self, *, file: SlideFile, metadata: Metadata, pages: list[TiledPage], sizes: list[tuple[int, int]]
    ) -> None:
        """Open the pages' files; ``sizes`` are the levels' (width, height)."""
        self.name = file.name
        self.vendor = metadata.vendor
        self.levels = levels_from_sizes(sizes)
        self.mpp = metadata.mpp
        self.objective = metadata.objective
        self.background = metadata.background
        self.warnings = list(metadata.warnings)
        self.scale_doubts = metadata.scale_doubts
        self.pages = pages
        self._descriptors = {path: os.open(path, os.O_RDONLY) for path in {page.path for page in pages}}

    def keep_levels(self, indices: Sequence[int]) -> None:
        """Keep some levels only; see :meth:`slideprep.slides.reader.Slide.keep_levels`."""
        self.levels = tuple(self.levels[index] for index in indices)
        self.pages = [self.pages[index] for index in indices]

    @abstractmethod
    def decode(self, page: TiledPage, data: bytes, step: int, *, strict: bool) -> Pixels:
        """Decode a tile's bytes, reduced ``step`` times: (tile height / step, tile width / step, 3) uint8.

        Raises:
            ValueError: They cannot be decoded, or the size is wrong; where ``strict``, also any complaint.
        """

    def strips(self, level: int, x: int, y: int, width: int, height: int) -> Iterator[Pixels]:
        """Read a box of a level, a strip per row of tiles; see :meth:`slideprep.slides.reader.Slide.strips`."""
        size, page = self.levels[level], self.pages[level]
        assert 0 <= x < x + width <= size.width, f"columns {x}+{width} outside level {level} of {size.width}"
        assert 0 <= y < y + height <= size.height, f"rows {y}+{height} outside level {level} of {size.height}"

        def decode(column: int, row: int) -> Pixels:
            return self.tile(level, column, row)

        return _compose((x, y, width, height), (page.tile_width, page.tile_height), decode)

    def coarse_strips(self, level: int, reduction: float) -> tuple[int, Iterator[Pixels]]:
        """Strips of the whole level, reduced while decoding; a damaged tile is shown as far as it decodes."""
        size, page = self.levels[level], self.pages[level]
        # half the reduction at most, so that every overview pixel still averages several reduced ones
        fitting = (
            s for s in self.reductions if 2 * s <= reduction and _divides(s, page, size.width, size.height)
        )
        step = next(fitting, 1)
        box = (0, 0, size.width // step, size.height // step)

        def decode(column: int, row: int) -> Pixels:
            return self._coarse_tile(level, column, row, step)

        return step, _compose(box, (page.tile_width // step, page.tile_height // step), decode)

    def tile(self, level: int, column: int, row: int, step: int = 1) -> Pixels:
        """Decode one tile strictly: (tile height / step, tile width / step, 3) uint8.

        Raises:
            SlideReadError: The tile is damaged or lies beyond the end of the file.
        """
        page = self.pages[level]
        data = self._tile_bytes(level, column, row)
        if not data:
            return self._blank(page, step)
        try:
            return self.decode(page, data, step, strict=True)
        except ValueError as error:
            raise SlideReadError(
                self._place(level, column, row) + f" is damaged: {error}; {_REMEDY}"
            ) from error

    def _coarse_tile(self, level: int, column: int, row: int, step: int) -> Pixels:
        try:
            return self.tile(level, column, row, step)
        except SlideReadError as refusal:
            warning = f"Overview only: {refusal}"
            if warning not in self.warnings:
                self.warnings.append(warning)
        try:
            return self.decode(self.pages[level], self._tile_bytes(level, column, row), step, strict=False)
        except (ValueError, SlideReadError):
            return self._blank(self.pages[level], step)

    def _tile_bytes(self, level: int, column: int, row: int) -> bytes:
        page = self.pages[level]
        index = row * page.columns + column
        count, offset = int(page.byte_counts[index]), int(page.offsets[index])
        if count == 0:
            return b""
        assert self._descriptors, "the slide is closed"
        try:
            data = os.pread(self._descriptors[page.path], count, offset)
        except OSError as error:
            reason = f" cannot be read from disk: {error.strerror}; check the disk or the network share"
            raise SlideReadError(self._place(level, column, row) + reason) from error
        if len(data) < count:
            reason = f" lies beyond the end of the file ({count} bytes asked, {len(data)} there): it is truncated; "
            raise SlideReadError(self._place(level, column, row) + reason + _REMEDY)
        return data

    def _place(self, level: int, column: int, row: int) -> str:
        page = self.pages[level]
        offset = int(page.offsets[row * page.columns + column])
        return f"slide '{self.name}' level {level}: the tile in column {column}, row {row} (byte offset {offset})"

    def _blank(self, page: TiledPage, step: int) -> Pixels:
        shape = (page.tile_height // step, page.tile_width // step, 3)
        return np.broadcast_to(np.array(self.background, np.uint8), shape)

    def close(self) -> None:
        """Release the file."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors = {}


def _divides(step: int, page: TiledPage, width: int, height: int) -> bool:
    return (
        page.tile_width % step == 0
        and page.tile_height % step == 0
        and min(width, height) >= _LEAST_COARSE_PX * step
    )


def _compose(
    box: tuple[int, int, int, int], tile: tuple[int, int], decode: Callable[[int, int], Pixels]
) -> Iterator[Pixels]:
    """Lay tiles side by side into strips of the box (x, y, width, height), each tile decoded once."""
    x, y, width, height = box
    tile_width, tile_height = tile
    for row, top, bottom in grid_cells(y, y + height, tile_height):
        rows = slice(top - row * tile_height, bottom - row * tile_height)
        strip = np.empty((bottom - top, width, 3), np.uint8)
        for column, left, right in grid_cells(x, x + width, tile_width):
            columns = slice(left - column * tile_width, right - column * tile_width)
            strip[:, left - x : right - x] = decode(column, row)[rows, columns]
        yield strip
        del strip  # its memory can serve the next one
