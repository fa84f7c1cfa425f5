"""One tar of a shard set, read strictly: members in, raw samples out.

In: a path. Out: one mapping per sample, its fields as bytes, in the order of the file. What is not exactly the
layout of SHARD_FORMAT.md is refused with the rule's name; nothing is unpickled, extracted or written.

The headers are parsed here because tarfile, and so webdataset, ends silently at a damaged header and obeys
links and extended headers: a half-read shard would look like a short one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kdtrain.locations import Location
from kdtrain.shard_error import ShardError

BLOCK = 512
IMAGE_EXTENSIONS = {"jpg": "jpeg", "png": "png", "webp": "webp"}
"""Image format of each member extension."""
MAX_RECORD_BYTES = 64 * 1024
MAX_LABEL_BYTES = 8

_NAME = re.compile(r"([a-z0-9_-]{1,90})\.([^./]+)")
_OCTAL = re.compile(rb"[0-7]{11}\0")
_MAX_BYTES = {"json": MAX_RECORD_BYTES, "cls": MAX_LABEL_BYTES}


@dataclass(frozen=True, kw_only=True)
class RawSample:
    """A sample as stored: its key, and its members by extension (cls, json and one of jpg, png, webp)."""

    key: str
    fields: dict[str, bytes]
    path: Location


@dataclass(frozen=True, kw_only=True)
class SamplePlace:
    """Where a sample lies in its tar: (offset, size) in bytes of each member's content, by extension."""

    key: str
    members: dict[str, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class _Member:
    key: str
    extension: str
    size: int


def iter_tar(path: Path) -> Iterator[RawSample]:
    """Samples of a tar in order; an image is held in memory as stored, one sample at a time.

    Raises:
        ShardError: F11 to F16, at the first member that breaks one.
    """
    with path.open("rb") as tar:
        for place in iter_places(tar, path):
            yield read_place(tar, path, place)


def iter_places(tar: BinaryIO, path: Location) -> Iterator[SamplePlace]:
    """Where the samples of a tar lie, in order: its headers are read and the contents skipped.

    Args:
        tar: The open file, at its beginning; its position is not to be moved until the last sample.
        path: Of the file, for messages.

    Raises:
        ShardError: F11 to F16, at the first member that breaks one.
    """
    seen: set[str] = set()
    current: SamplePlace | None = None
    for member in _members(tar, path):
        if current is None or member.key != current.key:
            if current is not None:
                yield current
            if member.key in seen:
                raise ShardError("F15 member-order", path, "the key comes up twice", member=member.key)
            seen.add(member.key)
            current = SamplePlace(key=member.key, members={})
        _check_order(current, member, path)
        current.members[member.extension] = (tar.tell(), member.size)
        _skip(tar, member, path)
    if current is not None:
        yield current


def read_place(tar: BinaryIO, path: Location, place: SamplePlace) -> RawSample:
    """Read the members of one sample; the file's position stays where it is.

    Raises:
        ShardError: F11 where the file has become shorter since its places were read.
    """
    # pread, since a forked process shares the file's own position.
    fields = {e: _pread(tar.fileno(), size, offset) for e, (offset, size) in place.members.items()}
    for extension, data in fields.items():
        if len(data) != place.members[extension][1]:
            reason = f"the file ends inside .{extension}: it was cut off while it was being read"
            raise ShardError("F11 tar-whole", path, reason, member=place.key)
    return RawSample(key=place.key, fields=fields, path=path)


def _members(tar: BinaryIO, path: Location) -> Iterator[_Member]:
    # The caller skips each member's content before it asks for the next header.
    while (block := tar.read(BLOCK)) != bytes(BLOCK):
        yield _parse(block, path)
    if tar.read(BLOCK) != bytes(BLOCK):
        raise ShardError(
            "F11 tar-whole", path, "the archive does not end with two zero blocks: it was cut off"
        )
    while rest := tar.read(1 << 20):
        if rest.strip(b"\0"):
            raise ShardError("F11 tar-whole", path, "there are bytes after the end of the archive")


def _parse(block: bytes, path: Location) -> _Member:
    if len(block) < BLOCK:
        raise ShardError(
            "F11 tar-whole", path, "the archive does not end with two zero blocks: it was cut off"
        )
    name = block[:100].rstrip(b"\0").decode("ascii", "backslashreplace")
    checksum = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
    stated = block[148:156].strip(b" \0")
    if block[257:265] != b"ustar\x0000" or not stated.isdigit() or stated != b"%06o" % checksum:
        raise ShardError("F11 tar-whole", path, "a damaged or foreign header (not POSIX ustar)", member=name)
    if block[156:157] != b"0":
        kind = block[156:157].decode("ascii", "backslashreplace")
        raise ShardError("F12 member-kind", path, f"not a regular file but type {kind!r}", member=name)
    match = _NAME.fullmatch(name)
    if match is None or block[345:500].strip(b"\0"):
        reason = "not '<key>.<extension>' with a key of a-z, 0-9, '_' and '-'"
        raise ShardError("F13 member-name", path, reason, member=name)
    key, extension = match.groups()
    if extension not in IMAGE_EXTENSIONS and extension not in _MAX_BYTES:
        reason = "an unknown field; only cls, jpg, png, webp and json are read, and nothing is unpickled"
        raise ShardError("F14 member-field", path, reason, member=name)
    if not _OCTAL.fullmatch(block[124:136]):
        raise ShardError("F11 tar-whole", path, "the size is not 11 octal digits", member=name)
    return _Member(key=key, extension=extension, size=int(block[124:135], 8))


def _check_order(sample: SamplePlace, member: _Member, path: Location) -> None:
    previous = next(reversed(sample.members), "")
    if member.extension <= previous:
        reason = f"the members of a sample are not sorted: .{member.extension} after .{previous}"
        raise ShardError("F15 member-order", path, reason, member=member.key)


def _skip(tar: BinaryIO, member: _Member, path: Location) -> None:
    limit = _MAX_BYTES.get(member.extension)
    if limit is not None and member.size > limit:
        reason = f".{member.extension} has {member.size} bytes, over {limit}"
        raise ShardError("F16 sample-members", path, reason, member=member.key)
    # Asked here, since a false size would be allocated when the member is read.
    end = tar.tell() + -(-member.size // BLOCK) * BLOCK
    if end > os.fstat(tar.fileno()).st_size:
        raise ShardError("F11 tar-whole", path, "the archive is cut off inside a member", member=member.key)
    tar.seek(end)


def _pread(descriptor: int, size: int, offset: int) -> bytes:
    # One call returns 2 GiB at most; members may have 8.
    parts = [os.pread(descriptor, size, offset)]
    while parts[-1] and (missing := size - sum(map(len, parts))):
        parts.append(os.pread(descriptor, missing, offset + size - missing))
    return b"".join(parts)
