"""The record of a sample, as models, and the names of its members. Pure: bytes in, a checked record out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from kdtrain.augment import OPERATIONS, Draw
from kdtrain.data.teacher_cache.document import REMEDY, STAINED, Document, without_stain
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import one_line


class DrawEntry(Document):
    """One augmentation draw; see kdtrain.augment.Draw. ``stain`` is written only where there is one."""

    order: tuple[str, str, str, str]
    brightness: float
    contrast: float
    saturation: float
    hue: float
    horizontal_flip: bool
    vertical_flip: bool
    quarter_turns: Annotated[int, Field(ge=0, le=3)]
    stain: tuple[float, float, float, float, float, float] | None = None

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_stain(handler(self), None)


class ViewEntry(Document):
    """A view of a sample: its draw, and the CRC-32 of its member."""

    draw: DrawEntry
    crc32: Annotated[int, Field(ge=0, lt=2**32)]


class SampleEntry(Document):
    """The record of a sample: ``<key>.json``."""

    version: tuple[int, int]
    key: str
    views: Annotated[tuple[ViewEntry, ...], Field(min_length=1)]


def record_member(key: str) -> str:
    """Name of a sample's record."""
    return f"{key}.json"


def view_member(key: str, view: int) -> str:
    """Name of a view's tensors. A key has up to 90 characters and a name in a ustar header 100, hence so short."""
    return f"{key}.v{view:03d}.st"


def draw_entry(drawn: Draw) -> DrawEntry:
    """A draw as it is recorded."""
    return DrawEntry.model_validate(asdict(drawn))


def draw_of(entry: DrawEntry) -> Draw:
    """A recorded draw."""
    return Draw(**entry.model_dump())


def read_record(data: bytes, path: Path, key: str, *, major: int) -> SampleEntry:
    """A sample's record, checked.

    Args:
        data: The member.
        path: Of the tar, for messages.
        key: The sample's.
        major: Of the cache's version.

    Raises:
        ShardError: T14.
    """
    try:
        record = SampleEntry.model_validate_json(data)
    except ValidationError as error:
        raise _bad_record(path, key, one_line(error)) from error
    if record.version[0] != major:
        raise _bad_record(path, key, f"record version {list(record.version)}")
    if record.key != key:
        raise _bad_record(path, key, f"the record is that of {record.key!r}")
    if any(sorted(view.draw.order) != sorted(OPERATIONS) for view in record.views):
        raise _bad_record(path, key, "a draw's order does not name every colour operation once")
    if major <= STAINED and any(view.draw.stain is not None for view in record.views):
        raise _bad_record(path, key, f"a draw changes stains, in a cache of version {major}")
    return record


def _bad_record(path: Path, key: str, reason: str) -> ShardError:
    return ShardError("T14 record", path, reason, member=key, remedy=REMEDY)
