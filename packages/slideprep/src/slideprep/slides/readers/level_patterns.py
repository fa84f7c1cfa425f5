"""Whether two pictures of one place show the same, and where to look. Pure functions on small arrays.

In: a place of a level and the same place of a finer level, reduced to as many pixels. Out: the same pattern, another
one, or nothing that could be compared. Patterns are compared by correlation, so that a level may be sharper, paler or
coded more strongly than the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, zip_longest
from math import ceil, floor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from slideprep.units import Pixels

PATCH_PX = 16
"""Side of a place, level pixels."""

_LEAST_CONTRAST = 5.0
"""Standard deviation, grey levels, from which a place shows more than noise and the blocks of JPEG."""

_LEAST_CORRELATION = 0.5
"""Patterns are the same from here on. On real tissue, reduced 2 to 16 times, 99 % of the places of averaged, sharpened
and strongly compressed levels lie above, 94 % of those of mirrored, moved and smaller pictures below; of 1 044 such
levels none was taken away, of 696 such pictures one was kept, moved by 9 pixels."""

_COLOUR_DIFFERENCE = 40.0
"""Grey levels of a channel's mean beyond which a place has another colour, whatever its pattern."""

_PER_SECTOR = 4
_SECTORS = ((2, 2), (0, 0), (2, 0), (0, 2), (1, 1), (1, 0), (0, 1), (2, 1), (1, 2))
"""(column, row) of nine parts of the slide, corners first: where a frame does not fit they differ most."""

Floats = NDArray[np.float32]
Place = tuple[float, float]
"""Middle of a place in parts of the slide's width and height."""


@dataclass(frozen=True)
class Cells:
    """What makes cells of a row of pixels.

    Attributes:
        first: The first pixel that is used.
        weights: (cells, pixels from ``first`` on); each row adds up to 1.
    """

    first: int
    weights: Floats


def reduced_cells(start: float, pitch: float, cells: int, size: int, phase: float | None) -> Cells:
    """Cells of ``pitch`` pixels from ``start`` on, of a side of ``size`` pixels that they may leave by a little.

    Args:
        start: Where the first cell begins, pixels.
        pitch: Pixels per cell.
        cells: How many.
        size: Pixels of the whole side.
        phase: None for the mean of each cell's pixels; else the one pixel that lies so far in it, in parts of it.
    """
    first = min(size - 1, max(0, floor(start)))
    stop = min(size, max(first + 1, ceil(start + cells * pitch)))
    pixels = np.arange(first, stop)[None, :]
    edges = start + np.arange(cells + 1) * pitch
    if phase is not None:
        chosen = np.clip(np.floor(edges[:-1, None] + phase * pitch + 1e-6), first, stop - 1)
        return Cells(first, (pixels == chosen).astype(np.float32))
    low, high = np.clip(edges[:-1, None], first, stop - 1), np.clip(edges[1:, None], first + 1, stop)
    covered = np.clip(np.minimum(pixels + 1, high) - np.maximum(pixels, low), 0, None)
    return Cells(first, (covered / covered.sum(axis=1, keepdims=True)).astype(np.float32))


def contrasting_places(picture: Pixels) -> list[Place]:
    """Places of a small level with the strongest patterns, from all parts of it: middles in parts of its sides.

    Args:
        picture: (rows, columns, 3) uint8, the whole level.
    """
    rows, columns = picture.shape[0] // PATCH_PX, picture.shape[1] // PATCH_PX
    # green, which stains darken most
    green = picture[: rows * PATCH_PX, : columns * PATCH_PX, 1].astype(np.float32)
    contrast = green.reshape(rows, PATCH_PX, columns, PATCH_PX).std(axis=(1, 3))
    by_sector = []
    for column, row in _SECTORS:
        part = np.zeros_like(contrast)
        part[_third(row, rows), _third(column, columns)] = contrast[
            _third(row, rows), _third(column, columns)
        ]
        strongest = np.argsort(-part, axis=None, kind="stable")[:_PER_SECTOR]
        by_sector.append([divmod(int(i), columns) for i in strongest if part.flat[i] >= _LEAST_CONTRAST])
    return [
        ((j + 0.5) * PATCH_PX / picture.shape[1], (i + 0.5) * PATCH_PX / picture.shape[0])
        for i, j in filter(None, chain.from_iterable(zip_longest(*by_sector)))
    ]


def _third(number: int, count: int) -> slice:
    return slice(number * count // 3, (number + 1) * count // 3)


def same_pattern(patch: Floats, around: Floats) -> bool | None:
    """Whether a place of a level shows what the finer level shows there, or as little beside it as may be.

    Args:
        patch: (side, side, 3), grey levels.
        around: The finer level reduced to the same pixels, as many more on all sides as the place may lie off.

    Returns:
        None where both are bare and of one colour, which proves nothing.
    """
    side = len(patch)
    views = np.lib.stride_tricks.sliding_window_view(around, (side, side), axis=(0, 1))
    windows = views.reshape(-1, 3, side * side)
    colours = np.abs(windows.mean(axis=2) - patch.mean(axis=(0, 1))).max(axis=1)
    if colours.min() > _COLOUR_DIFFERENCE:
        return False
    ours, theirs = patch.mean(axis=2).reshape(-1), windows.mean(axis=1)
    ours, theirs = ours - ours.mean(), theirs - theirs.mean(axis=1, keepdims=True)
    if max(ours.std(), theirs.std(axis=1).min()) < _LEAST_CONTRAST:
        return None
    spread = ours.std() * theirs.std(axis=1)
    correlation = (theirs @ ours / side**2) / np.maximum(spread, 1e-6)
    return bool(correlation[colours <= _COLOUR_DIFFERENCE].max() >= _LEAST_CORRELATION)
