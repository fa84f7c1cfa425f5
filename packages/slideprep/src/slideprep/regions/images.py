"""The images of one region, encoded as a shard holds them: plain data, which crosses between processes as it is."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from slideprep.images.codec import decode, encoder
from slideprep.regions.layout import ImageGeometry
from slideprep.regions.pixels import Sink, read_region
from slideprep.regions.quality import QualityMeter
from slideprep.regions.scan import FoundRegion
from slideprep.shards.models import ImageFormat, PixelBox
from slideprep.shards.records import Quality
from slideprep.slides.level_frame import LevelFrame
from slideprep.slides.reader import Slide
from slideprep.units import Pixels


@dataclass(frozen=True, kw_only=True)
class RegionImage:
    """A region at one magnification.

    Attributes:
        magnification: Magnification of its pixels; what was asked for, except of a picture for people that would have
            been too fine.
        factor: Level-0 pixels per pixel.
        mpp: Microns per pixel, or None where the slide's are not known.
        width: Pixels.
        height: Pixels.
        valid: The pixels that lie wholly on the slide; the rest is its background.
        image_format: How it is encoded.
        encoded: The file.
    """

    magnification: float
    factor: Fraction
    mpp: float | None
    width: int
    height: int
    valid: PixelBox
    image_format: ImageFormat
    encoded: bytes

    @property
    def pixels(self) -> Pixels:
        """(rows, columns, 3) uint8 RGB, decoded from ``encoded`` anew every time."""
        return decode(self.encoded, self.image_format)


@dataclass(frozen=True, kw_only=True)
class RegionImages:
    """A region of a slide at every magnification that was asked for: the same field in each.

    Attributes:
        index: Number of the region on its slide.
        key: As in a shard set.
        x: Left edge, level-0 pixels.
        y: Top edge, level-0 pixels.
        width: Level-0 pixels; fractional where the grid's cells are.
        height: Level-0 pixels.
        images: By magnification, the highest first.
        also: Pictures for people, by the magnification that was asked for.
        quality: How good its tissue is to see, the numbers of a build's regions.csv; None where that was not asked for,
            or the level that was read is too coarse to tell.
    """

    index: int
    key: str
    x: int
    y: int
    width: float
    height: float
    images: Mapping[float, RegionImage]
    also: Mapping[float, RegionImage]
    quality: Quality | None = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One image to make: its geometry and its encoding."""

    geometry: ImageGeometry
    image_format: ImageFormat
    quality: int | None


def make_images(
    slide: Slide,
    region: FoundRegion,
    wanted: Sequence[Wanted],
    *,
    frame: LevelFrame,
    mpp: float | None,
    meter: QualityMeter | None = None,
) -> list[RegionImage]:
    """Read a region once and encode all its images.

    Args:
        slide: An opened slide.
        region: Laid out.
        wanted: The images, in any order.
        frame: The level to read.
        mpp: Microns per level-0 pixel.
        meter: Sees the rows of its images, which are made for it and not kept.

    Raises:
        SlideReadError: Pixels are damaged or missing from the file.
    """
    assert region.layout is not None, "the region is left out"
    files = [io.BytesIO() for _ in wanted]
    with ExitStack() as stack:
        encoders = []
        for item, file in zip(wanted, files, strict=True):
            made = encoder(
                item.image_format,
                file,
                width=item.geometry.width,
                height=item.geometry.height,
                quality=item.quality,
                with_sums=False,
                folder=Path(tempfile.gettempdir()),
            )
            stack.callback(made.close)
            encoders.append(made)
        sinks: list[Sink] = [made.write for made in encoders]
        geometries = [item.geometry for item in wanted]
        if meter is not None:
            geometries += meter.images
            sinks += meter.watch([_dropped] * len(meter.images))
        read_region(slide, region.layout, geometries, sinks, outline=region.outline, frame=frame)
        for made in encoders:
            made.finish()
    return [_image(item, file.getvalue(), mpp) for item, file in zip(wanted, files, strict=True)]


def _dropped(_: Pixels) -> None:
    """Rows that only a meter sees."""


def _image(wanted: Wanted, encoded: bytes, mpp: float | None) -> RegionImage:
    geometry = wanted.geometry
    return RegionImage(
        magnification=geometry.magnification,
        factor=geometry.factor,
        mpp=None if mpp is None else float(mpp * geometry.factor),
        width=geometry.width,
        height=geometry.height,
        valid=geometry.valid,
        image_format=wanted.image_format,
        encoded=encoded,
    )
