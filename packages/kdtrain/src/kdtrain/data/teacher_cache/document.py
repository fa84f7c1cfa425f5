"""cache.json and the record of a sample, as models; the names of members. Pure: bytes in, checked documents out.

Fields that this version does not know are ignored: a newer minor version may add them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from kdtrain.augment import OPERATIONS, AugmentSettings, Draw
from kdtrain.model.network import Network
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import one_line
from kdtrain.shards.models import Count, Positive, Sha256, Shard, SplitName

FORMAT_NAME = "kdtrain-teacher-cache"
FORMAT_VERSION = (1, 0)
"""A newer minor version only adds what a reader may ignore, so it is accepted."""
CACHE_FILE = "cache.json"
MAX_VIEWS = 1000
"""Members are numbered by three digits."""
REMEDY = "run the 'kdtrain cache-teacher' command that made the cache once more: it writes damaged tars anew"

Bits = Annotated[str, StringConstraints(pattern=r"^[01]*$")]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class TeacherEntry(_Document):
    """The teacher: its weights by their hash, its network, the splits that it was trained on."""

    weights_sha256: Sha256
    network: dict[str, Any]
    train_on: tuple[str, ...]


class SourceEntry(_Document):
    """A teacher that is no run of kdtrain, by its content.

    Attributes:
        kind: An ONNX file, a Python callable, or features on disk.
        name: As it was asked for, for people.
        sha256: Of what decides its outputs: the file with its external data, the callable's module, the features.
        magnification: That it looks at; None where it was not said (features on disk).
        settings: Whatever else decides its outputs: tile, overlap, means and deviations, ...
    """

    kind: Literal["onnx", "callable", "features"]
    name: str
    sha256: Sha256
    magnification: Positive | None
    settings: dict[str, Any]


class StudentEntry(_Document):
    """What the maps were resized for: magnification of the student's images, and their pixels per map cell."""

    magnification: Positive
    output_stride: Annotated[int, Field(ge=1)]


class AugmentationEntry(_Document):
    """Settings of the draws; see kdtrain.augment."""

    brightness: float
    contrast: float
    saturation: float
    hue: float
    horizontal_flip: bool
    vertical_flip: bool
    rotate: bool


class ShardEntry(_Document):
    """One tar of a cache.

    Attributes:
        split: Split of the source shard.
        number: Number of the source shard.
        path: Relative to cache.json.
        bytes: Bytes of the tar.
        sha256: SHA-256 of the tar.
        samples: Samples of the source shard.
        keys_sha256: As the set's index states it.
        sources: SHA-256 of the source tars, at the teacher's and the student's magnification ("10x").
        augmented: Whether its views are augmented: of splits to train on.
        turned: One string a view: "1" for every sample whose image was turned by an odd number of quarters.
    """

    split: SplitName
    number: Count
    path: str
    bytes: Count
    sha256: Sha256
    samples: Count
    keys_sha256: Sha256
    sources: dict[str, Sha256]
    augmented: bool
    turned: Annotated[tuple[Bits, ...], Field(min_length=1, max_length=MAX_VIEWS)]


class CacheSettings(_Document):
    """What decides the bytes of a cache, beside the samples.

    Attributes:
        teacher: Whose outputs they are.
        student: Whom they are for.
        classes: In the order of the logits.
        channels: Channels of a feature map.
        augmentation: None where nothing is augmented.
        seed: Seed of the draws.
        views: Draws of every sample that is trained on.
        precision: Precision of the teacher's arithmetic.
    """

    teacher: TeacherEntry
    student: StudentEntry
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    channels: Annotated[int, Field(ge=1)]
    augmentation: AugmentationEntry | None
    seed: Count
    views: Annotated[int, Field(ge=1, le=MAX_VIEWS)]
    precision: str

    @property
    def settings(self) -> AugmentSettings | None:
        """The augmentation as kdtrain.augment takes it."""
        return None if self.augmentation is None else AugmentSettings(**self.augmentation.model_dump())


class CacheDocument(CacheSettings):
    """cache.json."""

    format: str
    version: tuple[int, int]
    created_by: dict[str, str]
    shards: tuple[ShardEntry, ...]


class DrawEntry(_Document):
    """One augmentation draw; see kdtrain.augment.Draw."""

    order: tuple[str, str, str, str]
    brightness: float
    contrast: float
    saturation: float
    hue: float
    horizontal_flip: bool
    vertical_flip: bool
    quarter_turns: Annotated[int, Field(ge=0, le=3)]


class ViewEntry(_Document):
    """A view of a sample: its draw, and the CRC-32 of its member."""

    draw: DrawEntry
    crc32: Annotated[int, Field(ge=0, lt=2**32)]


class SampleEntry(_Document):
    """The record of a sample: ``<key>.json``."""

    version: tuple[int, int]
    key: str
    views: Annotated[tuple[ViewEntry, ...], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class TeacherCache:
    """A cache that was opened.

    Attributes:
        directory: The folder that holds cache.json.
        document: cache.json, checked.
        sha256: SHA-256 of cache.json: the identity of the cache, down to the last value.
    """

    directory: Path
    document: CacheDocument
    sha256: str

    @property
    def network(self) -> Network:
        """The teacher's."""
        return Network.of(self.document.teacher.network)

    def entry_of(self, shard: Shard) -> ShardEntry | None:
        """The tar that belongs to a shard of the set, or None."""
        name = shard_name(shard.split, shard.number)
        return next((e for e in self.document.shards if shard_name(e.split, e.number) == name), None)


def shard_name(split: str, number: int) -> str:
    """``train-000003``."""
    return f"{split}-{number:06d}"


def record_member(key: str) -> str:
    """Name of a sample's record."""
    return f"{key}.json"


def view_member(key: str, view: int) -> str:
    """Name of a view's tensors. A key has up to 90 characters and a name in a ustar header 100, hence so short."""
    return f"{key}.v{view:03d}.st"


def to_json(document: Any) -> bytes:
    """As written: sorted keys, no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def draw_entry(drawn: Draw) -> DrawEntry:
    """A draw as it is recorded."""
    return DrawEntry.model_validate(asdict(drawn))


def draw_of(entry: DrawEntry) -> Draw:
    """A recorded draw."""
    return Draw(**entry.model_dump())


def read_record(data: bytes, path: Path, key: str) -> SampleEntry:
    """A sample's record, checked.

    Raises:
        ShardError: T14.
    """
    try:
        record = SampleEntry.model_validate_json(data)
    except ValidationError as error:
        raise _bad_record(path, key, one_line(error)) from error
    if record.version[0] != FORMAT_VERSION[0]:
        raise _bad_record(path, key, f"record version {list(record.version)}")
    if record.key != key:
        raise _bad_record(path, key, f"the record is that of {record.key!r}")
    if any(sorted(view.draw.order) != sorted(OPERATIONS) for view in record.views):
        raise _bad_record(path, key, "a draw's order does not name every colour operation once")
    return record


def _bad_record(path: Path, key: str, reason: str) -> ShardError:
    return ShardError("T14 record", path, reason, member=key, remedy=REMEDY)
