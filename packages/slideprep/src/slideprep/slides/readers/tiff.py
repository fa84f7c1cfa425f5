"""Open a TIFF or SVS whose tiles can be decoded directly and strictly; leave every other one to OpenSlide.

Which pages are levels, and what the slide says of itself, is OpenSlide's judgement: the pages found here must be
OpenSlide's levels in number and size, and a well-filled tile of each must decode to OpenSlide's pixels, so that a file
that was misunderstood is never used. Where that fails, or the tiles are unusual, :func:`open_tiff_tiles` returns None
and OpenSlide reads the slide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slideprep.errors import SlideReadError
from slideprep.slides.readers.openslide import flatten, metadata_from_properties, open_handle
from slideprep.slides.readers.openslide_warnings import decoder_warnings
from slideprep.slides.readers.tiff_pages import Codec, level_pages
from slideprep.slides.readers.tiled import TiledSlide

if TYPE_CHECKING:
    import openslide

    from slideprep.slides.files import SlideFile

_TILES_TRIED = 3
_CONVERTED_TOLERANCE = 2
"""Grey levels by which colours may differ that OpenSlide left as YCbCr, and that are converted from what it gives."""


def agrees_with_openslide(
    slide: TiledSlide, handle: openslide.OpenSlide, level: int, *, ycbcr: bool = False
) -> bool | None:
    """Whether one tile is OpenSlide's, pixel for pixel: the best-filled one, above level 0 the top left one.

    Only there does a coarse level's pixel lie on a whole level-0 pixel. A damaged tile proves nothing, and the next
    best is tried.

    Args:
        slide: Read directly.
        handle: The same file in OpenSlide.
        level: Index of a level.
        ycbcr: OpenSlide gives this level's Y, Cb and Cr as RGB.

    Returns:
        None where none of the tiles tried could be read by both.
    """
    page = slide.pages[level]
    best = np.argsort(-page.byte_counts, kind="stable")[:_TILES_TRIED] if level == 0 else [0]
    for index in best:
        row, column = divmod(int(index), page.columns)
        difference = _difference(slide, handle, level, column, row, ycbcr=ycbcr)
        if difference is not None:
            return difference <= (_CONVERTED_TOLERANCE if ycbcr else 0)
    return None


def _difference(
    slide: TiledSlide, handle: openslide.OpenSlide, level: int, column: int, row: int, *, ycbcr: bool
) -> int | None:
    """The largest difference of a tile to OpenSlide's, in grey levels; None where one of the two refuses it."""
    from openslide import OpenSlideError

    page, size = slide.pages[level], slide.levels[level]
    x, y = column * page.tile_width, row * page.tile_height
    width, height = min(page.tile_width, size.width - x), min(page.tile_height, size.height - y)
    try:
        ours = slide.tile(level, column, row)[:height, :width]
        with decoder_warnings():
            theirs = np.asarray(handle.read_region((x, y), level, (width, height)))
    except (SlideReadError, OpenSlideError):
        return None
    expected = flatten(theirs, slide.background, ycbcr=ycbcr)
    return int(np.abs(ours.astype(np.int16) - expected).max())


def open_tiff_tiles(file: SlideFile) -> TiledSlide | None:
    """Open a tiled TIFF or SVS whose levels are all JPEG, JPEG 2000 or deflate in a plain layout, else return None.

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
        slide = _reader(pages[0].codec)(file=file, metadata=metadata, pages=pages, sizes=list(sizes))
        if all(_agrees(slide, handle, level) for level in range(len(pages))):
            return slide
        slide.close()
        return None


def _reader(codec: Codec) -> type[TiledSlide]:
    if codec == "jpeg":
        from slideprep.slides.readers.tile_codecs import TiffJpegSlide

        return TiffJpegSlide
    if codec == "deflate":
        from slideprep.slides.readers.tile_codecs import TiffDeflateSlide

        return TiffDeflateSlide
    from slideprep.slides.readers.jpeg2000 import TiffJp2kSlide

    return TiffJp2kSlide


def _agrees(slide: TiledSlide, handle: openslide.OpenSlide, level: int) -> bool:
    agrees = agrees_with_openslide(slide, handle, level)
    # all tiles tried are damaged: most decoders' complaints mean just that, while OpenJPEG's may be about how some
    # program writes all its tiles
    return not slide.pages[level].codec.startswith("jp2k") if agrees is None else agrees
