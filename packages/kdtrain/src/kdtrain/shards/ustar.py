"""Headers of a POSIX ustar archive, read strictly: one member after the other, contents skipped.

They are parsed here because tarfile, and so webdataset, ends silently at a damaged header and obeys links and
extended headers: a half-read archive would look like a short one. What members are called is their readers' affair.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from kdtrain.shards.error import VERIFY, ShardError
from kdtrain.shards.locations import Location

BLOCK = 512
_OCTAL = re.compile(rb"[0-7]{11}\0")


@dataclass(frozen=True, kw_only=True)
class Member:
    """A regular file in an archive: its name, and where its content lies, in bytes."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Names of the rules that a damaged archive breaks, and what to do about it."""

    whole: str
    kind: str
    remedy: str = VERIFY


def iter_members(tar: BinaryIO, path: Location, rules: Rules) -> Iterator[Member]:
    """Members in order; a member's content is known to be there when the next one is asked for.

    Args:
        tar: The open file, at its beginning; its position is not to be moved until the last member.
        path: Path of the file, for messages.
        rules: How to name what is wrong.

    Raises:
        ShardError: The archive is damaged, cut off, or holds something other than regular files.
    """
    size = os.fstat(tar.fileno()).st_size
    while (block := tar.read(BLOCK)) != bytes(BLOCK):
        member = _parse(block, tar.tell(), path, rules)
        yield member
        # Asked here, since a false size would be allocated when the member is read.
        end = member.offset + -(-member.size // BLOCK) * BLOCK
        if end > size:
            raise _damage(rules, path, "the archive is cut off inside a member", member.name)
        tar.seek(end)
    if tar.read(BLOCK) != bytes(BLOCK):
        raise _damage(rules, path, _NO_END)
    while rest := tar.read(1 << 20):
        if rest.strip(b"\0"):
            raise _damage(rules, path, "there are bytes after the end of the archive")


def pread(tar: BinaryIO, member: Member) -> bytes:
    """A member's content, shorter where the file ends before; the file's position stays where it is.

    A forked process shares the file's own position, and one call returns 2 GiB at most while members may have 8.
    """
    descriptor, size, offset = tar.fileno(), member.size, member.offset
    parts = [os.pread(descriptor, size, offset)]
    while parts[-1] and (missing := size - sum(map(len, parts))):
        parts.append(os.pread(descriptor, missing, offset + size - missing))
    return b"".join(parts)


_NO_END = "the archive does not end with two zero blocks: it was cut off"


def _parse(block: bytes, offset: int, path: Location, rules: Rules) -> Member:
    if len(block) < BLOCK:
        raise _damage(rules, path, _NO_END)
    name = block[:100].rstrip(b"\0").decode("ascii", "backslashreplace")
    checksum = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
    stated = block[148:156].strip(b" \0")
    if block[257:265] != b"ustar\x0000" or not stated.isdigit() or stated != b"%06o" % checksum:
        raise _damage(rules, path, "a damaged or foreign header (not POSIX ustar)", name)
    if block[156:157] != b"0":
        kind = block[156:157].decode("ascii", "backslashreplace")
        reason = f"not a regular file but type {kind!r}"
        raise ShardError(rules.kind, path, reason, member=name, remedy=rules.remedy)
    prefix = block[345:500].rstrip(b"\0").decode("ascii", "backslashreplace")
    if not _OCTAL.fullmatch(block[124:136]):
        raise _damage(rules, path, "the size is not 11 octal digits", name)
    return Member(name=f"{prefix}/{name}" if prefix else name, offset=offset, size=int(block[124:135], 8))


def _damage(rules: Rules, path: Location, reason: str, member: str | None = None) -> ShardError:
    return ShardError(rules.whole, path, reason, member=member, remedy=rules.remedy)
