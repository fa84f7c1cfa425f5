"""Sums of an image's pixels and of their squares per channel, in the processor's own code: whole numbers, exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import cast

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from slideprep.images.vector_code import Code, Compiled
from slideprep.images.vector_values import I8, I32, I64, LANES
from slideprep.units import Pixels

Three = tuple[int, int, int]

_GROUP = 3 * LANES
"""Samples added at a time: so many that every lane is of one channel always."""

_MOST_GROUPS = 2**32 // 255**2
"""Squares of so many 8-bit values add up to less than 2**32."""


def channel_sums(image: NDArray[np.uint8]) -> tuple[Three, Three]:
    """Sums of values and of their squares, per channel.

    Args:
        image: (rows, columns, 3) uint8, contiguous.
    """
    samples = image.reshape(-1)
    add_up = _compiled()
    whole = len(samples) - len(samples) % _GROUP
    totals = np.zeros((2, 3), dtype=np.int64)
    lanes = np.empty((2, _GROUP), dtype=np.uint32)
    for first in range(0, whole, _MOST_GROUPS * _GROUP):
        count = min(_MOST_GROUPS, (whole - first) // _GROUP)
        add_up(samples.ctypes.data + first, count, lanes.ctypes.data)
        totals += lanes.reshape(2, -1, 3).sum(axis=1, dtype=np.int64)
    rest = samples[whole:].astype(np.int64).reshape(-1, 3)
    totals += np.stack([rest.sum(axis=0), (rest**2).sum(axis=0)])
    sums, squares = totals.tolist()
    return (sums[0], sums[1], sums[2]), (squares[0], squares[1], squares[2])


@cache
def _compiled() -> Callable[..., None]:
    module = ir.Module(name="sums")
    _write(module)
    return Compiled(module).function("add_up")


def _write(module: ir.Module) -> None:
    """``out[0, i]``: the sum over the groups of their sample ``i``; ``out[1, i]``: of its square."""
    code = Code(module, "add_up", {"samples": I8.as_pointer(), "groups": I64, "out": I32.as_pointer()})
    samples, groups, out = code.arguments
    with code.loop(groups, [code.zeros(I32)] * 6) as group:
        start = samples.at(group.index * _GROUP)
        values = [start.vector(v).unsigned(I32) for v in range(0, _GROUP, LANES)]
        added = [*values, *(value * value for value in values)]
        group.carry([total + more for total, more in zip(group.values, added, strict=True)])
    for v, total in enumerate(group.results):
        out.store(total, v * LANES)
    code.end()


@dataclass
class PixelSums:
    """Integer sums over pixels, per channel: exact, so the order of addition cannot matter."""

    pixels: int = 0
    sums: tuple[int, int, int] = (0, 0, 0)
    squares: tuple[int, int, int] = (0, 0, 0)

    def add(self, image: Pixels) -> None:
        """Count every pixel of an image (rows, columns, 3), contiguous."""
        self._merge(image.size // 3, *channel_sums(image))

    def merge(self, other: PixelSums) -> None:
        """Add what another sum has counted."""
        self._merge(other.pixels, other.sums, other.squares)

    def _merge(self, pixels: int, sums: tuple[int, int, int], squares: tuple[int, int, int]) -> None:
        self.pixels += pixels
        self.sums = cast("tuple[int, int, int]", tuple(a + b for a, b in zip(self.sums, sums, strict=True)))
        self.squares = cast(
            "tuple[int, int, int]", tuple(a + b for a, b in zip(self.squares, squares, strict=True))
        )
