"""The reader's half of the shard contract (shards/SHARD_FORMAT.md): a folder or its URL in, a checked index out.

Everything that can be known without opening a tar is checked at once, so that a wrong or unfinished set fails
in the first second; members and samples are checked at the first touch (shard_tar, shard_sample). This half
shares no code with the writer: the document and the golden set under shards/ are what keep the two together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kdtrain.shards.cache import CacheSettings, cache_settings
from kdtrain.shards.error import ShardError
from kdtrain.shards.locations import Location, Url, location_of
from kdtrain.shards.models import IndexDocument, Shard, ShardFile, Statistics, first_fault, magnification_name

FORMAT_NAME = "slideprep-shards"
FORMAT_MAJOR = 1
"""A newer minor version only adds what a reader may ignore, so it is accepted."""
INDEX_NAME = "index.json"


@dataclass(frozen=True, kw_only=True)
class Index:
    """A shard set that was opened.

    Attributes:
        directory: The folder that holds index.json.
        document: index.json, checked.
        sha256: SHA-256 of index.json: the identity of the set, down to the last pixel.
        cache: Where shards are kept that are fetched from a URL.
        view_of: The set as it is stored, where this is a view of it with other splits; else None.
    """

    directory: Location
    document: IndexDocument
    sha256: str
    cache: CacheSettings = field(default_factory=cache_settings)
    view_of: Index | None = None
    _paths: dict[str, Location] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def stored(self) -> Index:
        """The set as its tars have it."""
        return self.view_of or self

    def require(self, *, magnification: float | None = None, split: str | None = None) -> None:
        """Refuse a magnification, or a split or set, that this set does not hold.

        Raises:
            ShardError: Names what was asked for and what there is.
        """
        if magnification is not None and magnification not in self.document.magnifications:
            there = ", ".join(magnification_name(m) for m in self.document.magnifications)
            self._refuse(magnification_name(magnification), there, "choose one of these, or build it")
        if split is not None and split not in self.document.sets:
            self._refuse(
                f"split or set {split!r}", ", ".join(sorted(self.document.sets)), "choose one of these"
            )

    def _refuse(self, asked: str, there: str, remedy: str) -> None:
        raise ShardError("request", self.directory, f"no {asked} here; there is {there}", remedy=remedy)

    def shards_of(self, split: str) -> tuple[Shard, ...]:
        """The shards of a split, or of a set such as aux2, in the order of the set and of their numbers."""
        self.require(split=split)
        parts = self.document.sets[split]
        return tuple(shard for part in parts for shard in self.document.shards if shard.split == part)

    def is_labelled(self, split: str) -> bool:
        """Whether every part of a split or set carries labels."""
        self.require(split=split)
        return all(self.document.splits[part].labelled for part in self.document.sets[split])

    def path_of(self, shard: Shard, magnification: float) -> Location:
        """Where the tar of a shard at a magnification lies."""
        self.require(magnification=magnification)
        path = shard.files[magnification_name(magnification)].path
        # Kept, since it is asked three times a sample and pathlib takes its time.
        if path not in self._paths:
            self._paths[path] = self.directory / path
        return self._paths[path]

    def sizes_of(self, shard: Shard, magnification: float) -> tuple[tuple[int, int], ...]:
        """(width, height) in pixels of every sample of a shard in order, without opening its tar."""
        self.require(magnification=magnification)
        cell_px = self.document.grid[magnification_name(magnification)]
        return tuple((columns * cell_px, rows * cell_px) for columns, rows in shard.cells)

    def size_of(self, shard: Shard, position: int, magnification: float) -> tuple[int, int]:
        """(width, height) in pixels of one sample of a shard, as ``sizes_of`` has it, without going through all."""
        self.require(magnification=magnification)
        cell_px = self.document.grid[magnification_name(magnification)]
        columns, rows = shard.cells[position]
        return columns * cell_px, rows * cell_px

    def statistics_of(self, magnification: float) -> Statistics:
        """Mean and standard deviation of the labelled training split, in grey levels 0 to 255.

        Raises:
            ShardError: The set has no labelled training split.
        """
        self.require(magnification=magnification)
        if self.document.statistics is None:
            remedy = "take the statistics of the run that trained the teacher"
            reason = "no colour statistics: the set has no labelled training split"
            raise ShardError("request", self.directory, reason, remedy=remedy)
        return self.document.statistics[magnification_name(magnification)]


def read_index(
    directory: Location | str,
    cache: CacheSettings | None = None,
    *,
    magnifications: Collection[float] | None = None,
) -> Index:
    """Open a shard set: its index, and that every file it names is there in full size.

    Args:
        directory: The folder that ``slideprep build-shards --out`` wrote, or its URL.
        cache: For the shards of a URL; None takes the defaults.
        magnifications: That are going to be read: files of others may be away. None for all.

    Raises:
        ShardError: F01 to F08, at the first rule that is broken; the storage does not answer.
        UsageError: A URL that cannot be read: its package is not installed, or credentials are missing.
    """
    directory = location_of(directory)
    path = directory / INDEX_NAME
    data = _index_bytes(path)
    if data is None:
        reason, remedy = no_index(directory)
        raise ShardError("F01 index-present", directory, reason, remedy=remedy)
    _check_version(data, path)
    document = _parse(data, path)
    fault = first_fault(document)
    if fault is not None:
        raise ShardError(fault[0], path, fault[1])
    _check_files(directory, _files(document, magnifications))
    digest = hashlib.sha256(data).hexdigest()
    return Index(directory=directory, document=document, sha256=digest, cache=cache or cache_settings())


def union_of(index: Index, names: Sequence[str]) -> tuple[Index, str]:
    """One set out of several splits or sets, each stored split once.

    Args:
        index: The shard set.
        names: Splits or named sets.

    Raises:
        ShardError: One of them does not exist.
    """
    for name in names:
        index.require(split=name)
    if len(names) == 1:
        return index, names[0]
    joined = "+".join(names)
    parts = tuple(dict.fromkeys(part for name in names for part in index.document.sets[name]))
    sets = {**index.document.sets, joined: parts}
    return replace(index, document=index.document.model_copy(update={"sets": sets})), joined


_OTHERS = {
    "run.json": "the folder of a run",
    "sweep.json": "the folder of a sweep",
    "cache.json": "a teacher cache",
    "bundle.json": "a bundle",
    "predict.json": "a folder of predictions",
}
"""What a folder is that is no shard set, by a file in it."""


def no_index(directory: Location) -> tuple[str, str]:
    """What a folder without an index is, and what to do: only a build that was begun can be finished."""
    reason = f"there is no {INDEX_NAME}"
    give = "give the folder that 'slideprep build-shards --out' wrote"
    if not isinstance(directory, Path):
        return (
            f"{reason}; it is written last, so this is no shard set or an unfinished one",
            f"{give}, or run that command again to finish it",
        )
    if (directory / ".slideprep").is_dir():
        return (
            f"{reason}; it is written last, so this set is unfinished",
            "run the same 'slideprep build-shards' command again to finish it",
        )
    if other := next((what for name, what in _OTHERS.items() if (directory / name).is_file()), None):
        return f"{reason}; this is {other}, no shard set", give
    if inside := sorted(path.parent.name for path in directory.glob(f"*/{INDEX_NAME}")):
        return (
            f"{reason} here, but in {', '.join(inside[:3])}, which lies in it",
            f"give {directory / inside[0]}",
        )
    return f"{reason}; this is no shard set", give


def _index_bytes(path: Location) -> bytes | None:
    if isinstance(path, Path):
        return path.read_bytes() if path.is_file() else None
    from kdtrain.shards.remote import read_bytes

    try:
        return read_bytes(path)
    except FileNotFoundError:
        return None


def _check_version(data: bytes, path: Location) -> None:
    try:
        raw: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ShardError("F02 index-schema", path, f"not JSON: {error}") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT_NAME:
        given = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        remedy = "point --shards at a folder that slideprep wrote"
        reason = f"'format' is {given!r}, not {FORMAT_NAME!r}"
        raise ShardError("F03 format-name", path, reason, remedy=remedy)
    version = raw.get("version")
    if not isinstance(version, list) or version[:1] != [FORMAT_MAJOR]:
        remedy = "use the kdtrain that goes with the slideprep that wrote it, or build the set again"
        reason = f"format version {version} cannot be read; this reader knows {FORMAT_MAJOR}.x"
        raise ShardError("F04 format-version", path, reason, remedy=remedy)


def _parse(data: bytes, path: Location) -> IndexDocument:
    try:
        return IndexDocument.model_validate_json(data)
    except ValidationError as error:
        raise ShardError("F02 index-schema", path, one_line(error)) from error


def one_line(error: ValidationError) -> str:
    """The first thing that pydantic found wrong, and how many more there are."""
    first, *more = error.errors(include_url=False)
    where = ".".join(str(part) for part in first["loc"])[:200]
    return f"{where}: {first['msg']}" + (f" (and {len(more)} more)" if more else "")


def _files(document: IndexDocument, magnifications: Collection[float] | None) -> list[ShardFile]:
    names = None if magnifications is None else {magnification_name(m) for m in magnifications}
    return [
        file
        for shard in document.shards
        for name, file in shard.files.items()
        if names is None or name in names
    ]


def _check_files(directory: Location, files: Sequence[ShardFile]) -> None:
    sizes = _local_sizes(directory, files) if isinstance(directory, Path) else _sizes_at(directory, files)
    for file in files:
        path, size = directory / file.path, sizes.get(file.path)
        if size is None:
            raise ShardError("F07 file-present", path, "the index names this file, but it is not there")
        if size != file.bytes:
            reason = f"{size} bytes, but the index says {file.bytes}"
            raise ShardError("F08 file-size", path, reason)


def _local_sizes(directory: Path, files: Sequence[ShardFile]) -> dict[str, int]:
    paths = [file.path for file in files]
    return {path: (directory / path).stat().st_size for path in paths if (directory / path).is_file()}


def _sizes_at(directory: Url, files: Sequence[ShardFile]) -> dict[str, int]:
    """By one listing of each magnification: asking for every file would be a request each."""
    from kdtrain.shards.remote import sizes_in

    folders = sorted({file.path.partition("/")[0] for file in files})
    return {
        f"{folder}/{name}": size for folder in folders for name, size in sizes_in(directory / folder).items()
    }
