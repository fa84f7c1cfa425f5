"""The archive of a cache: written whole or not at all, walked strictly.

A sample's members are its record and then one safetensors file a view, in the order of their names. Headers hold what
the shards' do: no times, no owner of this machine, so that the same samples give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kdtrain.data.teacher_cache.document import REMEDY
from kdtrain.data.teacher_cache.record import record_member, view_member
from kdtrain.files import open_atomically
from kdtrain.shards.error import ShardError
from kdtrain.shards.ustar import BLOCK, Member, Rules, iter_members

RULES = Rules(whole="T09 tar-whole", kind="T10 member-kind", remedy=REMEDY)
OWNER = "kdtrain"
MODE = 0o444
MAX_RECORD_BYTES = 1 << 20
"""A thousand views take a third of it."""
_NAME = re.compile(r"([a-z0-9_-]{1,90})\.(json|v[0-9]{3}\.st)")


@dataclass(frozen=True, kw_only=True)
class TarSum:
    """What is known of a tar that was written: size in bytes and SHA-256."""

    bytes: int
    sha256: str


class TarWriter:
    """A tar as it is written; see :func:`writing`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._bytes = 0

    def add(self, key: str, record: bytes, views: Sequence[bytes]) -> None:
        """The members of a sample."""
        self._member(record_member(key), record)
        for number, view in enumerate(views):
            self._member(view_member(key, number), view)

    def finish(self) -> TarSum:
        """The end mark; everything is on the disk afterwards."""
        self._write(bytes(2 * BLOCK))
        self._file.flush()
        os.fsync(self._file.fileno())
        return TarSum(bytes=self._bytes, sha256=self._digest.hexdigest())

    def _member(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.uname, info.gname = len(data), MODE, OWNER, OWNER
        self._write(info.tobuf(tarfile.USTAR_FORMAT))
        self._write(data)
        self._write(bytes(-len(data) % BLOCK))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._bytes += len(data)


@contextmanager
def writing(path: Path) -> Iterator[TarWriter]:
    """Write a tar under another name; it takes its own where the block ends well, after ``finish``."""
    with open_atomically(path) as file:
        yield TarWriter(file)


@dataclass(frozen=True, kw_only=True)
class CachedPlace:
    """Where a sample lies in a cache's tar."""

    key: str
    record: Member
    views: tuple[Member, ...]


def iter_samples(tar: BinaryIO, path: Path, views: int) -> Iterator[CachedPlace]:
    """Where the samples of a tar lie, in order.

    Args:
        tar: The open file, at its beginning.
        path: Path of the file, for messages.
        views: Views of every sample.

    Raises:
        ShardError: T09 to T12, at the first member that breaks one.
    """
    members: list[Member] = []
    for member in iter_members(tar, path, RULES):
        if _NAME.fullmatch(member.name) is None:
            reason = "not '<key>.json' or '<key>.v000.st' with a key of a-z, 0-9, '_' and '-'"
            raise ShardError("T11 member-name", path, reason, member=member.name, remedy=REMEDY)
        members.append(member)
        if len(members) == 1 + views:
            yield _place(members, path)
            members = []
    if members:
        reason = f"the archive ends after {len(members)} of the sample's {1 + views} members"
        key = members[0].name.partition(".")[0]
        raise ShardError("T12 sample-members", path, reason, member=key, remedy=REMEDY)


def _place(members: Sequence[Member], path: Path) -> CachedPlace:
    key = members[0].name.partition(".")[0]
    names = [member.name for member in members]
    wanted = [record_member(key), *(view_member(key, number) for number in range(len(members) - 1))]
    if names != wanted:
        reason = f"its members are {', '.join(names)}, not its record and all of its views in order"
        raise ShardError("T12 sample-members", path, reason, member=key, remedy=REMEDY)
    if members[0].size > MAX_RECORD_BYTES:
        reason = f".json has {members[0].size} bytes, over {MAX_RECORD_BYTES}"
        raise ShardError("T12 sample-members", path, reason, member=key, remedy=REMEDY)
    return CachedPlace(key=key, record=members[0], views=tuple(members[1:]))
