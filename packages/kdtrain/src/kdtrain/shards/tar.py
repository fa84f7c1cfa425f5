"""One tar of a shard set, read strictly: an open file in, the places of its samples and their bytes out.

What is not exactly the
layout of SHARD_FORMAT.md is refused with the rule's name; nothing is unpickled, extracted or written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from kdtrain.shards.error import ShardError
from kdtrain.shards.locations import Location
from kdtrain.shards.models import Shard
from kdtrain.shards.ustar import Member, Rules, iter_members, pread
from kdtrain.text import plural

IMAGE_EXTENSIONS = {"jpg": "jpeg", "png": "png", "webp": "webp"}
"""Image format of each member extension."""
MAX_RECORD_BYTES = 64 * 1024
MAX_LABEL_BYTES = 8

_NAME = re.compile(r"([a-z0-9_-]{1,90})\.([^./]+)")
_RULES = Rules(whole="F11 tar-whole", kind="F12 member-kind")
_MAX_BYTES = {"json": MAX_RECORD_BYTES, "cls": MAX_LABEL_BYTES}


@dataclass(frozen=True, kw_only=True)
class RawSample:
    """A sample as stored: its key, and its members by extension (cls, json and one of jpg, png, webp)."""

    key: str
    fields: dict[str, bytes]
    path: Location


@dataclass(frozen=True, kw_only=True)
class SamplePlace:
    """Where a sample lies in its tar: its members, by extension."""

    key: str
    members: dict[str, Member]


def iter_places(tar: BinaryIO, path: Location) -> Iterator[SamplePlace]:
    """Where the samples of a tar lie, in order: its headers are read and the contents skipped.

    Args:
        tar: The open file, at its beginning; its position is not to be moved until the last sample.
        path: Path of the file, for messages.

    Raises:
        ShardError: F11 to F16, at the first member that breaks one.
    """
    seen: set[str] = set()
    current: SamplePlace | None = None
    for member in iter_members(tar, path, _RULES):
        key, extension = _split_name(member, path)
        if current is None or key != current.key:
            if current is not None:
                yield current
            if key in seen:
                raise ShardError("F15 member-order", path, "the key comes up twice", member=key)
            seen.add(key)
            current = SamplePlace(key=key, members={})
        _check_order(current, extension, path)
        _check_size(key, extension, member.size, path)
        current.members[extension] = member
    if current is not None:
        yield current


def checked_places(tar: BinaryIO, path: Location, shard: Shard) -> tuple[SamplePlace, ...]:
    """Where the samples of a tar lie, held against the index.

    Args:
        tar: The open file, at its beginning.
        path: Path of the file, for messages.
        shard: As the set has it.

    Raises:
        ShardError: F11 to F17.
    """
    # The keys' checksum is the pairing: a tar that passes has the keys of its number, in order, at its magnification.
    places = tuple(iter_places(tar, path))
    if len(places) != shard.samples:
        reason = f"{plural(len(places), 'sample')}, but the index states {shard.samples}"
        raise ShardError("F17 pairing", path, reason)
    if hashlib.sha256("\n".join(place.key for place in places).encode()).hexdigest() != shard.keys_sha256:
        raise ShardError("F17 pairing", path, "other keys, or another order, than the index states")
    return places


def read_place(tar: BinaryIO, path: Location, place: SamplePlace) -> RawSample:
    """Read the members of one sample; the file's position stays where it is.

    Raises:
        ShardError: F11 where the file has become shorter since its places were read.
    """
    fields = {extension: pread(tar, member) for extension, member in place.members.items()}
    for extension, data in fields.items():
        if len(data) != place.members[extension].size:
            reason = f"the file ends inside .{extension}: it was cut off while it was being read"
            raise ShardError("F11 tar-whole", path, reason, member=place.key)
    return RawSample(key=place.key, fields=fields, path=path)


def _split_name(member: Member, path: Location) -> tuple[str, str]:
    match = _NAME.fullmatch(member.name)
    if match is None:
        reason = "not '<key>.<extension>' with a key of a-z, 0-9, '_' and '-'"
        raise ShardError("F13 member-name", path, reason, member=member.name)
    key, extension = match.groups()
    if extension not in IMAGE_EXTENSIONS and extension not in _MAX_BYTES:
        reason = "an unknown field; only cls, jpg, png, webp and json are read, and nothing is unpickled"
        raise ShardError("F14 member-field", path, reason, member=member.name)
    return key, extension


def _check_order(sample: SamplePlace, extension: str, path: Location) -> None:
    previous = next(reversed(sample.members), "")
    if extension <= previous:
        reason = f"the members of a sample are not sorted: .{extension} after .{previous}"
        raise ShardError("F15 member-order", path, reason, member=sample.key)


def _check_size(key: str, extension: str, size: int, path: Location) -> None:
    limit = _MAX_BYTES.get(extension)
    if limit is not None and size > limit:
        reason = f".{extension} has {size} bytes, over {limit}"
        raise ShardError("F16 sample-members", path, reason, member=key)
