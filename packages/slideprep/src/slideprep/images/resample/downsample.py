"""Strips of level 0 in, the same region at every magnification out: pure, bounded memory, no I/O.

One pass over the level-0 pixels of a region feeds all its magnifications, each of them straight from level 0 (the
paper, section 4.1: "Every downsampling was obtained directly from the original image"). A sliding band of level-0
rows is kept: what the widest kernel spans, plus the rows of one batch. Memory is bounded by the band, whatever the
region's height: see :func:`band_bytes`.

Rows are filtered first, in whole numbers, then columns, in float32, and the result is rounded once; whole and
fractional factors and origins are made alike. The loops are compiled (:mod:`slideprep.images.resample.loops`) and make
the same bytes on every machine. A chunk of the band's columns serves every magnification while it is in the processor's
cache, and what its columns suffice for is finished at once, so that half-filtered pixels never travel to memory and
back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from slideprep.images.resample.band import CHUNK_COLUMNS, Level0Band, chunk_bytes
from slideprep.images.resample.filter import ImageFilter, Target, filter_bytes
from slideprep.images.resample.lanczos import LOBES, reach
from slideprep.units import Box, Pixels

BATCH_ROWS = 768
"""Level-0 rows per batch: large enough that the kernels' overlap between batches costs little."""

BATCH_PX = 24 * 1024 * 1024
"""Level-0 pixels per batch at most: regions wider than 32 768 px get shorter batches."""


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
    """Level-0 rows that the band holds: a batch, the widest kernel on both sides, parts of a first and a last strip."""
    largest = max(int(t.factor) + 1 for t in targets)
    return batch_rows(targets, source_width) + 2 * (LOBES + 1) * largest + 2 * strip_rows


def band_bytes(targets: Sequence[Target], *, source_width: int, strip_rows: int) -> int:
    """Bytes that :func:`downsample` keeps at most: the band, a chunk of it, and what each image's filter keeps."""
    rows = band_rows(targets, source_width=source_width, strip_rows=strip_rows)
    batch = batch_rows(targets, source_width)
    return (
        3 * rows * source_width + chunk_bytes(rows) + sum(filter_bytes(target, batch) for target in targets)
    )


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
    band = Level0Band(source)
    filters = [ImageFilter(target, source) for target in targets]
    step = batch_rows(targets, source.width)
    # Batches end at fixed rows of the region, so the way in which the strips are cut cannot touch the result.
    goal = source.y + step
    for strip in strips:
        assert len(strip) <= strip_rows, "a strip is taller than announced"
        band.append(strip, keep_from=min(f.needs_from for f in filters))
        del strip  # the band forgets it as soon as it can
        while goal <= band.stop or band.stop == source.bottom:
            yield from _advance(band, filters, min(goal, source.bottom))
            if goal >= source.bottom:
                break
            goal += step
    assert all(f.done for f in filters), "the strips ended before the region did"


def _advance(band: Level0Band, filters: Sequence[ImageFilter], goal: int) -> Iterator[tuple[int, Pixels]]:
    """Everything that can be made of the rows above ``goal``."""
    due = [(index, f) for index, f in enumerate(filters) if f.plan_rows(goal)]
    if not due:
        return
    top = min(f.first_row for _, f in due)
    pairs = max(f.begin_batch(top) for _, f in due)
    band.begin_batch(top, pairs)
    for left in range(band.left, band.right, CHUNK_COLUMNS):
        chunk = band.chunk(left)
        for _, wanted in due:
            wanted.add(chunk)
    for index, wanted in due:
        yield index, wanted.take_image()
