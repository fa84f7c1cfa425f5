"""cache.json as models: of a run's cache (version 1.0) and of any other teacher's (2.0). Pure.

Where draws change stains too, the versions are 3.0 and 4.0: a reader that passed over that part of a draw would show
the student another image than the teacher saw.

Fields that this version does not know are ignored: a newer minor version may add them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    field_validator,
    model_serializer,
)

from kdtrain.augment import AugmentSettings
from kdtrain.model.network import Network
from kdtrain.model.stain.target import StainTarget
from kdtrain.shards.models import Count, Positive, Sha256, Shard, SplitName

FORMAT_NAME = "kdtrain-teacher-cache"
CACHE_FILE = "cache.json"
STAINED = 2
"""Added to the major version where the draws change stains."""
MAX_VIEWS = 1000
"""Members are numbered by three digits."""
REMEDY = "run the 'kdtrain cache-teacher' command that made the cache once more: it writes damaged tars anew"

Classes = Annotated[tuple[str, ...], Field(min_length=2)]
Augments = Literal["image", "map"]
Bits = Annotated[str, StringConstraints(pattern=r"^[01]*$")]


class Document(BaseModel):
    """What is checked strictly as far as it is known."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class TeacherEntry(Document):
    """The teacher: its weights by their hash, its network, the splits that it was trained on."""

    weights_sha256: Sha256
    network: dict[str, Any]
    train_on: tuple[str, ...]

    @field_validator("network")
    @classmethod
    def _stain_is_known(cls, network: dict[str, Any]) -> dict[str, Any]:
        if network.get("stain") is not None:
            StainTarget.of(network["stain"])
        return network


class SourceEntry(Document):
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

    @property
    def augments(self) -> Augments:
        """What a draw is done to: whoever only has what a teacher said once can but turn that."""
        return "map" if self.kind == "features" else "image"


class StudentEntry(Document):
    """What the maps were resized for: magnification of the student's images, and their pixels per map cell."""

    magnification: Positive
    output_stride: Annotated[int, Field(ge=1)]


def without_stain(content: dict[str, Any], none: float | None) -> dict[str, Any]:
    """What is written of a draw or its settings: those that change no stain are written as they always were."""
    return {name: value for name, value in content.items() if name != "stain" or value != none}


class AugmentationEntry(Document):
    """Settings of the draws; see kdtrain.augment. ``stain`` is written only where it is not 0."""

    brightness: float
    contrast: float
    saturation: float
    hue: float
    horizontal_flip: bool
    vertical_flip: bool
    rotate: bool
    stain: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_stain(handler(self), 0.0)


class ShardEntry(Document):
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


class CacheSettings(Document):
    """What decides the bytes of a cache, beside the samples and the teacher.

    Attributes:
        student: Whom the maps are for.
        channels: Channels of a feature map.
        augmentation: None where nothing is augmented.
        seed: Seed of the draws.
        views: Draws of every sample that is trained on.
        precision: Precision of the teacher's arithmetic.
    """

    MAJOR: ClassVar[int]
    """Of the format, where no view's stain is changed."""

    student: StudentEntry
    channels: Annotated[int, Field(ge=1)]
    augmentation: AugmentationEntry | None
    seed: Count
    views: Annotated[int, Field(ge=1, le=MAX_VIEWS)]
    precision: str

    @property
    def expected_version(self) -> tuple[int, int]:
        """Of the format. A newer minor version only adds what a reader may ignore, so it is accepted."""
        stained = self.augmentation is not None and self.augmentation.stain > 0
        return self.MAJOR + STAINED * stained, 0

    @property
    def stain(self) -> StainTarget | None:
        """That the teacher's images are brought into first; None for their own."""
        return None

    @property
    def settings(self) -> AugmentSettings | None:
        """The augmentation as kdtrain.augment takes it."""
        return None if self.augmentation is None else AugmentSettings(**self.augmentation.model_dump())


class RunSettings(CacheSettings):
    """Of the cache of a run of kdtrain.

    Attributes:
        teacher: Whose outputs they are.
        classes: In the order of the logits.
    """

    MAJOR = 1
    teacher: TeacherEntry
    classes: Classes

    @property
    def stain(self) -> StainTarget | None:
        """As of every cache."""
        return Network.of(self.teacher.network).stain


class SourceSettings(CacheSettings):
    """Of the cache of any other teacher.

    Attributes:
        teacher: Whose outputs they are.
        classes: In the order of the logits; None where the teacher gives none.
        augments: What the draws' flips and turns were done to: the image that the teacher saw, or the map of a teacher
            that cannot be asked again, whose colours are then those of the slide.
    """

    MAJOR = 2
    teacher: SourceEntry
    classes: Classes | None
    augments: Augments


class _Written(Document):
    format: str
    version: tuple[int, int]
    created_by: dict[str, str]
    shards: tuple[ShardEntry, ...]


class RunDocument(RunSettings, _Written):
    """cache.json of versions 1 and 3."""


class SourceDocument(SourceSettings, _Written):
    """cache.json of versions 2 and 4."""


DOCUMENTS: dict[int, type[RunDocument] | type[SourceDocument]] = {
    1: RunDocument,
    2: SourceDocument,
    1 + STAINED: RunDocument,
    2 + STAINED: SourceDocument,
}
"""By major version."""


@dataclass(frozen=True, kw_only=True)
class TeacherCache:
    """A cache that was opened.

    Attributes:
        directory: The folder that holds cache.json.
        document: cache.json, checked.
        sha256: SHA-256 of cache.json: the identity of the cache, down to the last value.
    """

    directory: Path
    document: RunDocument | SourceDocument
    sha256: str

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the logits; none where the teacher gives none."""
        return self.document.classes or ()

    def entry_of(self, shard: Shard) -> ShardEntry | None:
        """The tar that belongs to a shard of the set, or None."""
        name = shard_name(shard.split, shard.number)
        return next((e for e in self.document.shards if shard_name(e.split, e.number) == name), None)


def shard_name(split: str, number: int) -> str:
    """``train-000003``."""
    return f"{split}-{number:06d}"


def to_json(document: Any) -> bytes:
    """As written: sorted keys, no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
