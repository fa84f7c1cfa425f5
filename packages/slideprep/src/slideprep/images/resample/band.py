"""Strips of level 0 in, the same rows in chunks of columns out, in the form that the filters take.

Strips are kept as they came, for as long as a row of them is needed; nothing is copied but the chunk at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from slideprep.images.resample.loops import TILE, lanczos_code
from slideprep.images.vector_code import aligned_zeros
from slideprep.units import Box, Pixels

CHUNK_COLUMNS = 512
"""Level-0 columns filtered at a time: few enough for the cache, enough that Python is called seldom; whole tiles."""


def chunk_bytes(rows: int) -> int:
    """Bytes that a chunk of so many rows takes at most, with the copy that is made at the region's right border."""
    return 3 * CHUNK_COLUMNS * (rows + 2) * (1 + 1)


class Level0Band:
    """The level-0 rows at hand: rows ``start`` to ``stop - 1`` of the slide, in the strips in which they came."""

    def __init__(self, source: Box) -> None:
        self._strips: list[Pixels] = []  # (rows, columns * 3), one below the other
        self.start = self.stop = source.y
        self.left, self.right = source.x, source.right
        self._blank = np.zeros(3 * source.width, dtype=np.uint8)
        self._top = 0
        self._addresses = np.zeros(0, dtype=np.int64)  # of the batch's rows
        self._chunk = aligned_zeros(0, np.uint8)
        self._chunk_at = 0

    def append(self, strip: Pixels, *, keep_from: int) -> None:
        """Add the next strip; forget those that lie wholly above row ``keep_from``."""
        while self._strips and self.start + len(self._strips[0]) <= keep_from:
            self.start += len(self._strips.pop(0))
        self.stop += len(strip)
        self._strips.append(np.ascontiguousarray(strip).reshape(len(strip), -1))

    def begin_batch(self, top: int, pairs: int) -> None:
        """Get ready for chunks of ``pairs`` pairs of rows from slide row ``top`` on; 0 where no slide is."""
        self._top = top
        self._addresses = np.full(2 * pairs, self._blank.ctypes.data, dtype=np.int64)
        for rows, part in self._parts():
            self._addresses[rows] = part.ctypes.data + part.strides[0] * np.arange(len(part))
        wanted = 3 * CHUNK_COLUMNS * 2 * pairs
        if self._chunk.size < wanted:
            self._chunk = aligned_zeros(wanted, np.uint8)
            self._chunk_at = self._chunk.ctypes.data

    def chunk(self, left: int) -> Chunk:
        """The batch's rows in pairs, from slide column ``left`` on."""
        right = min(left + CHUNK_COLUMNS, self.right)
        samples = 3 * (right - left)
        tiles, addresses, offset = ceil(samples / TILE), self._addresses, 3 * (left - self.left)
        if samples % TILE:  # the loop reads whole tiles: here they would go on behind the rows' ends
            rest = np.zeros((len(addresses), tiles * TILE), dtype=np.uint8)
            for rows, part in self._parts():
                rest[rows, :samples] = part[:, offset : offset + samples]
            addresses, offset = rest.ctypes.data + rest.strides[0] * np.arange(len(rest)), 0
        pairs = len(addresses) // 2
        lanczos_code().pair_rows(addresses.ctypes.data, pairs, offset, tiles, self._chunk_at)
        return Chunk(
            data=self._chunk, address=self._chunk_at, pairs=pairs, tiles=tiles, left=left, right=right
        )

    def _parts(self) -> Iterator[tuple[slice, Pixels]]:
        """Where in the batch which rows of the strips belong."""
        top, bottom = self._top, self._top + len(self._addresses)
        strip_top = self.start
        for strip in self._strips:
            first, last = max(top, strip_top), min(bottom, strip_top + len(strip))
            if first < last:
                yield slice(first - top, last - top), strip[first - strip_top : last - strip_top]
            strip_top += len(strip)


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some columns of a batch of level-0 rows, as :mod:`slideprep.images.resample.loops` pairs them.

    Attributes:
        data: (tiles, pairs, TILE, 2) uint8 and, behind them, room to spare.
        address: Where in memory that is.
        pairs: Pairs of rows.
        tiles: TILE samples each; those of the last may go on behind the source, as 0.
        left: Slide column of the first sample.
        right: One past the slide column of the last sample that is the source's.
    """

    data: NDArray[np.uint8]
    address: int
    pairs: int
    tiles: int
    left: int
    right: int

    @property
    def samples(self) -> int:
        """Samples along x, those behind the source included."""
        return self.tiles * TILE
