"""The regions of an opened slide, and their images one region at a time.

What an :class:`Extraction` holds is small: boxes of regions and a thumbnail. Pixels are held for one region at a time:
a band of rows while its images are made (:mod:`slideprep.building.tasks.memory` bounds it), then its encoded images for
as long as the caller keeps them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import ceil

from slideprep.errors import UsageError
from slideprep.regions.fast import FastDifference, fast_difference
from slideprep.regions.images import RegionImage, RegionImages, Wanted, make_images
from slideprep.regions.layout import Grid, ImageGeometry, Layout
from slideprep.regions.quality import QualityMeter, looked_at
from slideprep.regions.scan import FoundRegion, Scan
from slideprep.regions.settings import ReadSettings
from slideprep.shards.format import MAX_SIDES_PX, key_for, valid_box
from slideprep.slides.level_frame import LEVEL_0, coarsest_frame
from slideprep.slides.opened import OpenedSlide
from slideprep.units import Scale, exact

PICTURE_QUALITY = 80
"""JPEG quality of pictures for people: half the bytes of 95, and no network sees them."""


class Extraction:
    """A slide's regions under some settings; iterating reads them one after the other.

    Args:
        slide: The slide; it has to stay open.
        settings: How slides become images.
        scan: What was found on it.
        magnifications: Those of the settings that are wanted, highest first.
        also: Magnifications of pictures for people.
        fast: Whether to read a coarser level than level 0 where one is fine enough.
        quality: Whether to measure how good regions are to see.

    Attributes:
        settings: How slides become images.
        magnifications: Those that are made, highest first.
        scale: Objective, mpp and where they came from.
        fingerprint: Fingerprint of the content of the slide's files.
        regions: All that were found, in reading order; those with ``left_out`` say why no image is made of them.
        warnings: What is odd about the slide, plain sentences.
        thumbnail: JPEG of the whole slide.
        level: Number of the level that is read.
        downsample: Level-0 pixels per pixel of that level.
    """

    def __init__(
        self,
        slide: OpenedSlide,
        settings: ReadSettings,
        scan: Scan,
        *,
        magnifications: Sequence[float],
        also: Sequence[float],
        fast: bool,
        quality: bool,
    ) -> None:
        self.settings = settings
        self.magnifications = tuple(magnifications)
        self.scale: Scale = scan.scale
        self.fingerprint = scan.fingerprint
        self.regions: tuple[FoundRegion, ...] = scan.regions
        self.warnings = scan.warnings
        self.thumbnail = scan.thumbnail
        self._slide = slide
        self._grid = Grid(scan.scale, settings.magnifications)
        self._also = tuple(also)
        self._quality = quality
        finest = scan.scale.factor(self.magnifications[0])
        self._frame = coarsest_frame(slide.levels, finest) if fast else LEVEL_0
        self.level = self._frame.index
        self.downsample = float(self._frame.coarsest)

    @property
    def laid_out(self) -> tuple[FoundRegion, ...]:
        """The regions that images are made of."""
        return tuple(region for region in self.regions if region.layout is not None)

    def __len__(self) -> int:
        """How many regions images are made of."""
        return len(self.laid_out)

    def __iter__(self) -> Iterator[RegionImages]:
        """Read every region that is not left out, in reading order.

        Raises:
            SlideReadError: A region is damaged. To go on with the next one, read them by :meth:`read`.
        """
        for region in self.laid_out:
            yield self.read(region)

    def read(self, region: FoundRegion) -> RegionImages:
        """Read one region and encode its images: byte for byte what ``build-shards`` writes, except with ``fast``.

        Args:
            region: One of ``regions``.

        Raises:
            UsageError: The region is left out.
            SlideReadError: Pixels are damaged or missing from the file; other regions can still be read.
        """
        layout = _layout(region)
        meter = self._meter(layout)
        made = self._make(region, [self._geometry(layout, m) for m in self.magnifications], layout, meter)
        count = len(self.magnifications)
        return RegionImages(
            index=region.index,
            key=key_for(self._slide.name, region.index),
            x=layout.x,
            y=layout.y,
            width=float(layout.columns * self._grid.cell_l0),
            height=float(layout.rows * self._grid.cell_l0),
            images=dict(zip(self.magnifications, made[:count], strict=True)),
            also=dict(zip(self._also, made[count:], strict=True)),
            quality=None if meter is None else meter.measured(),
        )

    def fast_difference(self, region: FoundRegion, *, magnification: float | None = None) -> FastDifference:
        """What reading this level instead of level 0 changes, measured in the middle of a region.

        Args:
            region: One of ``regions``.
            magnification: Magnification of the images to compare; the highest that is made where none is given.

        Raises:
            UsageError: The region is left out.
            SlideReadError: Pixels are damaged or missing from the file.
        """
        wanted = self.magnifications[0] if magnification is None else magnification
        return fast_difference(
            self._slide.slide, self._grid, _layout(region), frame=self._frame, magnification=wanted
        )

    def _make(
        self,
        region: FoundRegion,
        geometries: Sequence[ImageGeometry],
        layout: Layout,
        meter: QualityMeter | None,
    ) -> list[RegionImage]:
        settings = self.settings
        wanted = [
            Wanted(geometry=g, image_format=settings.image_format, quality=settings.encoded_quality)
            for g in geometries
        ]
        wanted += [
            Wanted(geometry=self._picture(layout, m), image_format="jpeg", quality=PICTURE_QUALITY)
            for m in self._also
        ]
        return make_images(
            self._slide.slide, region, wanted, frame=self._frame, mpp=self.scale.mpp, meter=meter
        )

    def _meter(self, layout: Layout) -> QualityMeter | None:
        """What measures a region as a build does: on the settings' images, the finest of which may not be wanted."""
        images = self._images(layout)
        if not self._quality or images[0].factor < self._frame.coarsest:
            return None
        return QualityMeter(looked_at(images, mpp=self.scale.mpp), mpp=self.scale.mpp)

    def _geometry(self, layout: Layout, magnification: float) -> ImageGeometry:
        return next(image for image in self._images(layout) if image.magnification == magnification)

    def _images(self, layout: Layout) -> Sequence[ImageGeometry]:
        return self._grid.images(layout, slide_width=self._slide.width, slide_height=self._slide.height)

    def _picture(self, layout: Layout, magnification: float) -> ImageGeometry:
        """A region's picture, off the grid: whole pixels that cover the region, none finer than the level read."""
        width_l0, height_l0 = (count * self._grid.cell_l0 for count in (layout.columns, layout.rows))
        level0 = self.scale.level0_magnification
        finest = max(self._frame.coarsest, Fraction(max(width_l0, height_l0), MAX_SIDES_PX["jpeg"]))
        coarsest = min(self._slide.width - layout.x, self._slide.height - layout.y)  # one pixel on the slide
        factor = min(max(level0 / exact(magnification), finest), Fraction(coarsest))
        width, height = ceil(width_l0 / factor), ceil(height_l0 / factor)
        valid = valid_box(
            x=layout.x,
            y=layout.y,
            width=width,
            height=height,
            factor=factor,
            level0_width=self._slide.width,
            level0_height=self._slide.height,
        )
        return ImageGeometry(
            magnification=float(level0 / factor), factor=factor, width=width, height=height, valid=valid
        )


def _layout(region: FoundRegion) -> Layout:
    if region.layout is None:
        raise UsageError(
            f"region {region.index} is left out ({region.left_out}), so no image can be made of it; read those of "
            "laid_out"
        )
    return region.layout
