"""Reduce an image to any smaller size by exact area averaging, strip by strip; pure.

In: horizontal strips of an image. Out: the reduced image. Memory is bounded by a strip and the result. For overviews
only: training images are resampled by Lanczos elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

_CHUNK_BYTES = 32_000_000
"""Floats made at once, so that a strip of a very wide slide does not quadruple in memory."""


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
