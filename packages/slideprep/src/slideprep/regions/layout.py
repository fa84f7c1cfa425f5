"""A region's box on the slide, laid out so that every magnification shows exactly the same field.

The box is made of *cells*: the smallest field that is a whole number of pixels at every magnification (one pixel at the
lowest, usually). It covers the tissue, starts on a whole level-0 pixel, and is shifted inwards at the slide's edge;
where the slide is too small, it goes beyond the slide and that part is padded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from slideprep.shards.format import MAX_SIDES_PX, PixelBox, magnification_name, valid_box
from slideprep.shards.models import ImageFormat
from slideprep.units import Box, Scale, grid_px

MIN_SIDE_PX = 32
"""Shortest side at the lowest magnification: a stride-32 network needs as much for one output pixel."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A laid-out box: origin in level-0 pixels, size in cells.

    Attributes:
        x: Left edge, level-0 pixels.
        y: Top edge, level-0 pixels.
        columns: Width in cells.
        rows: Height in cells.
    """

    x: int
    y: int
    columns: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class ImageGeometry:
    """One image of a laid-out region.

    Attributes:
        magnification: Its magnification.
        factor: Level-0 pixels per pixel, exact.
        width: Pixels.
        height: Pixels.
        valid: The pixels that lie wholly on the slide.
    """

    magnification: float
    factor: Fraction
    width: int
    height: int
    valid: PixelBox


class Grid:
    """The cells of one slide under one list of magnifications.

    Raises:
        MagnificationError: A magnification is finer than the scan.
        UsageError: The magnifications have no common grid.
    """

    def __init__(self, scale: Scale, magnifications: Sequence[float]) -> None:
        self._cells = grid_px(magnifications)
        self._factors = {m: scale.factor(m) for m in magnifications}
        lowest = min(magnifications)
        self._lowest_px = self._cells[lowest]
        self.cell_l0 = self._factors[lowest] * self._lowest_px
        # Starting on a multiple of the largest whole factor keeps every image on the slide's own pixel grid.
        self._snap = int(self.cell_l0) if self.cell_l0.denominator == 1 else 1

    def lay_out(self, tissue: Box, *, slide_width: int, slide_height: int) -> Layout:
        """The smallest box of whole cells around ``tissue``.

        Args:
            tissue: The tissue's bounding box, level-0 pixels.
            slide_width: Slide width, level-0 pixels.
            slide_height: Slide height, level-0 pixels.
        """
        x, columns = self._span(tissue.x, tissue.right, slide_width)
        y, rows = self._span(tissue.y, tissue.bottom, slide_height)
        return Layout(x=x, y=y, columns=columns, rows=rows)

    def _span(self, start: int, stop: int, limit: int) -> tuple[int, int]:
        first = start - start % self._snap
        cells = ceil((stop - first) / self.cell_l0)
        beyond = first + cells * self.cell_l0 - limit
        if beyond > 0:
            first = max(0, floor(limit - cells * self.cell_l0))
        return first, cells

    def images(self, layout: Layout, *, slide_width: int, slide_height: int) -> list[ImageGeometry]:
        """The region's image at every magnification, in the order given to the grid."""
        made = []
        for magnification, pixels in self._cells.items():
            width, height = layout.columns * pixels, layout.rows * pixels
            factor = self._factors[magnification]
            valid = valid_box(
                x=layout.x,
                y=layout.y,
                width=width,
                height=height,
                factor=factor,
                level0_width=slide_width,
                level0_height=slide_height,
            )
            made.append(
                ImageGeometry(
                    magnification=magnification, factor=factor, width=width, height=height, valid=valid
                )
            )
        return made

    def refusal(
        self, layout: Layout, image_format: ImageFormat, *, slide_width: int, slide_height: int
    ) -> str | None:
        """Why a region cannot be stored, or None where it can.

        Args:
            layout: Where it lies.
            image_format: What it would be stored as.
            slide_width: Slide width, level-0 pixels; padding beyond it does not make a region larger.
            slide_height: Slide height, level-0 pixels.
        """
        laid_out = min(layout.columns, layout.rows) * self._lowest_px
        slide_px = ceil(min(slide_width, slide_height) * self._lowest_px / self.cell_l0)
        shortest = min(laid_out, slide_px)
        if shortest < MIN_SIDE_PX:
            lowest = magnification_name(min(self._cells))
            return (
                f"only {shortest} px on its shorter side at {lowest}, where {MIN_SIDE_PX} px are the least; to keep "
                "it, leave the lowest magnifications out"
            )
        limit = MAX_SIDES_PX[image_format]
        for magnification, pixels in self._cells.items():
            longest = max(layout.columns, layout.rows) * pixels
            if longest > limit:
                remedy = (
                    "use --image-format png" if image_format == "jpeg" else "use --image-format jpeg or png"
                )
                return (
                    f"{longest} px on its longer side at {magnification_name(magnification)}, beyond the "
                    f"{limit} px of {image_format}; {remedy}, or leave that magnification out"
                )
        return None


def sizes_px(layout: Layout, magnifications: Sequence[float]) -> Mapping[float, tuple[int, int]]:
    """(width, height) of a laid-out region at every magnification, pixels."""
    return {m: (layout.columns * px, layout.rows * px) for m, px in grid_px(magnifications).items()}
