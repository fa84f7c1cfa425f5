"""Whether tiles that are decoded directly are OpenSlide's: a layout that was misunderstood is never used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slideprep.errors import SlideReadError
from slideprep.openslide_warnings import decoder_warnings
from slideprep.read_openslide import flatten
from slideprep.tiled_slide import TiledSlide

if TYPE_CHECKING:
    import openslide

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
