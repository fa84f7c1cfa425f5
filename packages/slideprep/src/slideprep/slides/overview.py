"""A slide in, a small picture of the whole out, in bounded memory; or one whole level, which a published method needs.

An overview is made by exact area averaging, strip by strip. For overviews only: training images are resampled by
Lanczos in :mod:`slideprep.images.resample`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from slideprep.errors import TissueError
from slideprep.slides.reader import Level, Slide
from slideprep.units import Pixels

_CHUNK_BYTES = 32_000_000
"""Floats made at once, so that a strip of a very wide slide does not quadruple in memory."""

THUMBNAIL_PX = 320
"""Longer side of a thumbnail: enough to see whether tissue was found, 15 KB a slide."""

READ_LEVEL_LIMIT_PX = 100_000_000
"""Largest level that :func:`read_level` holds in memory: 300 MB of RGB."""


def area_average(
    strips: Iterator[NDArray[np.uint8]], size: tuple[float, float], target: tuple[int, int]
) -> NDArray[np.uint8]:
    """Average an image down to ``target`` pixels, each the exact mean of the area it covers.

    Args:
        strips: Consecutive (rows, columns, 3) uint8, top to bottom; at least one.
        size: (width, height) of the image in its own pixels. The strips may lack a last, partial row or column.
        target: (columns, rows) of the result, no more than the image has.

    Returns:
        (rows, columns, 3) uint8.
    """
    (width, height), (columns, rows) = size, target
    total = np.zeros((rows, columns, 3), np.float32)
    weight = np.zeros(rows, np.float32)
    across: csr_array | None = None
    top = 0
    for strip in strips:
        if across is None:
            across = _overlaps(0, strip.shape[1], width / columns, columns)
        chunk = max(1, _CHUNK_BYTES // (strip.shape[1] * 12))
        for part in (strip[i : i + chunk] for i in range(0, len(strip), chunk)):
            down = _overlaps(top, len(part), height / rows, rows)
            touched = np.flatnonzero(np.diff(down.indptr))
            mixed = down[touched].toarray() @ part.reshape(len(part), -1).astype(np.float32)
            by_column = mixed.reshape(len(touched), -1, 3).transpose(1, 0, 2).reshape(strip.shape[1], -1)
            total[touched] += (across @ by_column).reshape(columns, len(touched), 3).transpose(1, 0, 2)
            weight += down.sum(axis=1)
            top += len(part)
    assert across is not None, "an image has at least one strip"
    area = np.outer(weight, across.sum(axis=1))[:, :, None]
    return np.rint(total / area).clip(0, 255).astype(np.uint8)


def _overlaps(first: int, count: int, pitch: float, cells: int) -> csr_array:
    """How much of each of ``count`` unit pixels from ``first`` on lies in each of ``cells`` cells of width ``pitch``.

    The last cell also takes what lies beyond it, and where a reduced image ends early it takes its last pixel.
    """
    pixels = np.arange(first, first + count, dtype=np.float64)
    reach = ceil(1 / pitch) + 1
    cell = np.floor(pixels / pitch).astype(np.int64)[:, None] + np.arange(reach)
    overlap = np.minimum((cell + 1) * pitch, pixels[:, None] + 1) - np.maximum(cell * pitch, pixels[:, None])
    kept = (overlap > 1e-9) & (cell < cells)
    column = np.broadcast_to(np.arange(count)[:, None], cell.shape)
    return csr_array((overlap[kept].astype(np.float32), (cell[kept], column[kept])), shape=(cells, count))


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A small picture of the whole slide.

    Attributes:
        image: (rows, columns, 3) uint8.
        downsample_x: Level-0 pixels per overview pixel, exactly level-0 width / columns.
        downsample_y: Level-0 pixels per overview pixel, exactly level-0 height / rows.
        level: The level it was averaged from.
    """

    image: Pixels
    downsample_x: float
    downsample_y: float
    level: int


def read_level(slide: Slide, level: int, *, limit_px: int = READ_LEVEL_LIMIT_PX) -> Pixels:
    """Read a whole level: (height, width, 3) uint8.

    Args:
        slide: An opened slide.
        level: Index into ``slide.levels``.
        limit_px: Largest area accepted.

    Raises:
        TissueError: The level has more than ``limit_px`` pixels.
        SlideReadError: The pixels are damaged.
    """
    size = slide.levels[level]
    if size.width * size.height > limit_px:
        raise TissueError(
            f"slide '{slide.name}': level {level} would be held in memory whole, and its {size.width} x {size.height} "
            f"px exceed the limit of {limit_px / 1e6:g} megapixels (the slide has no small enough pyramid level); "
            "use --tissue auto, which works in strips"
        )
    image = np.empty((size.height, size.width, 3), np.uint8)
    row = 0
    for strip in slide.strips(level, 0, 0, size.width, size.height):
        image[row : row + len(strip)] = strip
        row += len(strip)
    return image


def read_overview(slide: Slide, *, downsample: float) -> Overview:
    """Average a slide down to about ``downsample`` level-0 pixels per overview pixel, in bounded memory.

    The overview has round(level-0 size / downsample) pixels a side, at least one, whatever pyramid the file has, so
    the same picture in another format gives the same grid. Every overview pixel is the area average of what it
    covers on the coarsest level that is not coarser than the target. A damaged tile is shown as well as it decodes,
    with a warning; the full-resolution read is what refuses it.

    Args:
        slide: An opened slide.
        downsample: Target level-0 pixels per overview pixel, at least 1.

    Raises:
        SlideReadError: The level cannot be read.
    """
    assert downsample >= 1, f"an overview is never enlarged: {downsample}"
    finest = slide.levels[0]
    columns = max(1, round(finest.width / downsample))
    rows = max(1, round(finest.height / downsample))
    index = _overview_level(slide.levels, downsample)
    level = slide.levels[index]
    step, strips = slide.coarse_strips(index, downsample / max(level.downsample_x, level.downsample_y))
    image = area_average(strips, (level.width / step, level.height / step), (columns, rows))
    return Overview(
        image=image, downsample_x=finest.width / columns, downsample_y=finest.height / rows, level=index
    )


def small_overview(slide: Slide) -> Pixels:
    """The whole slide at about the size of a thumbnail."""
    level0 = slide.levels[0]
    return read_overview(slide, downsample=max(1.0, max(level0.width, level0.height) / THUMBNAIL_PX)).image


def _overview_level(levels: Sequence[Level], downsample: float) -> int:
    fine_enough = [
        i for i, level in enumerate(levels) if max(level.downsample_x, level.downsample_y) <= downsample
    ]
    return max(fine_enough, key=lambda i: levels[i].downsample_x, default=0)
