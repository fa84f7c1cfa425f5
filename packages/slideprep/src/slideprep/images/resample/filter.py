"""One image of a region: chunks of level-0 rows in, its own rows out; the weights and what is half done."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np

from slideprep.images.resample.band import CHUNK_COLUMNS, Chunk
from slideprep.images.resample.lanczos import LOBES, PairedTaps, Taps, paired, reach, tap_count, taps
from slideprep.images.resample.loops import TILE, lanczos_code
from slideprep.images.vector_code import aligned_zeros
from slideprep.images.vector_values import LANES
from slideprep.units import Box, Pixels

_INT64_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class Target:
    """One image to make: where it lies on level 0 and how many pixels it has.

    Attributes:
        factor: Level-0 pixels per image pixel, at least 1.
        x: Level-0 position of the image's left edge; may be fractional.
        y: Level-0 position of the image's top edge; may be fractional.
        width: Image width in pixels; all of them lie on the slide.
        height: Image height in pixels; all of them lie on the slide.
    """

    factor: Fraction
    x: Fraction
    y: Fraction
    width: int
    height: int

    def __post_init__(self) -> None:
        assert self.factor >= 1, f"slides are never upsampled: factor {self.factor}"
        assert self.width > 0 and self.height > 0, f"an empty image: {self.width} x {self.height} px"


def half_columns(target: Target) -> int:
    """Columns kept filtered along y: a chunk, and a kernel on both sides of it."""
    return CHUNK_COLUMNS + TILE + 3 * tap_count(target.factor)


def filter_bytes(target: Target, batch_rows: int) -> int:
    """Bytes that a :class:`ImageFilter` keeps at most where so many level-0 rows make a batch."""
    rows = int(batch_rows / target.factor) + 1
    half = 12 * (rows + LANES) * half_columns(target)
    weights = 20 * (target.width + rows) * (tap_count(target.factor) + 1)
    return half + weights + 3 * rows * target.width


class ImageFilter:
    """One image's progress down the region, and within a batch of rows from left to right.

    Half-filtered pixels lie as (block of 16 rows, column, channel, row in the block). Only a chunk of columns is
    kept, and what later outputs draw on besides: it stays in the processor's cache from one filter to the other.
    """

    def __init__(self, target: Target, source: Box) -> None:
        self._target = target
        self._source = source
        self._code = lanczos_code()
        self._done_rows = 0
        self.needs_from = self._first_needed()
        """First level-0 row that rows not yet made draw on."""
        self._planned: Taps
        self._rows: PairedTaps
        self._row_arguments: tuple[int, int, int, int, int]
        self._needs_pairs = 0
        made = taps(
            0,
            target.width,
            factor=target.factor,
            origin=target.x,
            source_start=source.x,
            source_stop=source.right,
        )
        self._starts, self._stop = made.starts.tolist(), made.stop
        self._columns = made.starts, made.weights.astype(np.float32)  # what the addresses are of
        self._starts_at, self._weights_at = (array.ctypes.data for array in self._columns)
        self._taps = int(made.weights.shape[1])
        self._half = aligned_zeros(0, np.float32)
        self._half_at = self._image_at = 0  # addresses: asking numpy for one takes longer than many a loop
        self._half_start = 0  # level-0 column of the first half-filtered one
        self._done_columns = 0  # in this batch
        self._image = np.empty((0, 0, 3), dtype=np.uint8)

    @property
    def done(self) -> bool:
        """Whether all rows are made."""
        return self._done_rows == self._target.height

    def _first_needed(self) -> int:
        if self.done:
            return self._source.bottom
        start, _ = reach(
            self._done_rows, self._done_rows + 1, factor=self._target.factor, origin=self._target.y
        )
        return max(start, self._source.y)

    @property
    def first_row(self) -> int:
        """First level-0 row that the planned rows draw on; may lie above the slide."""
        return int(self._planned.starts[0])

    def plan_rows(self, goal: int) -> bool:
        """Settle which rows the level-0 rows above ``goal`` suffice for; False where there are none."""
        target = self._target
        last = target.height
        if goal < self._source.bottom:
            last = min(last, floor((goal - target.y) / target.factor - LOBES + Fraction(1, 2)))
        if last <= self._done_rows:
            return False
        self._planned = taps(
            self._done_rows,
            last,
            factor=target.factor,
            origin=target.y,
            source_start=self._source.y,
            source_stop=self._source.bottom,
        )
        return True

    def begin_batch(self, top: int) -> int:
        """Get ready for the rows planned; returns how many pairs of rows from slide row ``top`` on they draw on."""
        self._rows = paired(self._planned, top)
        count = len(self._rows.starts)
        self._image = np.empty((count, self._target.width, 3), dtype=np.uint8)
        self._done_columns = 0
        # what lies outside the source weighs nothing, but 0 times garbage need not be 0
        self._half_start = min(self._source.x, self._starts[0])
        blocks = ceil(count / LANES)
        if len(self._half) < blocks:
            size = blocks * 3 * half_columns(self._target) * LANES
            self._half = aligned_zeros(size, np.float32).reshape(blocks, -1)
        self._half[:, : self._at(self._source.x)] = 0
        self._half_at, self._image_at = self._half.ctypes.data, self._image.ctypes.data
        rows = self._rows
        self._row_arguments = (
            rows.starts.ctypes.data,
            rows.weights.ctypes.data,
            rows.pairs,
            rows.scales.ctypes.data,
            count,
        )
        self._needs_pairs = int(rows.starts[-1]) + rows.pairs
        assert rows.starts[0] >= 0, "rows are missing"
        apart = np.diff(rows.starts)
        share = bool(((apart >= 0) & (apart <= rows.pairs)).all())
        assert share, "neighbouring rows share no pixels"
        return self._needs_pairs

    def _at(self, column: int) -> int:
        """Where a level-0 column's half-filtered pixels lie in a block."""
        return 3 * LANES * (column - self._half_start)

    def add(self, chunk: Chunk) -> None:
        """Filter a chunk along y, then along x and round whatever the columns so far suffice for."""
        if chunk.left >= self._stop or self._done_columns == self._target.width:
            return
        self._filter_rows(chunk)
        right = chunk.right
        if right == self._source.right:
            assert self._at(self._stop) <= self._half.shape[1], "a kernel reaches farther than announced"
            self._half[:, self._at(right) : self._at(self._stop)] = 0
            right = self._stop
        done = bisect_right(self._starts, right - self._taps)
        if done > self._done_columns:
            self._filter_columns(self._done_columns, done)
            self._done_columns = done
        if done < self._target.width:
            self._keep(min(self._starts[done], right), right)

    def _keep(self, first: int, stop: int) -> None:
        """Keep the half-filtered level-0 columns ``first`` to ``stop - 1``."""
        start, end = 3 * (first - self._half_start), 3 * (stop - self._half_start)
        assert 0 <= start <= end <= self._half.shape[1] // LANES, "columns are missing"
        blocks, stride = self._half.shape
        self._code.keep_columns(self._half_at, stride, blocks, start, end - start)
        self._half_start = first

    def _filter_rows(self, chunk: Chunk) -> None:
        at, stride = self._at(chunk.left), self._half.shape[1]
        assert at + chunk.samples * LANES <= stride, "a chunk is larger than announced"
        assert self._needs_pairs <= chunk.pairs, "rows are missing"
        self._code.filter_rows(
            chunk.address,
            chunk.pairs,
            chunk.tiles,
            *self._row_arguments,
            self._half_at + at * self._half.itemsize,
            stride,
        )

    def _filter_columns(self, first: int, last: int) -> None:
        count, width, _ = self._image.shape
        assert self._starts[first] >= self._half_start, "columns are missing"
        self._code.filter_columns(
            self._half_at,
            self._half.shape[1],
            self._starts_at + first * _INT64_BYTES,
            self._half_start,
            self._weights_at + first * self._taps * self._half.itemsize,
            self._taps,
            last - first,
            count,
            self._image_at + 3 * first,
            3 * width,
        )

    def take_image(self) -> Pixels:
        """The batch's rows (n, width, 3) uint8, once all columns are filtered."""
        assert self._done_columns == self._target.width, "the chunks ended before the region did"
        self._done_rows += len(self._image)
        self.needs_from = self._first_needed()
        return self._image
