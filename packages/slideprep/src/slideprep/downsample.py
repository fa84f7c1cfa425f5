"""Strips of level 0 in, the same region at every magnification out: pure, bounded memory, no I/O.

One pass over the level-0 pixels of a region feeds all its magnifications, each of them straight from level 0 (the
paper, section 4.1: "Every downsampling was obtained directly from the original image"). A sliding band of level-0
rows is kept: what the widest kernel spans, plus the rows of one batch. Memory is bounded by the band, whatever the
region's height: see :func:`band_bytes`.

Rows are filtered first, then columns, both as small float32 matrix products (:mod:`slideprep.lanczos`), and the result
is rounded once. That is as fast as 8-bit integer filters, which round between the two passes, and it is exact for
whole and fractional factors and origins alike. A column chunk of the band is converted to float32 once and serves
every magnification while it is in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from slideprep.geometry import Box
from slideprep.lanczos import LOBES, WeightBlocks, reach, weight_blocks

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

BATCH_ROWS = 512
"""Level-0 rows per batch: large enough that the kernels' overlap between batches costs little."""

BATCH_PX = 24 * 1024 * 1024
"""Level-0 pixels per batch at most: regions wider than 49 152 px get shorter batches."""

ROW_BLOCK = 8
COLUMN_BLOCK = 16
"""Outputs per matrix product, along each axis: the fastest of 4 to 64 on two processor families."""

CHUNK_COLUMNS = 192
"""Level-0 columns filtered along y at a time: in float32 they stay in a core's cache."""


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


def source_box(targets: Sequence[Target], *, slide_width: int, slide_height: int) -> Box:
    """The level-0 pixels that all targets together draw on: their field and the kernels' reach around it."""
    columns = [reach(0, t.width, factor=t.factor, origin=t.x) for t in targets]
    rows = [reach(0, t.height, factor=t.factor, origin=t.y) for t in targets]
    x, y = max(0, min(start for start, _ in columns)), max(0, min(start for start, _ in rows))
    right = min(slide_width, max(stop for _, stop in columns))
    bottom = min(slide_height, max(stop for _, stop in rows))
    return Box(x=x, y=y, width=right - x, height=bottom - y)


def batch_rows(targets: Sequence[Target], source_width: int) -> int:
    """Level-0 rows by which all images advance together."""
    largest = max(int(t.factor) + 1 for t in targets)
    return max(largest, min(BATCH_ROWS, BATCH_PX // source_width))


def band_rows(targets: Sequence[Target], *, source_width: int, strip_rows: int) -> int:
    """Level-0 rows that the band holds: a batch, the widest kernel on both sides, a strip."""
    largest = max(int(t.factor) + 1 for t in targets)
    return batch_rows(targets, source_width) + 2 * (LOBES + 1) * largest + strip_rows


def band_bytes(targets: Sequence[Target], *, source_width: int, strip_rows: int) -> int:
    """Bytes that :func:`downsample` keeps at most: the band, half-filtered rows, one batch of every image."""
    batch = batch_rows(targets, source_width)
    band = 3 * band_rows(targets, source_width=source_width, strip_rows=strip_rows) * source_width
    rows = {t: int(batch / t.factor) + 1 + ROW_BLOCK for t in targets}
    half_filtered = sum(12 * rows[t] * source_width for t in targets)
    images = max(15 * rows[t] * t.width for t in targets)
    return band + half_filtered + images


def downsample(
    strips: Iterable[Pixels], source: Box, targets: Sequence[Target], *, strip_rows: int
) -> Iterator[tuple[int, Pixels]]:
    """Reduce a region to every target in one pass over its level-0 pixels.

    Args:
        strips: Consecutive strips (rows, source.width, 3) uint8, top to bottom, together covering ``source``.
        source: What the strips cover, level-0 pixels: :func:`source_box` of the targets.
        targets: The images to make.
        strip_rows: No strip has more rows than this.

    Yields:
        ``(index of the target, rows)``: the next rows (n, width, 3) uint8 of that image, top to bottom.
    """
    band = _Band(band_rows(targets, source_width=source.width, strip_rows=strip_rows), source)
    filters = [_Filter(target, source) for target in targets]
    step = batch_rows(targets, source.width)
    # Batches end at fixed rows of the region, so the way in which the strips are cut cannot touch the result.
    goal = source.y + step
    for strip in strips:
        band.append(strip, keep_from=min(f.needs_from for f in filters))
        while goal <= band.stop or band.stop == source.bottom:
            yield from _advance(band, filters, min(goal, source.bottom))
            if goal >= source.bottom:
                break
            goal += step
    assert all(f.done for f in filters), "the strips ended before the region did"


def _advance(band: _Band, filters: Sequence[_Filter], goal: int) -> Iterator[tuple[int, Pixels]]:
    """Everything that can be made of the rows above ``goal``."""
    ready = [f.plan_rows(goal) for f in filters]
    due = [(index, f) for index, (f, is_due) in enumerate(zip(filters, ready, strict=True)) if is_due]
    if not due:
        return
    top, bottom = min(f.rows.start for _, f in due), max(f.rows.stop for _, f in due)
    chunk = np.empty((bottom - top, 3 * CHUNK_COLUMNS), dtype=np.float32)
    for left in range(0, band.width, CHUNK_COLUMNS):
        columns = min(CHUNK_COLUMNS, band.width - left)
        part = chunk if columns == CHUNK_COLUMNS else chunk[:, : 3 * columns]
        band.copy_to(part, top, left)
        for _, wanted in due:
            wanted.filter_rows(part[wanted.rows.start - top :], left)
    for index, wanted in due:
        yield index, wanted.filter_columns()


class _Band:
    """The level-0 rows at hand: rows ``start`` to ``stop - 1`` of the slide, one behind the other in memory."""

    def __init__(self, capacity: int, source: Box) -> None:
        self._rows = np.empty((capacity, source.width, 3), dtype=np.uint8)
        self._first = 0  # row of the buffer that holds slide row `start`
        self.start = self.stop = source.y
        self.width = source.width

    def append(self, strip: Pixels, *, keep_from: int) -> None:
        end = self._first + self.stop - self.start
        if end + len(strip) > len(self._rows):
            keep_from = min(max(keep_from, self.start), self.stop)
            kept = self._rows[self._first + keep_from - self.start : end]
            self._rows[: len(kept)] = kept  # numpy copies overlapping slices safely
            self._first, self.start, end = 0, keep_from, len(kept)
        assert end + len(strip) <= len(self._rows), "a strip is taller than announced"
        self._rows[end : end + len(strip)] = strip
        self.stop += len(strip)

    def copy_to(self, chunk: Floats, top: int, left: int) -> None:
        """Rows from slide row ``top`` on, as float32 (rows, columns * 3); 0 where there is no slide."""
        first, last = max(top, self.start), min(top + len(chunk), self.stop)
        offset = self._first - self.start
        flat = self._rows.reshape(len(self._rows), -1)
        chunk[: first - top] = 0
        chunk[first - top : last - top] = flat[
            first + offset : last + offset, 3 * left : 3 * left + chunk.shape[1]
        ]
        chunk[last - top :] = 0


class _Filter:
    """One image's progress down the region."""

    rows: WeightBlocks

    def __init__(self, target: Target, source: Box) -> None:
        self._target = target
        self._source = source
        self._done_rows = 0
        self._count = 0
        self._columns = weight_blocks(
            0,
            target.width,
            block=COLUMN_BLOCK,
            factor=target.factor,
            origin=target.x,
            source_start=source.x,
            source_stop=source.right,
        )
        self._columns_t = np.ascontiguousarray(self._columns.weights.transpose(0, 2, 1))
        self._half = np.empty((0, 3, 0), dtype=np.float32)

    @property
    def done(self) -> bool:
        return self._done_rows == self._target.height

    @property
    def needs_from(self) -> int:
        """First level-0 row that rows not yet made draw on."""
        if self.done:
            return self._source.bottom
        start, _ = reach(self._done_rows, self._done_rows + 1, factor=self._target.factor, origin=self._target.y)
        return max(start, self._source.y)

    def plan_rows(self, goal: int) -> bool:
        """Settle which rows the level-0 rows above ``goal`` suffice for; False where there are none."""
        target = self._target
        last = target.height
        if goal < self._source.bottom:
            reachable = (goal - target.y) / target.factor - LOBES - Fraction(1, 2)
            last = min(last, int(reachable // 1) + 1)
        self._count = max(0, last - self._done_rows)
        if self._count == 0:
            return False
        self.rows = weight_blocks(
            self._done_rows,
            last,
            block=ROW_BLOCK,
            factor=target.factor,
            origin=target.y,
            source_start=self._source.y,
            source_stop=self._source.bottom,
        )
        # Columns outside the source stay 0: their weights are 0, but 0 times garbage need not be.
        width = self._columns.stop - self._columns.start
        shape = (len(self.rows.starts) * ROW_BLOCK, 3, width)
        if self._half.shape != shape:
            self._half = np.zeros(shape, dtype=np.float32)
        return True

    def filter_rows(self, chunk: Floats, left: int) -> None:
        """Filter a column chunk along y; ``left`` is its first column, counted from the source's."""
        columns = chunk.shape[1] // 3
        filtered = _products(self.rows, chunk).reshape(-1, columns, 3)
        first = left + self._source.x - self._columns.start  # where the chunk lies among the columns needed
        start, stop = max(0, first), min(self._half.shape[2], first + columns)
        if start < stop:
            self._half[:, :, start:stop] = filtered[:, start - first : stop - first].transpose(0, 2, 1)

    def filter_columns(self) -> Pixels:
        """Filter the half-filtered rows along x, round once."""
        count, blocks = self._count, len(self._columns.starts)
        half = self._half[:count].reshape(count * 3, -1)
        image = np.empty((count * 3, blocks * COLUMN_BLOCK), dtype=np.float32)
        taps = self._columns.weights.shape[2]
        step = self._columns.step
        if step is not None:
            size = half.itemsize
            spans = as_strided(half, (blocks, count * 3, taps), (step * size, half.strides[0], size))
            out = as_strided(
                image, (blocks, count * 3, COLUMN_BLOCK), (COLUMN_BLOCK * size, image.strides[0], size)
            )
            np.matmul(spans, self._columns_t, out=out)
        else:
            for index, start in enumerate(self._columns.starts - self._columns.start):
                out = image[:, index * COLUMN_BLOCK : (index + 1) * COLUMN_BLOCK]
                np.matmul(half[:, start : start + taps], self._columns_t[index], out=out)
        self._done_rows += count
        np.clip(np.rint(image, out=image), 0, 255, out=image)
        planes = image.reshape(count, 3, -1)[:, :, : self._target.width]
        pixels = np.empty((count, self._target.width, 3), dtype=np.uint8)
        np.copyto(pixels, planes.transpose(0, 2, 1), casting="unsafe")
        return pixels


def _products(rows: WeightBlocks, chunk: Floats) -> Floats:
    """Every block's weights times its rows of ``chunk``: (blocks, block, chunk columns) float32."""
    blocks, outputs, taps = rows.weights.shape
    step = rows.step
    if step is not None:
        spans = as_strided(chunk, (blocks, taps, chunk.shape[1]), (step * chunk.strides[0], *chunk.strides))
        return np.matmul(rows.weights, spans)
    product = np.empty((blocks, outputs, chunk.shape[1]), dtype=np.float32)
    for index, start in enumerate(rows.starts - rows.start):
        np.matmul(rows.weights[index], chunk[start : start + taps], out=product[index])
    return product
