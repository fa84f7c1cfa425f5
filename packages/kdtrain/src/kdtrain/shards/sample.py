"""A raw sample of a shard in, the sample decoded and checked against the index out: pixels, label, provenance.

Only the fields named in
SHARD_FORMAT.md are decoded, each by its own decoder: an image by Pillow's decoder for the format that the
index names, JSON by a schema, the label as decimal digits.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdtrain.shards.error import ShardError
from kdtrain.shards.index import FORMAT_MAJOR, Index, one_line
from kdtrain.shards.models import magnification_name
from kdtrain.shards.tar import IMAGE_EXTENSIONS, RawSample

# The plugins are called by name: Image.open would try others, and its limit of 179 megapixels refuses real
# samples. The limit's purpose is met otherwise: the header's size must be the one that the index states.
_DECODERS: dict[str, Any] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
}
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, struct.error)
"""What Pillow's plugins raise on damaged data."""
_SidePx = Annotated[int, Field(ge=1)]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class RegionRecord(_Document):
    """Where the sample lies on its slide: level-0 pixels, (x, y) top left; its annotation's class, None without one."""

    index: int
    x: int
    y: int
    width: float
    height: float
    class_name: str | None = Field(alias="class")


class ImageRecord(_Document):
    """Size in the image's own pixels, and its format."""

    width: _SidePx
    height: _SidePx
    format: str


class Level0Record(_Document):
    """Size of the slide's full resolution, pixels; what it says of its own scale, None where it says nothing."""

    width: _SidePx
    height: _SidePx
    mpp: float | None
    objective: float | None


class SampleRecord(_Document):
    """The fields of a sample's JSON that training and evaluation need; SHARD_FORMAT.md explains each."""

    version: tuple[int, int]
    key: str
    slide: str
    patient: str
    label: str | None
    split: str
    region: RegionRecord
    image: ImageRecord
    magnification: float
    magnification_by: str
    factor: float
    mpp: float | None
    level0: Level0Record
    reader: str


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A decoded sample.

    Attributes:
        key: The same at every magnification.
        image: (rows, columns, 3) uint8, RGB; None where pixels were not asked for.
        data: The image as it is stored, its header checked.
        label: Index into the set's classes; None in unlabelled splits.
        record: Provenance.
    """

    key: str
    image: NDArray[np.uint8] | None
    data: bytes
    label: int | None
    record: SampleRecord


def decode_sample(
    raw: RawSample,
    index: Index,
    *,
    split: str,
    magnification: float,
    size: tuple[int, int],
    pixels: bool = True,
) -> Sample:
    """Decode and check one sample.

    Args:
        raw: The sample's members.
        index: The set that it belongs to.
        split: The stored split of its shard.
        magnification: The magnification of its tar.
        size: (width, height) in pixels that the index states.
        pixels: Whether to decode the image; its header is checked in any case.

    Raises:
        ShardError: F16 and F18 to F22.
    """
    labelled = index.document.splits[split].labelled
    _check_fields(raw, index, labelled)
    record = _record(raw)
    _check_place(raw, record, index, split, magnification)
    label = _label(raw, record, index.document.classes, labelled)
    data = next(raw.fields[extension] for extension in raw.fields if extension in IMAGE_EXTENSIONS)
    image = _image(data, raw, record, index.document.image.format, size, pixels)
    return Sample(key=raw.key, image=image, data=data, label=label, record=record)


def _fail(rule: str, raw: RawSample, reason: str) -> ShardError:
    return ShardError(rule, raw.path, reason, member=raw.key)


def _check_fields(raw: RawSample, index: Index, labelled: bool) -> None:
    extension = next(e for e, name in IMAGE_EXTENSIONS.items() if name == index.document.image.format)
    wanted = {extension, "json"} | ({"cls"} if labelled else set())
    if set(raw.fields) != wanted:
        reason = f"the fields are {sorted(raw.fields)}, not {sorted(wanted)}"
        raise _fail("F16 sample-members", raw, reason)


def _record(raw: RawSample) -> SampleRecord:
    try:
        record = SampleRecord.model_validate_json(raw.fields["json"])
    except ValidationError as error:
        raise _fail("F18 record-schema", raw, one_line(error)) from error
    if record.version[0] != FORMAT_MAJOR:
        raise _fail("F18 record-schema", raw, f"record version {record.version}")
    return record


def _check_place(
    raw: RawSample, record: SampleRecord, index: Index, split: str, magnification: float
) -> None:
    document = index.document
    given = (record.key, record.split, record.magnification, record.magnification_by, record.image.format)
    wanted = (raw.key, split, magnification, document.magnification_by, document.image.format)
    if given != wanted:
        name = magnification_name(magnification)
        reason = f"the record says {given}, but it lies in {name}/{split} of a set that says {wanted}"
        raise _fail("F19 record-place", raw, reason)


def _label(raw: RawSample, record: SampleRecord, classes: tuple[str, ...], labelled: bool) -> int | None:
    if not labelled:
        for name, shown in (("label", record.label), ("region.class", record.region.class_name)):
            if shown is not None:
                raise _fail("F20 label", raw, f"{name} {shown!r} in an unlabelled split")
        return None
    number = class_number(raw, classes)
    if record.label != classes[number]:
        reason = f".cls means {classes[number]!r}, but the record says {record.label!r}"
        raise _fail("F20 label", raw, reason)
    if record.region.class_name not in (None, record.label):
        reason = f"label is {record.label!r}, but the region's annotation says {record.region.class_name!r}"
        raise _fail("F20 label", raw, reason)
    return number


def class_number(raw: RawSample, classes: tuple[str, ...]) -> int:
    """What ``.cls`` of a sample says, of which no other member need have been read.

    Raises:
        ShardError: F16 where there is none, F20 where it is no number of a class.
    """
    text = raw.fields.get("cls")
    if text is None:
        raise _fail("F16 sample-members", raw, "there is no .cls, and the split is labelled")
    if not re.fullmatch(rb"0|[1-9][0-9]*", text) or int(text) >= len(classes):
        raise _fail("F20 label", raw, f".cls is {text!r}, not a class number from 0 to {len(classes) - 1}")
    return int(text)


def open_image(kind: str, file: io.BytesIO) -> Image.Image:
    """An encoded image by the decoder of its format alone, its header read; pixels are decoded when they are asked for.

    Args:
        kind: "jpeg", "png" or "webp".
        file: Its bytes.

    Raises:
        Exception: Any of several kinds, where it is no such image; pixels raise the same where they are damaged.
    """
    image: Image.Image = _DECODERS[kind](file)
    return image


def _image(
    data: bytes, raw: RawSample, record: SampleRecord, kind: str, size: tuple[int, int], pixels: bool
) -> NDArray[np.uint8] | None:
    try:
        image = open_image(kind, io.BytesIO(data))
    except DAMAGE as error:
        raise _fail("F21 image-header", raw, f"not a {kind} image: {error}") from error
    stated = (record.image.width, record.image.height)
    if image.mode != "RGB" or not image.size == size == stated:
        reason = f"an {image.mode} image of {image.size}; the record says RGB {stated}, the index {size}"
        raise _fail("F21 image-header", raw, reason)
    if not pixels:
        return None
    try:
        image.load()
    except DAMAGE as error:
        raise _fail("F22 image-data", raw, f"the image cannot be decoded: {error}") from error
    return np.array(image)
