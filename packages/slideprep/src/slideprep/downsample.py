"""Strips of level 0 in, the same region at every magnification out: pure, bounded memory, no I/O.

One pass over the level-0 pixels of a region feeds all its magnifications, each of them straight from level 0 (the
paper, section 4.1: "Every downsampling was obtained directly from the original image"). A sliding band of level-0
rows is kept: what the widest kernel spans, plus the rows of one batch. Memory is bounded by the band, whatever the
region's height: see :func:`band_bytes`.

Rows are filtered first, then columns, both as small float32 matrix products (:mod:`slideprep.lanczos`), and the result
is rounded once. That is as fast as 8-bit integer filters, which round between the two passes, and it is exact for
whole and fractional factors and origins alike. A column chunk of the band is converted to float32 once and serves
every magnification while it is in the processor's cache; after a few chunks, a panel, what they suffice for is filtered
along x and rounded, so that half-filtered pixels never travel to memory and back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from slideprep.geometry import Box
from slideprep.lanczos import LOBES, SPARE_TAPS, WeightBlocks, reach, weight_blocks

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

BATCH_ROWS = 768
"""Level-0 rows per batch: large enough that the kernels' overlap between batches costs little."""

BATCH_PX = 24 * 1024 * 1024
"""Level-0 pixels per batch at most: regions wider than 32 768 px get shorter batches."""

BLOCK = 4
"""Outputs per matrix product: more would multiply by more zeros, fewer would starve the processor's pipelines."""

CHUNK_COLUMNS = 192
"""Level-0 columns filtered along y at a time: as float32 they stay in the cache, and Python is called seldom."""

JOINED_ROWS = 64
"""Strips shorter than this are joined: every strip costs a call per chunk."""

PANEL_CHUNKS = 2
"""Chunks filtered along y before what they suffice for is filtered along x: what lies between stays in the cache.

Where that is little, the calls would cost more than the work: see :func:`panel_chunks`.
"""

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


def panel_chunks(target: Target) -> int:
    """Chunks that an image filters along x at a time: more at large factors, whose half-filtered lines are few."""
    return PANEL_CHUNKS * max(1, int(target.factor / 8))


def band_rows(targets: Sequence[Target], *, source_width: int, strip_rows: int) -> int:
    """Level-0 rows that the band holds: a batch, the widest kernel on both sides, parts of a first and a last strip."""
    largest = max(int(t.factor) + 1 for t in targets)
    return (
        batch_rows(targets, source_width) + 2 * (LOBES + 1) * largest + 2 * max(strip_rows, 2 * JOINED_ROWS)
    )


def band_bytes(targets: Sequence[Target], *, source_width: int, strip_rows: int) -> int:
    """Bytes that :func:`downsample` keeps at most: the band, a chunk, a panel of each image, a batch of each image."""
    band = band_rows(targets, source_width=source_width, strip_rows=strip_rows)
    batch = batch_rows(targets, source_width)
    kept = 3 * band * source_width + 12 * band * CHUNK_COLUMNS
    for target in targets:
        rows = int(batch / target.factor) + 1 + BLOCK + PADDING
        taps = ceil((BLOCK + 2 * LOBES) * target.factor * (1 + 1 / SPARE_TAPS))
        panel = panel_chunks(target) * CHUNK_COLUMNS
        half_filtered = 12 * rows * (panel + 2 * taps)
        outputs = ceil((panel + taps) / target.factor) + BLOCK
        kept += half_filtered + 15 * rows * outputs + 3 * rows * target.width
    return kept


def downsample(
    strips: Iterable[Pixels], source: Box, targets: Sequence[Target], *, strip_rows: int
) -> Iterator[tuple[int, Pixels]]:
    """Reduce a region to every target in one pass over its level-0 pixels.

    Args:
        strips: Consecutive strips (rows, source.width, 3) uint8, top to bottom, together covering ``source``; they
            are kept as they are for some time, so each must be an array of its own.
        source: What the strips cover, level-0 pixels: :func:`source_box` of the targets.
        targets: The images to make.
        strip_rows: No strip has more rows than this.

    Yields:
        ``(index of the target, rows)``: the next rows (n, width, 3) uint8 of that image, top to bottom.
    """
    band = _Band(source)
    filters = [_Filter(target, source) for target in targets]
    step = batch_rows(targets, source.width)
    # Batches end at fixed rows of the region, so the way in which the strips are cut cannot touch the result.
    goal = source.y + step
    for strip in strips:
        assert len(strip) <= strip_rows, "a strip is taller than announced"
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
    for _, wanted in due:
        wanted.begin_batch(chunk, top)
    for number, left in enumerate(range(band.left, band.right, CHUNK_COLUMNS), start=1):
        right = min(left + CHUNK_COLUMNS, band.right)
        band.copy_to(chunk[:, : 3 * (right - left)], top, left)
        for _, wanted in due:
            wanted.filter_rows(left, right)
        for _, wanted in due:
            if number % wanted.panel_chunks == 0 or right == band.right:
                wanted.filter_columns(right)
    for index, wanted in due:
        yield index, wanted.take_image()


class _Band:
    """The level-0 rows at hand: rows ``start`` to ``stop - 1`` of the slide, in the strips in which they came.

    Strips are kept, not copied; only short ones are joined, so that there are never many.
    """

    def __init__(self, source: Box) -> None:
        self._strips: list[Pixels] = []  # (rows, columns * 3), one below the other
        self.start = self.stop = source.y
        self.left, self.right = source.x, source.right

    def append(self, strip: Pixels, *, keep_from: int) -> None:
        """Add the next strip; forget those that lie wholly above row ``keep_from``."""
        while self._strips and self.start + len(self._strips[0]) <= keep_from:
            self.start += len(self._strips.pop(0))
        self.stop += len(strip)
        added = strip.reshape(len(strip), -1)
        while self._strips and len(self._strips[-1]) <= len(added) < JOINED_ROWS:
            added = np.concatenate([self._strips.pop(), added])
        self._strips.append(added)

    def copy_to(self, chunk: Floats, top: int, left: int) -> None:
        """Rows from slide row ``top`` and column ``left`` on, float32 (rows, columns * 3); 0 where no slide is."""
        column = 3 * (left - self.left)
        columns = slice(column, column + chunk.shape[1])
        chunk[: max(0, self.start - top)] = 0
        strip_top = self.start
        for strip in self._strips:
            first, last = max(top, strip_top), min(top + len(chunk), strip_top + len(strip))
            if first < last:
                chunk[first - top : last - top] = strip[first - strip_top : last - strip_top, columns]
            strip_top += len(strip)
        chunk[max(0, self.stop - top) :] = 0


class _Filter:
    """One image's progress down the region, and within a batch of rows from left to right.

    Half-filtered rows are kept transposed, (columns, 3, rows): the product that filters along y can write them so at
    no cost, and filtering along x is then the same product again. Only a panel of columns is kept, and what the next
    panel's outputs draw on besides: it stays in the processor's cache from one product to the other.
    """

    rows: WeightBlocks

    def __init__(self, target: Target, source: Box) -> None:
        self._target = target
        self._source = source
        self.panel_chunks = panel_chunks(target)
        self._done_rows = 0
        self._count = 0
        self._spans: list[Floats] = []
        self._columns = weight_blocks(
            0,
            target.width,
            block=BLOCK,
            factor=target.factor,
            origin=target.x,
            source_start=source.x,
            source_stop=source.right,
        )
        self._panels: dict[tuple[int, int], WeightBlocks] = {}  # the same in every batch
        self._half = np.empty((0, 0), dtype=np.float32)
        self._half_start = 0  # level-0 column of the first half-filtered one
        self._done_blocks = 0  # of columns, in this batch
        self._image = np.empty((0, 0, 3), dtype=np.uint8)

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
        count = max(0, last - self._done_rows)
        if count == 0:
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
        self._count = count
        return True

    def begin_batch(self, chunk: Floats, top: int) -> None:
        """Get ready for the rows planned; ``chunk``'s first row is slide row ``top``."""
        self._spans = _spans(self.rows, chunk[self.rows.start - top :])
        columns = self.panel_chunks * CHUNK_COLUMNS + 2 * self._columns.taps
        self._half = np.empty((columns * 3, len(self.rows.starts) * BLOCK + PADDING), dtype=np.float32)
        self._image = np.empty((self._count, self._target.width, 3), dtype=np.uint8)
        self._done_blocks = 0
        self._half_start = self._columns.start
        # Columns outside the source weigh nothing, but 0 times garbage need not be 0.
        self._half[: 3 * max(0, self._source.x - self._half_start)] = 0

    def filter_rows(self, left: int, right: int) -> None:
        """Filter the chunk along y; it holds slide columns ``left`` to ``right - 1``."""
        start, stop = max(left, self._half_start), min(right, self._columns.stop)
        if start < stop:
            part = slice(3 * (start - left), 3 * (stop - left))
            spans = [span[:, :, part] for span in self._spans]
            _filter(self.rows, spans, self._kept(start, stop)[:, :-PADDING].T)

    def filter_columns(self, right: int) -> None:
        """Filter along x and round whatever the columns left of ``right`` suffice for."""
        if right == self._source.right:
            self._kept(right, self._columns.stop)[:] = 0
            right = self._columns.stop
        first, last = self._done_blocks, self._columns.count_within(right)
        if first == last:
            return
        blocks = self._panels.setdefault((first, last), self._columns[first:last])
        lines = self._half.reshape(-1, 3, self._half.shape[1])[:, :, : len(self._image)].transpose(1, 0, 2)
        exact = np.empty((3, len(self._image), (last - first) * BLOCK), dtype=np.float32)
        _filter(blocks, _spans(blocks, lines), exact.transpose(0, 2, 1))
        rounded = np.rint(
            np.clip(exact, 0, 255, out=exact), out=np.empty_like(exact, np.uint8), casting="unsafe"
        )
        columns = slice(first * BLOCK, min(last * BLOCK, self._target.width))
        for channel in range(3):  # a plain transposed copy takes four times as long
            self._image[:, columns, channel] = rounded[channel, :, : columns.stop - columns.start]
        self._done_blocks = last
        if last < len(self._columns.starts):
            start = int(self._columns.starts[last])
            kept = self._kept(start, right)
            self._half[: len(kept)] = kept  # numpy copies overlapping slices safely
            self._half_start = start

    def _kept(self, start: int, stop: int) -> Floats:
        """The lines of half-filtered slide columns ``start`` to ``stop - 1``."""
        return self._half[3 * (start - self._half_start) : 3 * (stop - self._half_start)]

    def take_image(self) -> Pixels:
        """The batch's rows (n, width, 3) uint8, once all columns are filtered."""
        self._done_rows += len(self._image)
        return self._image


def _spans(blocks: WeightBlocks, source: Floats) -> list[Floats]:
    """Per run, overlapping views (..., blocks, taps, n) of ``source`` (..., taps in all, n): nothing is copied."""
    *lead, _, columns = source.shape
    *lead_strides, stride, unit = source.strides
    return [
        as_strided(
            source[..., blocks.starts[run.start] - blocks.start :, :],
            (*lead, run.stop - run.start, blocks.taps, columns),
            (*lead_strides, blocks.step * stride, stride, unit),
        )
        for run in blocks.runs
    ]


def _filter(blocks: WeightBlocks, spans: Sequence[Floats], out: Floats) -> None:
    """Weigh the source along its axis of taps: ``out[i] = sum over k of weights[i, k] * source[start_i + k]``.

    Args:
        blocks: The weights.
        spans: :func:`_spans` of the blocks and the source, whose first row is the first tap of the first block.
        out: (..., blocks * BLOCK, n) float32; of the last two axes either may be the contiguous one.
    """
    *lead, _, columns = out.shape
    results = out.reshape(*lead, len(blocks.starts), BLOCK, columns)  # a view: an axis is split
    for run, span in zip(blocks.runs, spans, strict=True):
        np.matmul(blocks.weights[run], span, out=results[..., run, :, :])
