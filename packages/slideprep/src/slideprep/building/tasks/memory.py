"""How much memory a task needs, from its slides' own numbers: pure arithmetic, before anything is opened.

A shard's task holds one region at a time: a band of level-0 rows with what the filters keep (it grows with the region's
width alone), the row of tiles that is being decoded, and strips of the images that are being encoded; once all rows are
read, the picture by which its quality is measured. What else it holds, the interpreter, the libraries and the slides
that it keeps open, hardly depends on the slides. Machines are never given more tasks than they have memory for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from slideprep.building.plan import Sample, Shard
from slideprep.images.jpeg_strips import strip_rows
from slideprep.images.resample.downsample import band_bytes
from slideprep.images.resample.filter import Target
from slideprep.regions.layout import Grid, ImageGeometry
from slideprep.regions.pixels import kept_strip_rows
from slideprep.regions.quality import picture_bytes
from slideprep.regions.scan import Scan
from slideprep.shards.models import ImageFormat

BASE_BYTES = 256 * 1024 * 1024
"""A worker process that reads and writes slides of no size: measured 200 to 240 MB with all libraries loaded."""

TILE_ROWS = 512
"""Level-0 rows that are decoded together at most, in the formats at hand; half of it is common."""

WEBP_BYTES_PER_PX = 12
"""libwebp holds a whole image, at most 16 383 px a side, with its planes."""


def shard_task_bytes(
    shard: Shard, scans: Mapping[str, Scan], magnifications: Sequence[float], image_format: ImageFormat
) -> int:
    """Bytes of memory that writing a shard takes.

    Args:
        shard: Its samples.
        scans: Scans of its slides, by name.
        magnifications: Magnifications of the set.
        image_format: Encoding of its images.
    """
    largest: dict[str, Sample] = {}
    for sample in shard.samples:
        kept = largest.setdefault(sample.slide, sample)
        if sample.layout.columns > kept.layout.columns:
            largest[sample.slide] = sample
    return BASE_BYTES + max(
        region_bytes(sample, scans[slide], magnifications, image_format) for slide, sample in largest.items()
    )


def region_bytes(
    sample: Sample, scan: Scan, magnifications: Sequence[float], image_format: ImageFormat
) -> int:
    """Bytes that the pixels of one region take while its images are made."""
    images = Grid(scan.scale, magnifications).images(
        sample.layout, slide_width=scan.width, slide_height=scan.height
    )
    targets = [
        Target(
            factor=image.factor,
            x=Fraction(sample.layout.x),
            y=Fraction(sample.layout.y),
            width=image.valid.width,
            height=image.valid.height,
        )
        for image in images
    ]
    width = min(scan.width, max(int(target.width * target.factor) + 1 for target in targets))
    band = band_bytes(targets, source_width=width, strip_rows=kept_strip_rows(width))
    reading = max(band + 3 * TILE_ROWS * width, picture_bytes(images, scan.scale.mpp))  # one after the other
    return reading + sum(_encoded_bytes(image, image_format) for image in images)


def _encoded_bytes(image: ImageGeometry, image_format: ImageFormat) -> int:
    """What an encoder holds: JPEG a strip before, in and after encoding, WebP the whole image, PNG next to nothing."""
    if image_format == "webp":
        return WEBP_BYTES_PER_PX * image.width * image.height
    if image_format == "png":
        return 0
    return 3 * 3 * image.width * min(strip_rows(image.width), image.height)
