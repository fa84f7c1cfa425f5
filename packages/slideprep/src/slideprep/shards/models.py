"""The shard contract's records as typed models: a sample's JSON and index.json, field by field.

Checked on construction, so a record that exists is one that the schemas under shards/ accept. What ties
fields to each other, to the tars and to the pixels is checked by verify.

Frames: ``region`` is in level-0 pixels, (x, y) top left of the laid-out box; ``image`` and ``valid`` are in
pixels of that magnification's image.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from slideprep.units import MagnificationMode

SidePx = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
GreyLevel = Annotated[float, Field(ge=0, le=255)]
Key = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,90}$")]
SplitName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,32}$")]
MagnificationName = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?x$")]
ShardName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,32}-[0-9]{6,}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
NonEmpty = Annotated[str, StringConstraints(min_length=1)]
Version = tuple[Count, Count]
Rgb = tuple[GreyLevel, GreyLevel, GreyLevel]
ImageFormat = Literal["jpeg", "png", "webp"]
Quality = Annotated[int, Field(ge=1, le=100)]
RegionSource = Literal["auto", "tissueloc", "whole", "annotations"]
StatisticsOf = Literal["decoded", "unencoded"]
"""The pixels that colour statistics are of: of the stored images as they decode, or of the same before encoding."""


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, populate_by_name=True
    )


class PixelBox(_Model):
    """A half-open box in one image's pixels, (x, y) top left."""

    x: Count
    y: Count
    width: SidePx
    height: SidePx


class Region(_Model):
    """Where a sample lies on its slide, in level-0 pixels; the same at every magnification.

    Attributes:
        index: Number of the region on its slide, from 0; the key ends with it.
        x: Left edge of the laid-out box; negative only where the slide is too small and is padded.
        y: Top edge of the laid-out box.
        width: Image width times factor; fractional where the factor is.
        height: Image height times factor.
        source: The tissue mode that found the region.
        class_name: "class" in JSON: class of the annotation it came from; null in unlabelled splits.
        name: The annotation's own name.
        masked_outside: Whether everything outside the annotation was blanked.
    """

    index: Count
    x: int
    y: int
    width: Positive
    height: Positive
    source: RegionSource
    class_name: NonEmpty | None = Field(validation_alias="class", serialization_alias="class")
    name: str | None
    masked_outside: bool


class ImageRecord(_Model):
    """The image member: size in pixels, encoding, and the part that shows slide (see valid_box)."""

    width: SidePx
    height: SidePx
    format: ImageFormat
    quality: Quality | None
    valid: PixelBox


class Level0(_Model):
    """The slide's full-resolution image: size in pixels, µm per pixel, objective, where both came from."""

    width: SidePx
    height: SidePx
    mpp: Positive | None
    mpp_source: NonEmpty | None
    objective: Positive | None
    objective_source: NonEmpty | None


class SampleRecord(_Model):
    """A sample's ``.json`` member at one magnification.

    Attributes:
        version: The record's (major, minor), see RECORD_VERSION.
        key: The sample's key; the same at every magnification.
        slide: File name of the slide, or its pseudonym.
        patient: Patient name, or its pseudonym.
        label: Class name; null in unlabelled splits.
        split: The stored split (never a union).
        region: Where the sample lies on the slide.
        image: The image member beside this record.
        magnification: Nominal or physical magnification, as ``magnification_by`` says.
        magnification_by: "objective" or "mpp".
        factor: Level-0 pixels per image pixel along one side.
        mpp: Physical µm per image pixel, or null where the slide carries no mpp.
        level0: The slide's full-resolution image.
        reader: The library and path that decoded the slide.
    """

    version: Version
    key: Key
    slide: NonEmpty
    patient: NonEmpty
    label: NonEmpty | None
    split: SplitName
    region: Region
    image: ImageRecord
    magnification: Positive
    magnification_by: MagnificationMode
    factor: Annotated[float, Field(ge=1)]
    mpp: Positive | None
    level0: Level0
    reader: NonEmpty


class CreatedBy(_Model):
    """Versions of slideprep and of the libraries that decide pixels and bytes."""

    slideprep: NonEmpty
    libraries: dict[str, str]


class ImageEncoding(_Model):
    """How every image of the set is encoded; quality is null where the encoding is lossless."""

    format: ImageFormat
    quality: Quality | None


class SplitEntry(_Model):
    """Counts of one stored split; per_class is null where the split is unlabelled."""

    labelled: bool
    shards: Count
    samples: Count
    slides: Count
    patients: Count
    per_class: dict[str, Count] | None


class ShardFile(_Model):
    """One tar: its path relative to index.json, its size in bytes and the SHA-256 of its bytes."""

    path: NonEmpty
    bytes: Count
    sha256: Sha256


class ShardEntry(_Model):
    """One shard: the same samples, in the same order, in one tar per magnification.

    Attributes:
        split: The stored split.
        number: From 0 in each split, without gaps.
        samples: Number of samples; 0 where every slide of the shard failed.
        keys_sha256: SHA-256 of the keys in order, joined by newlines (no newline at the end).
        cells: (columns, rows) of each sample in order: an image is ``columns * grid[m]`` pixels wide at m.
        files: The tar of each magnification, by magnification name.
    """

    split: SplitName
    number: Count
    samples: Count
    keys_sha256: Sha256
    cells: tuple[tuple[SidePx, SidePx], ...]
    files: dict[MagnificationName, ShardFile]


class Statistics(_Model):
    """Per-channel mean and population standard deviation in grey levels, over all pixels."""

    pixels: Annotated[int, Field(ge=1)]
    mean: Rgb
    std: Rgb


class Change(_Model):
    """What was done to the set after its build.

    Attributes:
        operation: The command, such as "add-slides".
        slides: How many slides it added, removed or gave another label.
        shards: Names of the shards that it wrote, new ones and those written again: ``train-000004``.
        created_by: Versions of the software that did it.
    """

    operation: NonEmpty
    slides: Count
    shards: tuple[ShardName, ...]
    created_by: CreatedBy


class Counts(_Model):
    """Totals: slides, patients and regions in the set, and slides and regions that were left out."""

    slides: Count
    slides_failed: Count
    regions: Count
    regions_left_out: Count
    patients: Count


class Index(_Model):
    """index.json: what the set holds; written last, so its presence says that the build finished.

    Attributes:
        format: Always "slideprep-shards".
        version: The format's (major, minor).
        created_by: Versions of the software that wrote the set.
        config: The resolved settings of the build.
        synthetic: Whether the slides were generated rather than scanned.
        magnification_by: What a magnification means in this set.
        magnifications: Highest first.
        grid: Pixels per cell at each magnification (see ShardEntry.cells).
        image: The encoding of every image.
        classes: Class names; a ``.cls`` member is an index into this list.
        splits: The stored splits by name.
        sets: Every name that can be read, stored splits included, as the stored splits that make it up.
        shards: Sorted by (split, number).
        statistics: By magnification name, over split "train"; null where that is unlabelled, absent or empty.
        statistics_shards: Numbers of the shards of "train" that ``statistics`` counts; null for all of them.
        statistics_of: The pixels that ``statistics`` are of; null as "decoded" in sets of earlier versions.
        changes: What was done to the set after its build, in order.
        counts: Totals over all splits.
    """

    format: Literal["slideprep-shards"]
    version: Version
    created_by: CreatedBy
    config: dict[str, JsonValue]
    synthetic: bool
    magnification_by: MagnificationMode
    magnifications: Annotated[tuple[Positive, ...], Field(min_length=1)]
    grid: dict[MagnificationName, SidePx]
    image: ImageEncoding
    classes: tuple[NonEmpty, ...]
    splits: dict[SplitName, SplitEntry]
    sets: dict[SplitName, tuple[SplitName, ...]]
    shards: tuple[ShardEntry, ...]
    statistics: dict[MagnificationName, Statistics] | None
    statistics_shards: tuple[Count, ...] | None = None
    statistics_of: StatisticsOf | None = None
    changes: tuple[Change, ...] = ()
    counts: Counts
