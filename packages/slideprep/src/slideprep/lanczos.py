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
from functools import cached_property
from itertools import pairwise
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


SPARE_TAPS = 8
"""Fractional factors: taps beyond the kernel's own, one in so many, that let blocks be spaced evenly."""


@dataclass(frozen=True, kw_only=True)
class WeightBlocks:
    """Weights of a run of output pixels, ``block`` outputs at a time.

    Attributes:
        starts: (blocks,) first source pixel of each block's taps; may lie outside the source.
        weights: (blocks, block, taps) float32; an output's weights sum to 1, and are 0 outside the source.
        step: Source pixels from one block to the next, but for the jumps between :attr:`runs`.
    """

    starts: NDArray[np.int64]
    weights: NDArray[np.float32]
    step: int

    @cached_property
    def start(self) -> int:
        """First source pixel of the first block."""
        return int(self.starts[0])

    @cached_property
    def stop(self) -> int:
        """One past the last source pixel of the last block."""
        return int(self.starts[-1]) + self.taps

    @cached_property
    def taps(self) -> int:
        """Source pixels per block."""
        return int(self.weights.shape[2])

    def __getitem__(self, blocks: slice) -> WeightBlocks:
        """Some of the blocks, one after the other."""
        return WeightBlocks(starts=self.starts[blocks], weights=self.weights[blocks], step=self.step)

    def count_within(self, stop: int) -> int:
        """How many blocks, from the first, have all their taps below source pixel ``stop``."""
        return int(np.searchsorted(self.starts, stop - self.taps, side="right"))

    @cached_property
    def runs(self) -> list[slice]:
        """The blocks in runs that are ``step`` apart: one run at whole factors, a few at fractional ones."""
        jumps = (np.flatnonzero(np.diff(self.starts) != self.step) + 1).tolist()
        return [slice(a, b) for a, b in pairwise([0, *jumps, len(self.starts)])]


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
    outputs = range(first, last, block)
    # At whole steps every block is the first one, moved.
    distinct = outputs[:1] if (block * factor).denominator == 1 else outputs
    step = round(block * factor)
    starts, taps = _starts(distinct, block=block, step=step, factor=factor, origin=origin)
    table = _table(distinct, starts, block=block, taps=taps, factor=factor, origin=origin)
    if len(distinct) < len(outputs):
        starts = starts[0] + step * np.arange(len(outputs))
        table = np.repeat(table, len(outputs), axis=0)
    positions = starts[:, None] + np.arange(taps)
    outside = (positions < source_start) | (positions >= source_stop)
    border = outside.any(axis=1)
    table[border] *= ~outside[border, None, :]
    sums = table[border].sum(axis=2, keepdims=True)
    table[border] /= np.where(sums == 0, 1, sums)  # outputs past `last` may see no source at all
    return WeightBlocks(starts=starts, weights=table.astype(np.float32), step=step)


def _starts(
    outputs: range, *, block: int, step: int, factor: Fraction, origin: Fraction
) -> tuple[NDArray[np.int64], int]:
    """First taps (count,) of the blocks that begin with ``outputs``, and how many taps each block has.

    Blocks need not begin at the kernel's first tap: with some spare ones they can be spaced evenly over a whole run,
    and one call filters a run.
    """
    taps = ceil((block - 1 + 2 * LOBES) * factor) + 1
    needed = np.array([reach(i, i + 1, factor=factor, origin=origin)[0] for i in outputs], dtype=np.int64)
    drift = abs(block * factor - step)
    run = len(outputs) if drift == 0 else max(1, int(ceil(taps / SPARE_TAPS) / drift))
    even = step * (np.arange(len(outputs)) % run)
    runs = np.arange(0, len(outputs), run)
    lowest = np.minimum.reduceat(needed - even, runs)
    starts = np.repeat(lowest, run)[: len(outputs)] + even
    return starts, taps + int((needed - starts).max())


def _table(
    outputs: range,
    starts: NDArray[np.int64],
    *,
    block: int,
    taps: int,
    factor: Fraction,
    origin: Fraction,
) -> NDArray[np.float64]:
    """Weights (count, block, taps) as if the source had no border."""
    scale, half = float(factor), Fraction(1, 2)
    # exact until the difference is small: positions on a slide have five digits before the point
    pairs = zip(outputs, starts.tolist(), strict=True)
    centres = np.array([float(origin + factor * (i + half) - start) for i, start in pairs])
    offsets = centres[:, None] + scale * np.arange(block)
    table = lanczos((np.arange(taps) + 0.5 - offsets[:, :, None]) / scale)
    return np.asarray(table / table.sum(axis=2, keepdims=True))
