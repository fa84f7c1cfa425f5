"""The index by itself: rules F01 to F06 of shards/SHARD_FORMAT.md."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from pydantic import ValidationError

from slideprep.shards.absent import why_no_index
from slideprep.shards.format import (
    FORMAT_NAME,
    FORMAT_VERSION,
    INDEX_NAME,
    Index,
    ShardEntry,
    magnification_name,
    shard_path,
)
from slideprep.shards.verify.report import Fault
from slideprep.storage.files import OutputError
from slideprep.storage.open import open_store
from slideprep.storage.places import Place
from slideprep.storage.remote import UnansweredError


def load_index(directory: Place) -> tuple[Index | None, list[Fault]]:
    """The index where it can be read at all, and its faults.

    Raises:
        OutputError: The store does not answer, so nothing can be said of the set.
    """
    store = open_store(directory)
    try:
        data = store.read(INDEX_NAME)
    except UnansweredError as error:
        raise OutputError(
            f"cannot read {directory}/{INDEX_NAME}: {error.strerror}; check the network and the store, then try again"
        ) from error
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        message = (
            f"{error.strerror}; {why_no_index(store) if missing else 'check its permissions and the disk'}"
        )
        return None, [_fault("F01 index-present", message)]
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        return None, [_fault("F02 index-schema", f"not JSON: {error}")]
    if (fault := _version_fault(raw)) is not None:
        return None, [fault]
    try:
        index = Index.model_validate_json(data)
    except ValidationError as error:
        return None, [_fault("F02 index-schema", message) for message in messages(error)]
    return index, [*_shard_faults(index), *_set_faults(index)]


def messages(error: ValidationError) -> list[str]:
    """What pydantic found wrong, as ``field: reason`` each."""
    return [
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False)
    ]


def sound_shards(index: Index) -> list[ShardEntry]:
    """The shards whose files lie where the format puts them, so that a wrong path is never followed."""
    return [shard for shard in index.shards if not list(_entry_faults(index, shard))]


def _fault(rule: str, message: str) -> Fault:
    return Fault(rule=rule, path=INDEX_NAME, message=message)


def _version_fault(raw: Any) -> Fault | None:
    if not isinstance(raw, dict) or raw.get("format") != FORMAT_NAME:
        given = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        return _fault("F03 format-name", f"'format' is {given!r}, not {FORMAT_NAME!r}")
    version = raw.get("version")
    major, minor = FORMAT_VERSION
    if version not in [[major, m] for m in range(minor + 1)]:
        message = (
            f"version {version}; this program verifies up to {major}.{minor}: use the one that wrote the set"
        )
        return _fault("F04 format-version", message)
    return None


def _shard_faults(index: Index) -> Iterator[Fault]:
    rule = "F05 index-shards"
    magnifications = index.magnifications
    names = [magnification_name(m) for m in magnifications]
    if list(magnifications) != sorted(set(magnifications), reverse=True):
        yield _fault(rule, f"magnifications {list(magnifications)} do not descend")
    ratios = {name: index.grid.get(name, 0) / m for name, m in zip(names, magnifications, strict=True)}
    if set(index.grid) != set(names) or max(ratios.values()) > min(ratios.values()) * (1 + 1e-6):
        yield _fault(rule, f"grid {index.grid} is not in the ratio of the magnifications {names}")
    if index.statistics is not None and set(index.statistics) != set(names):
        yield _fault(rule, f"statistics are for {sorted(index.statistics)}, magnifications are {names}")
    places = [(shard.split, shard.number) for shard in index.shards]
    if places != sorted(places):
        yield _fault(rule, "shards are not sorted by split and number")
    for split, group in groupby(sorted(places), key=lambda place: place[0]):
        numbers = [number for _, number in group]
        if numbers != list(range(len(numbers))):
            yield _fault(
                rule, f"the shards of split {split!r} are not numbered from 0 without gaps: {numbers[:9]}"
            )
    for shard in index.shards:
        yield from _entry_faults(index, shard)


def _entry_faults(index: Index, shard: ShardEntry) -> Iterator[Fault]:
    wanted = {magnification_name(m): shard_path(m, shard.split, shard.number) for m in index.magnifications}
    given = {name: file.path for name, file in shard.files.items()}
    if given != wanted:
        yield _fault(
            "F05 index-shards", f"the files of {shard.split} {shard.number} are {given}, not {wanted}"
        )
    if shard.samples != len(shard.cells):
        message = f"{shard.split} {shard.number} has {shard.samples} samples but {len(shard.cells)} sizes"
        yield _fault("F05 index-shards", message)


def _set_faults(index: Index) -> Iterator[Fault]:
    rule = "F06 index-sets"
    shards = Counter(shard.split for shard in index.shards)
    samples: Counter[str] = Counter()
    for shard in index.shards:
        samples[shard.split] += shard.samples
    for split in shards.keys() - index.splits.keys():
        yield _fault(rule, f"there are shards of {split!r}, which is no split")
    for name, entry in index.splits.items():
        if index.sets.get(name) != (name,):
            yield _fault(rule, f"sets[{name!r}] is {index.sets.get(name)}, not the split itself")
        if (entry.shards, entry.samples) != (shards[name], samples[name]):
            given, found = (entry.shards, entry.samples), (shards[name], samples[name])
            yield _fault(
                rule, f"split {name!r} says {given} shards and samples; its shards add up to {found}"
            )
        if (entry.per_class is None) == entry.labelled:
            yield _fault(
                rule, f"split {name!r}: labelled is {entry.labelled}, per_class is {entry.per_class}"
            )
        if entry.per_class is not None and set(entry.per_class) != set(index.classes):
            yield _fault(
                rule, f"per_class of split {name!r} is {entry.per_class}; classes are {index.classes}"
            )
        if entry.per_class is not None and sum(entry.per_class.values()) != entry.samples:
            yield _fault(rule, f"per_class of split {name!r} does not add up to its {entry.samples} samples")
    for name, parts in index.sets.items():
        if not parts or len(set(parts)) != len(parts) or not set(parts) <= set(index.splits):
            yield _fault(rule, f"set {name!r} is {list(parts)}; there are the splits {sorted(index.splits)}")
