"""The Lanczos filter (a = 3) as weights along one axis: what every magnification is made with.

The kernel is stretched by the reduction factor, so that reducing is also low-pass filtering (Turkowski, "Filters for
Common Resampling Tasks", the paper's reference 46). Output pixel ``i`` has its centre at
``origin + factor * (i + 0.5)`` in source pixels; source pixel ``k`` has its centre at ``k + 0.5``. Taps outside the
source weigh nothing and the rest is renormalised, so a constant image stays constant up to its border.

Weights are made by ``+ - * /`` alone, which every processor rounds alike. Sines and powers of C's library are not: the
same one differs in the last bit between a processor that fuses multiplication and addition and one that does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil, factorial, floor, pi

import numpy as np
from numpy.typing import NDArray

LOBES = 3
"""The a of Lanczos-a: lobes of the sinc on either side of the centre."""

LARGEST_WEIGHT = 2**15 - 2
"""Whole-number weights fit in 16 bits, with one to spare for rounding."""

LARGEST_SHIFT = 21
"""Sums of 8-bit pixels times weights of 2**21 in all stay in 32 bits: the kernel's negative lobes add under a half."""


_SINE_TERMS = 12
"""Of the series of the sine, up to a quarter turn: what it leaves out is under 1e-20."""


def lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The kernel itself: ``sinc(x) sinc(x / 3)`` for ``|x| < 3``, else 0."""
    return np.where(np.abs(x) < LOBES, sinc(x) * sinc(x / LOBES), 0.0)


def sinc(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """``sin(pi x) / (pi x)``, and 1 at 0: within a few units of the last place, the same bits on every processor."""
    turns = np.rint(x)
    rest = pi * (x - turns)
    square, series = rest * rest, np.zeros_like(rest)
    for term in reversed(range(_SINE_TERMS)):
        series = series * square + (-1) ** term / factorial(2 * term + 1)
    sine = np.where(turns % 2 == 0, rest, -rest) * series
    return np.divide(sine, pi * x, out=np.ones_like(rest), where=x != 0)


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


def tap_count(factor: Fraction) -> int:
    """Source pixels that an output pixel draws on at most, made even: taps are weighed two at a time."""
    return 2 * (ceil(2 * LOBES * factor) // 2 + 1)


@dataclass(frozen=True, kw_only=True)
class Taps:
    """Weights of consecutive output pixels.

    Attributes:
        starts: (outputs,) first source pixel of each output's taps; may lie outside the source.
        weights: (outputs, taps) float64, an even number of taps; an output's weights sum to 1, and are 0 outside the
            source.
    """

    starts: NDArray[np.int64]
    weights: NDArray[np.float64]

    @property
    def stop(self) -> int:
        """One past the last source pixel of the last output."""
        return int(self.starts[-1]) + int(self.weights.shape[1])


def taps(
    first: int, last: int, *, factor: Fraction, origin: Fraction, source_start: int, source_stop: int
) -> Taps:
    """Weights of output pixels ``first`` to ``last - 1``, computed in float64.

    Args:
        first: First output pixel.
        last: One past the last output pixel.
        factor: Source pixels per output pixel.
        origin: Position of output pixel 0's left edge, in source pixels.
        source_start: First source pixel that exists.
        source_stop: One past the last source pixel that exists.
    """
    outputs = range(first, last)
    # At whole factors every output is the first one, moved.
    distinct = outputs[:1] if factor.denominator == 1 else outputs
    starts, table = _table(distinct, factor, origin)
    if len(distinct) < len(outputs):
        starts = starts[0] + int(factor) * np.arange(len(outputs))
        table = np.repeat(table, len(outputs), axis=0)
    positions = starts[:, None] + np.arange(table.shape[1])
    outside = (positions < source_start) | (positions >= source_stop)
    border = outside.any(axis=1)
    table[border] *= ~outside[border]
    table[border] /= table[border].sum(axis=1, keepdims=True)
    used = int(np.flatnonzero(table.any(axis=0))[-1]) // 2 + 1
    return Taps(starts=starts, weights=table[:, : 2 * used])


def _table(
    outputs: range, factor: Fraction, origin: Fraction
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """First taps and weights (outputs, taps) as if the source had no border."""
    half = Fraction(1, 2)
    exact = [origin + factor * (i + half) for i in outputs]
    starts = [floor(centre - LOBES * factor) for centre in exact]
    centres = tuple(centre - start for centre, start in zip(exact, starts, strict=True))
    # Batches of rows differ by whole pixels at whole factors: their weights are made once.
    made = _kept_weights(centres, factor).copy() if len(centres) == 1 else _weights(centres, factor)
    return np.array(starts, dtype=np.int64), made


def _weights(centres: Sequence[Fraction], factor: Fraction) -> NDArray[np.float64]:
    """Weights (outputs, taps) of outputs at ``centres``, counted from their first taps."""
    # exact until the difference is small: positions on a slide have five digits before the point
    places = np.array([float(centre) for centre in centres])
    table = lanczos((np.arange(tap_count(factor)) + 0.5 - places[:, None]) / float(factor))
    made: NDArray[np.float64] = table / table.sum(axis=1, keepdims=True)
    return made


_kept_weights = lru_cache(maxsize=64)(_weights)


@dataclass(frozen=True, kw_only=True)
class PairedTaps:
    """Weights for pairs of source pixels, as whole numbers.

    Attributes:
        starts: (outputs,) first pair of each output, counted from the first source pixel at hand.
        weights: (outputs, 2 * pairs) int16.
        scales: (outputs,) float32, powers of two: a weighted sum times its scale is the output pixel.
    """

    starts: NDArray[np.int64]
    weights: NDArray[np.int16]
    scales: NDArray[np.float32]

    @property
    def pairs(self) -> int:
        """Pairs of source pixels per output."""
        return int(self.weights.shape[1]) // 2


def paired(made: Taps, first: int) -> PairedTaps:
    """Round weights to whole numbers of 15 bits and a sign, and pair them up.

    Each is rounded so that the weights up to it add up right to half a unit. So they add up exactly (white stays
    white), and what rounding changes is but a fraction of the difference between neighbouring pixels: under 0.0003
    grey levels.

    Args:
        made: The weights.
        first: The source pixel that pairs are counted from, before all taps.
    """
    largest = np.abs(made.weights).max(axis=1)
    shifts = np.minimum(np.frexp(LARGEST_WEIGHT / largest)[1] - 1, LARGEST_SHIFT)
    sums = np.rint(np.ldexp(np.cumsum(made.weights, axis=1), shifts[:, None]))
    whole = np.diff(sums, axis=1, prepend=0)
    starts, odd = np.divmod(made.starts - first, 2)
    outputs, count = whole.shape
    weights = np.zeros((outputs, 2 * (count // 2 + 1)), dtype=np.int16)
    for parity in (0, 1):
        weights[odd == parity, parity : parity + count] = whole[odd == parity]
    pairs = int(np.flatnonzero(weights.any(axis=0))[-1]) // 2 + 1
    return PairedTaps(
        starts=starts,
        weights=np.ascontiguousarray(weights[:, : 2 * pairs]),
        scales=np.ldexp(np.float32(1), -shifts),
    )
