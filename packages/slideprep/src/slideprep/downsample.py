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
from math import floor

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

BLOCK = 8
"""Outputs per matrix product: more would multiply by more zeros, fewer would starve the processor's pipelines."""

CHUNK_COLUMNS = 96
"""Level-0 columns filtered along y at a time: in float32 they stay in a core's cache."""

PADDING = 16
"""Unused floats behind each half-filtered line: keeps lines off a power-of-two stride, which caches punish."""


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
    rows = {t: int(batch / t.factor) + 1 + BLOCK for t in targets}
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
    """One image's progress down the region.

    Half-filtered rows are kept transposed, (columns, 3, rows): the product that filters along y can write them so at
    no cost, and filtering along x is then the same product again.
    """

    rows: WeightBlocks

    def __init__(self, target: Target, source: Box) -> None:
        self._target = target
        self._source = source
        self._done_rows = 0
        self._count = 0
        self._columns = weight_blocks(
            0,
            target.width,
            block=BLOCK,
            factor=target.factor,
            origin=target.x,
            source_start=source.x,
            source_stop=source.right,
        )
        self._half = np.empty((0, 0), dtype=np.float32)

    @property
    def done(self) -> bool:
        return self._done_rows == self._target.height

    @property
    def needs_from(self) -> int:
        """First level-0 row that rows not yet made draw on."""
        if self.done:
            return self._source.bottom
        start, _ = reach(
            self._done_rows, self._done_rows + 1, factor=self._target.factor, origin=self._target.y
        )
        return max(start, self._source.y)

    def plan_rows(self, goal: int) -> bool:
        """Settle which rows the level-0 rows above ``goal`` suffice for; False where there are none."""
        target = self._target
        last = target.height
        if goal < self._source.bottom:
            last = min(last, floor((goal - target.y) / target.factor - LOBES + Fraction(1, 2)))
        self._count = max(0, last - self._done_rows)
        if self._count == 0:
            return False
        self.rows = weight_blocks(
            self._done_rows,
            last,
            block=BLOCK,
            factor=target.factor,
            origin=target.y,
            source_start=self._source.y,
            source_stop=self._source.bottom,
        )
        # Columns outside the source stay 0: their weights are 0, but 0 times garbage need not be.
        columns, rows = self._columns.stop - self._columns.start, len(self.rows.starts) * BLOCK
        if self._half.shape != (columns * 3, rows + PADDING):
            self._half = np.zeros((columns * 3, rows + PADDING), dtype=np.float32)
        return True

    def filter_rows(self, chunk: Floats, left: int) -> None:
        """Filter a column chunk (rows, columns * 3) along y; ``left`` is its first column, from the source's."""
        first = left + self._source.x - self._columns.start  # the chunk's place among the columns needed
        start, stop = max(0, first), min(len(self._half) // 3, first + chunk.shape[1] // 3)
        if start < stop:
            part = chunk[:, 3 * (start - first) : 3 * (stop - first)]
            _filter(self.rows, part, self._half[3 * start : 3 * stop, :-PADDING].T)

    def filter_columns(self) -> Pixels:
        """Filter the half-filtered rows along x, round once; (rows, width, 3) uint8."""
        height = self._half.shape[1]
        image = np.empty((len(self._columns.starts) * BLOCK, 3 * height), dtype=np.float32)
        _filter(self._columns, self._half.reshape(-1, 3 * height), image)
        self._done_rows += self._count
        np.clip(np.rint(image, out=image), 0, 255, out=image)
        rounded = image.astype(np.uint8).reshape(len(image), 3, -1)
        return np.ascontiguousarray(rounded[: self._target.width, :, : self._count].transpose(2, 0, 1))


def _filter(blocks: WeightBlocks, source: Floats, out: Floats) -> None:
    """Weigh ``source`` along its first axis: ``out[i] = sum over k of weights[i, k] * source[start_i + k]``.

    Args:
        blocks: The weights; ``source`` begins at the first tap of the first block.
        source: (taps in all, n) float32.
        out: (blocks * BLOCK, n) float32, in either memory order.
    """
    count, outputs, taps = blocks.weights.shape
    step = blocks.step
    if step is None:
        for index, start in enumerate(blocks.starts - blocks.start):
            part = out[index * outputs : (index + 1) * outputs]
            np.matmul(blocks.weights[index], source[start : start + taps], out=part)
        return
    columns = source.shape[1]
    spans = as_strided(source, (count, taps, columns), (step * source.strides[0], *source.strides))
    results = as_strided(out, (count, outputs, columns), (outputs * out.strides[0], *out.strides))
    np.matmul(blocks.weights, spans, out=results)
