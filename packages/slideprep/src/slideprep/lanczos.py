"""The Lanczos filter (a = 3) as blocks of weights along one axis: what every magnification is made with.

The kernel is stretched by the reduction factor, so that reducing is also low-pass filtering (Turkowski, "Filters for
Common Resampling Tasks", the paper's reference 46). Output pixel ``i`` has its centre at ``origin + factor * (i + 0.5)``
in source pixels; source pixel ``k`` has its centre at ``k + 0.5``. Taps outside the source weigh nothing and the rest
is renormalised, so a constant image stays constant up to its border.

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
    scale = float(factor)
    count = ceil((last - first) / block)
    taps = ceil((block - 1 + 2 * LOBES) * factor) + 1
    outputs = first + np.arange(count * block).reshape(count, block)
    centres = float(origin) + scale * (outputs + 0.5)
    starts = np.floor(centres[:, 0] - LOBES * scale + 1e-6).astype(np.int64)
    positions = starts[:, None] + np.arange(taps)
    table = lanczos((positions[:, None, :] + 0.5 - centres[:, :, None]) / scale)
    table *= ((positions >= source_start) & (positions < source_stop))[:, None, :]
    sums = table.sum(axis=2, keepdims=True)
    table /= np.where(sums == 0, 1, sums)  # outputs past `last` may see no source at all
    return WeightBlocks(starts=starts, weights=table.astype(np.float32))
