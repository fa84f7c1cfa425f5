"""A laid-out region of an opened slide in, rows of its image at every magnification out.

Level 0 is read once, in strips, or a coarser level instead where that is asked for. Pixels that the slide does not
have (a region larger than the slide) are filled with the slide's background, as is what lies outside an annotation's
outline where that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import numpy as np

from slideprep.images.resample.downsample import downsample, source_box
from slideprep.images.resample.filter import Target
from slideprep.regions.layout import ImageGeometry, Layout
from slideprep.slides.level_frame import LEVEL_0, LevelFrame
from slideprep.slides.reader import STRIP_ROWS, Slide
from slideprep.tissue.annotations import AnnotatedRegion, inside_mask
from slideprep.units import Box, Pixels

Sink = Callable[[Pixels], None]

LARGE_STRIP_BYTES = 64 * 1024 * 1024
"""Larger strips, of regions wider than 87 000 px, are cut: memory is to stay under 1 GB up to the format's limits."""

PIECE_BYTES = 16 * 1024 * 1024
"""What they are cut into."""


def kept_strip_rows(width: int) -> int:
    """Rows of the tallest strip that is kept in whole, in a region that draws on so many level-0 columns."""
    return max(1, min(STRIP_ROWS, LARGE_STRIP_BYTES // (3 * width)))


def read_region(
    slide: Slide,
    layout: Layout,
    images: Sequence[ImageGeometry],
    sinks: Sequence[Sink],
    *,
    outline: AnnotatedRegion | None = None,
    frame: LevelFrame = LEVEL_0,
) -> Box:
    """Read a region once and send every image's rows, top to bottom, to its sink.

    Args:
        slide: An opened slide.
        layout: Where the region lies.
        images: Its images.
        sinks: One per image; called with rows (n, image width, 3) uint8 that add up to the image's height.
        outline: Blank what lies outside it.
        frame: The level to read; none of the images may be finer.

    Returns:
        The pixels of that level that were read.

    Raises:
        SlideReadError: Pixels are damaged or missing from the file.
    """
    level = slide.levels[frame.index]
    targets = [_target(layout, image, frame) for image in images]
    source = source_box(targets, slide_width=level.width, slide_height=level.height)
    canvases = [
        _Canvas(image, layout, slide.background, sink, outline)
        for image, sink in zip(images, sinks, strict=True)
    ]
    strips = _pieces(slide.strips(frame.index, source.x, source.y, source.width, source.height))
    for index, rows in downsample(strips, source, targets, strip_rows=kept_strip_rows(source.width)):
        canvases[index].add(rows)
    for canvas in canvases:
        canvas.finish()
    return source


def _target(layout: Layout, image: ImageGeometry, frame: LevelFrame) -> Target:
    return Target(
        factor=frame.factor(image.factor),
        x=Fraction(layout.x) / frame.downsample_x,
        y=Fraction(layout.y) / frame.downsample_y,
        width=image.valid.width,
        height=image.valid.height,
    )


def _pieces(strips: Iterator[Pixels]) -> Iterator[Pixels]:
    """Strips as they come, large and tall ones cut: none is kept for the sake of a part of it."""
    for strip in strips:
        if len(strip) <= kept_strip_rows(strip.shape[1]):
            yield strip
        else:
            rows = max(1, min(STRIP_ROWS, PIECE_BYTES // strip[0].nbytes))
            for top in range(0, len(strip), rows):
                yield strip[top : top + rows].copy()
        del strip  # its memory can serve the next one


class _Canvas:
    """Puts an image's valid rows on the slide's background; no region begins left of or above the slide."""

    def __init__(
        self,
        image: ImageGeometry,
        layout: Layout,
        background: tuple[int, int, int],
        sink: Sink,
        outline: AnnotatedRegion | None,
    ) -> None:
        self._image = image
        self._layout = layout
        self._background = np.array(background, dtype=np.uint8)
        self._sink = sink
        self._outline = outline
        self._row = 0

    def add(self, rows: Pixels) -> None:
        valid = self._image.valid
        if self._outline is not None:
            inside = inside_mask(
                self._outline,
                x_l0=self._layout.x,
                y_l0=self._layout.y + self._row * self._image.factor,
                factor=self._image.factor,
                width=valid.width,
                height=len(rows),
            )
            rows = np.where(inside[:, :, None], rows, self._background)
        if valid.width < self._image.width:
            padded = np.empty((len(rows), self._image.width, 3), dtype=np.uint8)
            padded[:, : valid.width] = rows
            padded[:, valid.width :] = self._background
            rows = padded
        self._sink(rows)
        self._row += len(rows)

    def finish(self) -> None:
        self._blank(self._image.height - self._row)

    def _blank(self, count: int) -> None:
        for top in range(0, count, STRIP_ROWS):
            rows = np.empty((min(STRIP_ROWS, count - top), self._image.width, 3), dtype=np.uint8)
            rows[:] = self._background
            self._sink(rows)
        self._row += count
