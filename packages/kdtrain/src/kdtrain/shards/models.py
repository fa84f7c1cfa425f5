"""index.json as kdtrain needs it, and the rules that tie its parts to each other (F05, F06).

Fields that this version does not know are ignored: a newer minor version may add them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from kdtrain.text import plural

Count = Annotated[int, Field(ge=0)]
SidePx = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
SplitName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,32}$")]
Rgb = tuple[float, float, float]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class Encoding(_Document):
    """How every image is encoded."""

    format: Literal["jpeg", "png", "webp"]
    quality: int | None


class Split(_Document):
    """Counts of one stored split; per_class is None where the split is unlabelled."""

    labelled: bool
    shards: Count
    samples: Count
    slides: Count
    patients: Count
    per_class: dict[str, Count] | None


class ShardFile(_Document):
    """One tar: path relative to index.json, bytes, SHA-256."""

    path: str
    bytes: Count
    sha256: Sha256


class Shard(_Document):
    """Samples in their order, in one tar per magnification; cells are (columns, rows) of the grid."""

    split: SplitName
    number: Count
    samples: Count
    keys_sha256: Sha256
    cells: tuple[tuple[SidePx, SidePx], ...]
    files: dict[str, ShardFile]

    def stored_at(self, position: int) -> tuple[Shard, int]:
        """The shard and the position in its tars that a position of this one means: itself and the same."""
        return self, position


class ShardPart(Shard):
    """Some samples of a stored shard, as a shard of another split; ``files`` are the stored one's, whole.

    Attributes:
        stored: The shard as the set has it.
        positions: Of these samples in it, ascending.
    """

    stored: Shard
    positions: tuple[Count, ...]

    def stored_at(self, position: int) -> tuple[Shard, int]:
        """The stored shard, and the position in its tars of a position of this part."""
        return self.stored, self.positions[position]


class Statistics(_Document):
    """Per-channel mean and population standard deviation, grey levels 0 to 255."""

    pixels: SidePx
    mean: Rgb
    std: Rgb


class IndexDocument(_Document):
    """The fields of index.json that training needs; SHARD_FORMAT.md explains each."""

    version: tuple[int, int]
    config: dict[str, Any]
    synthetic: bool
    magnification_by: Literal["objective", "mpp"]
    magnifications: Annotated[tuple[Positive, ...], Field(min_length=1)]
    grid: dict[str, SidePx]
    image: Encoding
    classes: tuple[str, ...]
    splits: dict[SplitName, Split]
    sets: dict[SplitName, tuple[str, ...]]
    shards: tuple[Shard, ...]
    statistics: dict[str, Statistics] | None


def magnification_name(magnification: float) -> str:
    """Folder and index name of a magnification: ``10x``, ``0.625x``."""
    return f"{magnification:g}x"


def first_fault(index: IndexDocument) -> tuple[str, str] | None:
    """The first rule among F05 and F06 that the index breaks, with the reason, or None."""
    reason = next(_shard_faults(index), None)
    if reason is not None:
        return "F05 index-shards", reason
    reason = next(_set_faults(index), None)
    return None if reason is None else ("F06 index-sets", reason)


def _shard_faults(index: IndexDocument) -> Iterator[str]:
    names = [magnification_name(m) for m in index.magnifications]
    if list(index.magnifications) != sorted(set(index.magnifications), reverse=True):
        yield f"magnifications {list(index.magnifications)} do not descend"
    if set(index.grid) != set(names) or any(
        abs(index.grid[name] * index.magnifications[0] - index.grid[names[0]] * m) > 1e-6 * m
        for name, m in zip(names, index.magnifications, strict=True)
    ):
        yield f"grid {index.grid} is not in the ratio of the magnifications {names}"
    if index.statistics is not None and set(index.statistics) != set(names):
        yield f"statistics are for {sorted(index.statistics)}, magnifications are {names}"
    places = [(shard.split, shard.number) for shard in index.shards]
    if places != sorted(places):
        yield "shards are not sorted by split and number"
    for split, group in groupby(places, key=lambda place: place[0]):
        numbers = [number for _, number in group]
        if numbers != list(range(len(numbers))):
            yield f"the shards of split {split!r} are numbered {numbers[:5]}, not 0, 1, 2"
    for shard in index.shards:
        yield from _paths(shard, names)


def _paths(shard: Shard, names: list[str]) -> Iterator[str]:
    name = f"{shard.split}-{shard.number:06d}.tar"
    paths = {m: file.path for m, file in shard.files.items()}
    if paths != {m: f"{m}/{name}" for m in names}:
        yield f"the files of {name} are {sorted(paths.values())}, not one '<magnification>/{name}' each"
    if shard.samples != len(shard.cells):
        yield f"{name} has {plural(shard.samples, 'sample')} but {plural(len(shard.cells), 'size')}"


def _set_faults(index: IndexDocument) -> Iterator[str]:
    for name, split in index.splits.items():
        shards = [shard for shard in index.shards if shard.split == name]
        if index.sets.get(name) != (name,):
            yield f"sets[{name!r}] is {index.sets.get(name)}, not the split itself"
        if (split.shards, split.samples) != (len(shards), sum(shard.samples for shard in shards)):
            said = f"{plural(split.shards, 'shard')} and {plural(split.samples, 'sample')}"
            yield f"split {name!r} says {said}; they add up otherwise"
        if (split.per_class is not None) != split.labelled:
            yield f"split {name!r}: 'labelled' is {split.labelled}, but per_class is {split.per_class}"
        if split.per_class is not None and (
            set(split.per_class) != set(index.classes) or sum(split.per_class.values()) != split.samples
        ):
            yield f"per_class of split {name!r} is {split.per_class}: other classes or another sum"
    for name, parts in index.sets.items():
        if not parts or len(set(parts)) != len(parts) or not set(parts) <= set(index.splits):
            yield f"set {name!r} is {list(parts)}; there are the splits {sorted(index.splits)}"
    if stray := {shard.split for shard in index.shards} - set(index.splits):
        yield f"there are shards of {sorted(stray)}, which is no split"
