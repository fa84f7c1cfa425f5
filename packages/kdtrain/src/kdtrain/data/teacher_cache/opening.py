"""A cache's folder in, its checked cache.json out; all that can be known without opening a tar is checked at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kdtrain.data.teacher_cache.document import (
    CACHE_FILE,
    DOCUMENTS,
    FORMAT_NAME,
    REMEDY,
    RunDocument,
    SourceDocument,
    TeacherCache,
    shard_name,
)
from kdtrain.errors import UsageError
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import one_line
from kdtrain.text import plural


def open_cache(directory: Path) -> TeacherCache:
    """Open a cache: cache.json, and that every file that it names is there in full size.

    Args:
        directory: What ``kdtrain cache-teacher --out`` wrote.

    Raises:
        UsageError: T01, there is no cache; T04, one of another version.
        ShardError: T02 to T07, at the first rule that is broken.
    """
    path = directory / CACHE_FILE
    if not path.is_file():
        raise UsageError(
            f"--teacher-cache {directory}: there is no {CACHE_FILE} (rule T01 cache-present); it is written last, so "
            "this is no teacher cache or an unfinished one; run the same 'kdtrain cache-teacher' command again to "
            "finish it"
        )
    data = path.read_bytes()
    major = _checked_major(data, path)
    try:
        document = DOCUMENTS[major].model_validate_json(data)
    except ValidationError as error:
        raise ShardError("T02 cache-schema", path, one_line(error), remedy=REMEDY) from error
    if major != document.expected_version[0]:
        raise _unreadable(path, list(document.version))
    fault = next(_faults(document), None)
    if fault is not None:
        raise ShardError("T05 cache-shards", path, fault, remedy=REMEDY)
    _check_files(directory, document)
    return TeacherCache(directory=directory, document=document, sha256=hashlib.sha256(data).hexdigest())


def _checked_major(data: bytes, path: Path) -> int:
    try:
        raw: Any = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ShardError("T02 cache-schema", path, f"not JSON: {error}", remedy=REMEDY) from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT_NAME:
        given = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        remedy = "point --teacher-cache at a folder that 'kdtrain cache-teacher' wrote"
        reason = f"'format' is {given!r}, not {FORMAT_NAME!r}"
        raise ShardError("T03 format-name", path, reason, remedy=remedy)
    version = raw.get("version")
    major = version[0] if isinstance(version, list) and version else None
    if not isinstance(major, int) or isinstance(major, bool) or major not in DOCUMENTS:
        raise _unreadable(path, version)
    return major


def _unreadable(path: Path, version: Any) -> UsageError:
    """Of a version that is not known, or not for what the cache holds."""
    return UsageError(
        f"{path}: version {version} of the teacher cache cannot be read (rule T04 format-version); this reader knows "
        "1.x and 2.x, and with draws that change stains 3.x and 4.x: use the kdtrain that wrote it, or make it again "
        "with another --out"
    )


def _no_number(name: str) -> None:
    """Python reads NaN and infinities, which are not JSON, and what was read goes into records that are."""
    raise ValueError(f"it holds {name}")


def _faults(document: RunDocument | SourceDocument) -> Iterator[str]:
    places = [(shard.split, shard.number) for shard in document.shards]
    if places != sorted(set(places)):
        yield "shards are not sorted by split and number, each once"
    for shard in document.shards:
        name = shard_name(shard.split, shard.number)
        views = document.views if shard.augmented else 1
        if shard.path != f"{name}.tar":
            yield f"the tar of {name} is {shard.path!r}, not '{name}.tar'"
        if shard.augmented and document.augmentation is None:
            yield f"{name} is augmented, but there are no settings of the augmentation"
        if len(shard.turned) != views:
            yield f"{name} has {plural(len(shard.turned), 'view')}, not {views}"
        if any(len(turned) != shard.samples for turned in shard.turned):
            yield f"'turned' of {name} does not tell of {plural(shard.samples, 'sample')}"
        if not shard.augmented and any("1" in turned for turned in shard.turned):
            yield f"{name} is not augmented, but samples of it are turned"


def _check_files(directory: Path, document: RunDocument | SourceDocument) -> None:
    for shard in document.shards:
        path = directory / shard.path
        if not path.is_file():
            reason = f"{CACHE_FILE} names this file, but it is not there"
            raise ShardError("T06 file-present", path, reason, remedy=REMEDY)
        if path.stat().st_size != shard.bytes:
            reason = f"{path.stat().st_size} bytes, but {CACHE_FILE} says {shard.bytes}"
            raise ShardError("T07 file-size", path, reason, remedy=REMEDY)
