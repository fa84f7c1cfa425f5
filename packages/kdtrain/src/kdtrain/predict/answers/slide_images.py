"""What crosses from the process that reads a slide to the one that asks the network: plain data, images encoded.

An image is encoded exactly as a shard would hold it, so the network sees the pixels that it would have been trained on,
after the same decoder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from kdtrain.predict.answers.prediction import Failure, QualityNumber

if TYPE_CHECKING:
    from slideprep import FastDifference, OpenedSlide, ReadSettings, SlideFile

Source: TypeAlias = "str | Path | OpenedSlide"
"""A slide by its path or address, or one that :func:`slideprep.open_slide` opened."""


@dataclass(frozen=True, kw_only=True)
class ReadJob:
    """One slide to read.

    Attributes:
        file: The slide.
        key: Its name as files are called after it.
        settings: How slides become images, as the training set was built.
        magnification: The network's.
        annotations: Its annotation file, where regions are annotated.
        fast: Read the nearest finer pyramid level instead of level 0.
        display: Magnification of pictures for people; None for none.
        dicom: Whether the header of a DICOM slide is needed.
        objective: Objective power, where labels.csv corrects the file.
        mpp: Microns per level-0 pixel, likewise.
        attempt: 0, or 1 after its worker crashed.
    """

    file: SlideFile
    key: str
    settings: ReadSettings
    magnification: float
    annotations: Path | None
    fast: bool
    display: float | None
    dicom: bool = False
    objective: float | None = None
    mpp: float | None = None
    attempt: int = 0


@dataclass(frozen=True, kw_only=True)
class ReadRegion:
    """One region's images.

    Attributes:
        index: Number of the region on its slide.
        key: As in a shard set.
        x: Left edge, level-0 pixels.
        y: Top edge, level-0 pixels.
        width: Level-0 pixels.
        height: Level-0 pixels.
        image: The network's image, encoded.
        image_format: Format of its encoding.
        image_width: Pixels.
        image_height: Pixels.
        display: A picture for people as JPEG, or None.
        quality: How good its tissue is to see; empty where it was not measured.
    """

    index: int
    key: str
    x: int
    y: int
    width: float
    height: float
    image: bytes
    image_format: str
    image_width: int
    image_height: int
    display: bytes | None
    quality: dict[QualityNumber, float | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FastField:
    """The middle of a region, read from a coarser level and from level 0.

    Attributes:
        downsample: Level-0 pixels per pixel of the coarser level.
        region: Number of the region.
        difference: Both images, and how far they are apart.
    """

    downsample: float
    region: int
    difference: FastDifference


@dataclass(frozen=True, kw_only=True)
class SlideImages:
    """A slide as it was read.

    Attributes:
        name: The slide's.
        fingerprint: Fingerprint of its content.
        width: Level-0 pixels.
        height: Level-0 pixels.
        mpp: Microns per level-0 pixel, or None.
        objective: Objective power, or None.
        reader: What decoded it.
        level: Pyramid level that was read.
        fast: A part of it that was read both ways; None at level 0.
        regions: In reading order.
        left_out: Number and reason of regions that no image could be made of.
        failed: Number and reason of damaged regions.
        warnings: Plain sentences.
        overview: The whole slide as JPEG, or None.
        header: Its DICOM header as a file without pixels, as :mod:`kdtrain.predict.dicom.header` makes it; None of a
            slide that is no DICOM, or where it was not asked for.
    """

    name: str
    fingerprint: str
    width: int
    height: int
    mpp: float | None
    objective: float | None
    reader: str
    level: int
    fast: FastField | None
    regions: tuple[ReadRegion, ...]
    left_out: tuple[tuple[int, str], ...]
    failed: tuple[tuple[int, str], ...]
    warnings: tuple[str, ...]
    overview: bytes | None
    header: bytes | None = field(default=None, repr=False)  # of a patient: in no message


@dataclass(frozen=True, kw_only=True)
class SlideUnread:
    """A slide that could not be read.

    Attributes:
        failures: The slide's, and those of its regions.
    """

    failures: tuple[Failure, ...]
