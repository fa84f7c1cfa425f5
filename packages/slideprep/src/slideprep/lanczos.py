"""The Lanczos filter (a = 3) as blocks of weights along one axis: what every magnification is made with.

The kernel is stretched by the reduction factor, so that reducing is also low-pass filtering (Turkowski, "Filters for
Common Resampling Tasks", the paper's reference 46). Output pixel ``i`` has its centre at
``origin + factor * (i + 0.5)`` in source pixels; source pixel ``k`` has its centre at ``k + 0.5``. Taps outside the
source weigh nothing and the rest is renormalised, so a constant image stays constant up to its border.

Consecutive outputs share most of their taps. Taken ``block`` at a time, an axis becomes a few small dense matrices,
which is the form in which a BLAS library filters fastest.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

LOBES = 3
"""The a of Lanczos-a: lobes of the sinc on either side of the centre."""


def lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The kernel itself: ``sinc(x) sinc(x / 3)`` for ``|x| < 3``, else 0."""
    return np.where(np.abs(x) < LOBES, np.sinc(x) * np.sinc(x / LOBES), 0.0)


def reach(first: int, last: int, *, factor: Fraction, origin: Fraction) -> tuple[int, int]:
    """The source pixels ``[start, stop)`` within reach of output pixels ``first`` to ``last - 1``.

    Args:
        first: First output pixel.
        last: One past the last output pixel.
        factor: Source pixels per output pixel.
        origin: Position of output pixel 0's left edge, in source pixels.
    """
    half = Fraction(1, 2)
    return (
        floor(origin + factor * (first + half) - LOBES * factor),
        ceil(origin + factor * (last - half) + LOBES * factor),
    )


@dataclass(frozen=True, kw_only=True)
class WeightBlocks:
    """Weights of a run of output pixels, ``block`` outputs at a time.

    Attributes:
        starts: (blocks,) first source pixel of each block's taps; may lie outside the source.
        weights: (blocks, block, taps) float32; an output's weights sum to 1, and are 0 outside the source.
    """

    starts: NDArray[np.int64]
    weights: NDArray[np.float32]

    @property
    def start(self) -> int:
        """First source pixel of the first block."""
        return int(self.starts[0])

    @property
    def stop(self) -> int:
        """One past the last source pixel of the last block."""
        return int(self.starts[-1]) + self.weights.shape[2]

    @property
    def step(self) -> int | None:
        """Source pixels from one block to the next, or None where it varies (fractional factors)."""
        steps = np.diff(self.starts)
        if steps.size == 0:
            return 0
        return int(steps[0]) if (steps == steps[0]).all() else None


def weight_blocks(
    first: int,
    last: int,
    *,
    block: int,
    factor: Fraction,
    origin: Fraction,
    source_start: int,
    source_stop: int,
) -> WeightBlocks:
    """Weights of output pixels ``first`` to ``last - 1``, computed in float64.

    Args:
        first: First output pixel.
        last: One past the last output pixel; the last block may go on beyond it.
        block: Output pixels per block.
        factor: Source pixels per output pixel.
        origin: Position of output pixel 0's left edge, in source pixels.
        source_start: First source pixel that exists.
        source_stop: One past the last source pixel that exists.
    """
    count = ceil((last - first) / block)
    repeat = (
        1 if (block * factor).denominator == 1 else count
    )  # whole steps: every block is the first one, moved
    taps = ceil((block - 1 + 2 * LOBES) * factor) + 1
    starts, table = _blocks(first, repeat, block=block, taps=taps, factor=factor, origin=origin)
    if repeat < count:
        starts = starts[0] + np.arange(count) * int(block * factor)
        table = np.repeat(table, count, axis=0)
    positions = starts[:, None] + np.arange(taps)
    outside = (positions < source_start) | (positions >= source_stop)
    border = outside.any(axis=1)
    table[border] *= ~outside[border, None, :]
    sums = table[border].sum(axis=2, keepdims=True)
    table[border] /= np.where(sums == 0, 1, sums)  # outputs past `last` may see no source at all
    return WeightBlocks(starts=starts, weights=table.astype(np.float32))


def _blocks(
    first: int, count: int, *, block: int, taps: int, factor: Fraction, origin: Fraction
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """First taps (count,) and weights (count, block, taps) as if the source had no border."""
    scale = float(factor)
    starts, centres = [], []
    for output in range(first, first + count * block, block):
        start, _ = reach(output, output + 1, factor=factor, origin=origin)
        starts.append(start)
        centres.append(float(origin + factor * (output + Fraction(1, 2)) - start))
    offsets = np.array(centres)[:, None] + scale * np.arange(block)
    table = lanczos((np.arange(taps) + 0.5 - offsets[:, :, None]) / scale)
    return np.array(starts, dtype=np.int64), table / table.sum(axis=2, keepdims=True)
