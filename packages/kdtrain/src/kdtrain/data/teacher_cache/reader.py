"""The view of the sample at hand: a place and a view's number in, the recorded draw and the teacher's outputs out.

A tar's headers are walked at the first sample that is wanted of it, and its keys are held against cache.json; after
that a sample costs one read of its record and one of the view that is asked for. Nothing else of the tar is touched.
"""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path
from typing import BinaryIO

from kdtrain.data.teacher_cache.document import (
    REMEDY,
    ShardEntry,
    SourceDocument,
    TeacherCache,
    shard_name,
)
from kdtrain.data.teacher_cache.record import ViewEntry, draw_of, read_record
from kdtrain.data.teacher_cache.tar import CachedPlace, iter_samples
from kdtrain.data.teacher_cache.view import Taught, TeacherView, ViewShape, decode_view, map_size
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import Index
from kdtrain.shards.models import Shard
from kdtrain.shards.open_tars import OpenFiles
from kdtrain.shards.ustar import Member, pread
from kdtrain.text import plural


class CacheReader:
    """Reads views in any order. A copy sent to another process opens its own files.

    Args:
        cache: That :mod:`kdtrain.data.teacher_cache.binding` found to fit.
        index: The shard set, which knows the sizes of its images.
    """

    def __init__(self, cache: TeacherCache, index: Index) -> None:
        self._cache = cache
        self._index = index
        self._entries = {shard_name(e.split, e.number): e for e in cache.document.shards}
        self._files = OpenFiles()
        self._places: dict[str, tuple[CachedPlace, ...]] = {}

    def turned(self, shard: Shard) -> tuple[str, ...]:
        """For every view of a shard, one character a sample: "1" where its image is turned by a quarter."""
        return self._entry(shard).turned

    def load(self, shard: Shard, position: int, view: int, *, key: str) -> Taught:
        """A view of a sample.

        Args:
            shard: Shard of the set.
            position: Position of the sample in it.
            view: From 0.
            key: The sample's, as its own shard has it.

        Raises:
            ShardError: T06 where the tar has gone, T09 to T16 at the first rule that is broken.
        """
        entry = self._entry(shard)
        path = self._cache.directory / entry.path
        try:
            return self._load(entry, path, shard, position, view, key)
        except OSError as error:
            reason = f"the file cannot be read: {error.strerror or error}"
            remedy = "check that the disk is there and the file may be read"
            raise ShardError("T06 file-present", path, reason, remedy=remedy) from error

    def close(self) -> None:
        """Close all tars; the next view opens its own again."""
        self._files.close()

    def _entry(self, shard: Shard) -> ShardEntry:
        return self._entries[shard_name(shard.split, shard.number)]

    def _load(
        self, entry: ShardEntry, path: Path, shard: Shard, position: int, view: int, key: str
    ) -> Taught:
        tar = self._files.get(path)
        if entry.path not in self._places:
            self._places[entry.path] = _checked_places(tar, path, entry)
        place = self._places[entry.path][position]
        if place.key != key:
            reason = f"{place.key!r} lies where the shard has {key!r}"
            raise ShardError("T13 pairing", path, reason, member=key, remedy=REMEDY)
        record = read_record(
            _content(tar, path, place.record), path, key, major=self._cache.document.version[0]
        )
        turned = entry.turned[view][position] == "1"
        if len(record.views) != len(place.views) or record.views[view].draw.quarter_turns % 2 != turned:
            reason = "the record has other views, or turns them otherwise, than cache.json says"
            raise ShardError("T14 record", path, reason, member=key, remedy=REMEDY)
        described = record.views[view]
        size = self._index.size_of(shard, position, self._cache.document.student.magnification)
        decoded = self._decoded(tar, path, place.views[view], described, size, turned=turned)
        return Taught(draw=draw_of(described.draw), view=decoded)

    def _decoded(
        self,
        tar: BinaryIO,
        path: Path,
        member: Member,
        described: ViewEntry,
        image_size: tuple[int, int],
        *,
        turned: bool,
    ) -> TeacherView:
        data = _content(tar, path, member)
        if zlib.crc32(data) != described.crc32:
            reason = "its CRC-32 is not the one in the sample's record"
            raise ShardError("T15 view-checksum", path, reason, member=member.name, remedy=REMEDY)
        document = self._cache.document
        shape = ViewShape(
            classes=len(self._cache.classes),
            channels=document.channels,
            size=map_size(image_size, document.student.output_stride, turned=turned),
            laid=isinstance(document, SourceDocument),
        )
        try:
            return decode_view(data, shape)
        except ValueError as error:
            raise ShardError(
                "T16 view-tensors", path, str(error), member=member.name, remedy=REMEDY
            ) from error


def _checked_places(tar: BinaryIO, path: Path, entry: ShardEntry) -> tuple[CachedPlace, ...]:
    places = tuple(iter_samples(tar, path, len(entry.turned)))
    if len(places) != entry.samples:
        reason = f"{plural(len(places), 'sample')}, but cache.json states {entry.samples}"
        raise ShardError("T13 pairing", path, reason, remedy=REMEDY)
    if hashlib.sha256("\n".join(place.key for place in places).encode()).hexdigest() != entry.keys_sha256:
        reason = "other keys, or another order, than cache.json states"
        raise ShardError("T13 pairing", path, reason, remedy=REMEDY)
    return places


def _content(tar: BinaryIO, path: Path, member: Member) -> bytes:
    data = pread(tar, member)
    if len(data) != member.size:
        reason = "the file ends inside this member: it was cut off while it was being read"
        raise ShardError("T09 tar-whole", path, reason, member=member.name, remedy=REMEDY)
    return data
