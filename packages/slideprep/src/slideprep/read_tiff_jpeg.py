"""Read JPEG tiles of TIFF and Aperio SVS files directly, and refuse damaged ones: the fast, strict path.

tifffile gives the tiles' offsets and the shared JPEG tables, ``os.pread`` their bytes, simplejpeg (libjpeg-turbo) the
pixels, with every decoder warning turned into an error. Other decoders fill a damaged tile with grey and say nothing.

Which pages are levels, and what the slide says of itself, is OpenSlide's judgement: the pages found here must be
OpenSlide's levels in number and size, and the best-filled tile of each must decode to OpenSlide's pixels. Where that
fails, or the layout is unusual, :func:`open_tiff_jpeg` returns None and OpenSlide reads the slide.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import openslide
import simplejpeg

from slideprep.errors import SlideReadError
from slideprep.read_openslide import Metadata, flatten, metadata_from_properties, open_handle
from slideprep.slide import Pixels, grid_cells, levels_from_sizes
from slideprep.tiff_pages import START_OF_IMAGE, TiledPage, level_pages

if TYPE_CHECKING:
    from slideprep.discover import SlideFile

_LEAST_COARSE_PX = 64
"""A level is reduced while decoding only to at least this size, so that the partial row or column left out at its
end is a small part of it."""

_DCT_STEPS = (8, 4, 2)
"""Reductions that the JPEG decoder makes while decoding; 8 is the mean of each block."""


def open_tiff_jpeg(file: SlideFile) -> TiffJpegSlide | None:
    """Open a tiled TIFF or SVS whose levels are all JPEG in a plain layout, else return None.

    Args:
        file: A file that OpenSlide detects as "aperio" or "generic-tiff".

    Raises:
        SlideOpenError: OpenSlide cannot open the file.
    """
    with open_handle(file) as handle:
        metadata = metadata_from_properties(handle.properties)
        pages = level_pages(file, metadata.vendor, handle.level_dimensions)
        if pages is None:
            return None
        slide = TiffJpegSlide(file=file, metadata=metadata, pages=pages, sizes=list(handle.level_dimensions))
        if all(_agrees_with_openslide(slide, handle, level) for level in range(len(pages))):
            return slide
        slide.close()
        return None


def _agrees_with_openslide(slide: TiffJpegSlide, handle: openslide.OpenSlide, level: int) -> bool:
    """Whether one tile is OpenSlide's, pixel for pixel: the best-filled one, above level 0 the top left one.

    Only there does a coarse level's pixel lie on a whole level-0 pixel. A damaged tile proves nothing and passes.
    """
    page, size = slide.pages[level], slide.levels[level]
    row, column = divmod(int(np.argmax(page.byte_counts)), page.columns) if level == 0 else (0, 0)
    x, y = column * page.tile_width, row * page.tile_height
    width, height = min(page.tile_width, size.width - x), min(page.tile_height, size.height - y)
    try:
        ours = slide.tile(level, column, row)[:height, :width]
    except SlideReadError:
        return True
    try:
        theirs = np.asarray(handle.read_region((x, y), level, (width, height)))
    except openslide.OpenSlideError:
        return True
    return np.array_equal(ours, flatten(theirs, slide.background))


class TiffJpegSlide:
    """A slide whose JPEG tiles are read directly; see :class:`slideprep.slide.Slide`.

    ``pages`` has one :class:`TiledPage` per level.
    """

    reader = "tiff-jpeg"

    def __init__(
        self, *, file: SlideFile, metadata: Metadata, pages: list[TiledPage], sizes: list[tuple[int, int]]
    ) -> None:
        """Open the file's bytes; ``sizes`` are the levels' (width, height)."""
        self.name = file.name
        self.vendor = metadata.vendor
        self.levels = levels_from_sizes(sizes)
        self.mpp = metadata.mpp
        self.objective = metadata.objective
        self.background = metadata.background
        self.warnings = list(metadata.warnings)
        self.pages = pages
        self._descriptor: int | None = os.open(file.path, os.O_RDONLY)
        empty = int((pages[0].byte_counts == 0).sum())
        if empty:
            self.warnings.append(
                f"{empty} of {len(pages[0].byte_counts)} tiles of level 0 are not stored in the file; they are shown "
                "as background."
            )

    def strips(self, level: int, x: int, y: int, width: int, height: int) -> Iterator[Pixels]:
        """Read a box of a level, a strip per row of tiles; see :meth:`slideprep.slide.Slide.strips`."""
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
        fitting = (s for s in _DCT_STEPS if 2 * s <= reduction and _divides(s, page, size.width, size.height))
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
            image = _decode(page, data, step, strict=True)
        except ValueError as error:
            raise SlideReadError(
                self._place(level, column, row) + f" is damaged: {error}; {_REMEDY}"
            ) from error
        return image

    def _coarse_tile(self, level: int, column: int, row: int, step: int) -> Pixels:
        try:
            return self.tile(level, column, row, step)
        except SlideReadError as refusal:
            warning = f"Overview only: {refusal}"
            if warning not in self.warnings:
                self.warnings.append(warning)
        try:
            return _decode(self.pages[level], self._tile_bytes(level, column, row), step, strict=False)
        except (ValueError, SlideReadError):
            return self._blank(self.pages[level], step)

    def _tile_bytes(self, level: int, column: int, row: int) -> bytes:
        page = self.pages[level]
        index = row * page.columns + column
        count, offset = int(page.byte_counts[index]), int(page.offsets[index])
        if count == 0:
            return b""
        assert self._descriptor is not None, "the slide is closed"
        try:
            data = os.pread(self._descriptor, count, offset)
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
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        """Enter a with-block that closes the slide."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the slide."""
        self.close()


_REMEDY = "copy the slide again from its source, or leave this region out"


def _divides(step: int, page: TiledPage, width: int, height: int) -> bool:
    return (
        page.tile_width % step == 0
        and page.tile_height % step == 0
        and min(width, height) >= _LEAST_COARSE_PX * step
    )


def _decode(page: TiledPage, data: bytes, step: int, *, strict: bool) -> Pixels:
    """Decode a tile's bytes, reduced ``step`` times; ValueError where the decoder complains or the size is wrong."""
    if not data.startswith(START_OF_IMAGE):
        raise ValueError(f"no JPEG start marker, its first bytes are {data[:4]!r}")
    expected = (page.tile_height // step, page.tile_width // step, 3)
    least = expected[:2] if step > 1 else (0, 0)  # 0: as stored
    image: Pixels = simplejpeg.decode_jpeg(
        page.header + data[2:], min_height=least[0], min_width=least[1], strict=strict
    )
    if image.shape != expected:
        raise ValueError(
            f"it holds {image.shape[1]} x {image.shape[0]} px, not {expected[1]} x {expected[0]}"
        )
    return image


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
