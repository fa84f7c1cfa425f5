"""Open a TIFF or SVS whose tiles can be decoded directly and strictly; leave every other one to OpenSlide.

Which pages are levels, and what the slide says of itself, is OpenSlide's judgement: the pages found here must be
OpenSlide's levels in number and size, and a well-filled tile of each must decode to OpenSlide's pixels. Where that
fails, or the layout is unusual, :func:`open_tiff_tiles` returns None and OpenSlide reads the slide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openslide

from slideprep.errors import SlideReadError
from slideprep.openslide_warnings import decoder_warnings
from slideprep.read_openslide import Metadata, flatten, metadata_from_properties, open_handle
from slideprep.tiff_pages import TiledPage, level_pages
from slideprep.tiled_slide import TiledSlide

if TYPE_CHECKING:
    from slideprep.discover import SlideFile

_TILES_TRIED = 3


def open_tiff_tiles(file: SlideFile) -> TiledSlide | None:
    """Open a tiled TIFF or SVS whose levels are all JPEG, or all JPEG 2000, in a plain layout, else return None.

    Args:
        file: A file that OpenSlide detects as "aperio" or "generic-tiff".

    Raises:
        SlideOpenError: OpenSlide cannot open the file.
    """
    with open_handle(file) as handle:
        metadata = metadata_from_properties(handle.properties)
        sizes = handle.level_dimensions
        pages = level_pages(file, metadata.vendor, sizes)
        if pages is None:
            return None
        slide = _tiled_slide(file, metadata, pages, list(sizes))
        if all(_agrees_with_openslide(slide, handle, level) for level in range(len(pages))):
            return slide
        slide.close()
        return None


def _tiled_slide(
    file: SlideFile, metadata: Metadata, pages: list[TiledPage], sizes: list[tuple[int, int]]
) -> TiledSlide:
    if pages[0].codec == "jpeg":
        from slideprep.read_tiff_jpeg import TiffJpegSlide

        return TiffJpegSlide(file=file, metadata=metadata, pages=pages, sizes=sizes)
    from slideprep.read_tiff_jp2k import TiffJp2kSlide

    return TiffJp2kSlide(file=file, metadata=metadata, pages=pages, sizes=sizes)


def _agrees_with_openslide(slide: TiledSlide, handle: openslide.OpenSlide, level: int) -> bool:
    """Whether one tile is OpenSlide's, pixel for pixel: the best-filled one, above level 0 the top left one.

    Only there does a coarse level's pixel lie on a whole level-0 pixel. A damaged tile proves nothing, and the next
    best is tried. Where none proves anything JPEG passes; not so JPEG 2000, where a program may have written all its
    tiles in a way that is complained of.
    """
    page = slide.pages[level]
    best = np.argsort(-page.byte_counts, kind="stable")[:_TILES_TRIED] if level == 0 else [0]
    for index in best:
        row, column = divmod(int(index), page.columns)
        agrees = _tile_agrees(slide, handle, level, column, row)
        if agrees is not None:
            return agrees
    return page.codec == "jpeg"


def _tile_agrees(
    slide: TiledSlide, handle: openslide.OpenSlide, level: int, column: int, row: int
) -> bool | None:
    """Whether a tile is OpenSlide's; None where one of the two refuses it."""
    page, size = slide.pages[level], slide.levels[level]
    x, y = column * page.tile_width, row * page.tile_height
    width, height = min(page.tile_width, size.width - x), min(page.tile_height, size.height - y)
    try:
        ours = slide.tile(level, column, row)[:height, :width]
        with decoder_warnings():
            theirs = np.asarray(handle.read_region((x, y), level, (width, height)))
    except (SlideReadError, openslide.OpenSlideError):
        return None
    return np.array_equal(ours, flatten(theirs, slide.background))
