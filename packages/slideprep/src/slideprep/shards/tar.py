"""Members in, a tar on disk out, with its size and SHA-256: the same bytes on every run.

An image is written where it will stay, as it is made, and its header, which states its size, last: a large image
neither waits in memory nor lies on disk twice. A sample whose slide turns out to be damaged is taken back.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from slideprep.shards.format import member_info

WRITE_BYTES = 1024 * 1024
"""Bytes of a tar that go to disk at a time, and that are read back at a time."""

HASHED_BYTES = 16 * 1024 * 1024
"""After so many new bytes they are read back for the checksum, while the system still has them in memory."""


class ShardTar:
    """A tar as webdataset's writer makes it, byte for byte the same on every run.

    For each sample :meth:`begin`, the image's bytes into what that returns, then :meth:`finish` or :meth:`undo`.

    Args:
        path: Where it is written; on disk once the context is left without an exception.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digest = hashlib.sha256()
        self._hashed = 0  # bytes, from the beginning
        self._sample_at = 0
        self._image: _Image | None = None  # of the sample that was begun

    def __enter__(self) -> ShardTar:
        self._file = self.path.open("w+b", buffering=WRITE_BYTES)
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)
        return self

    def begin(self, members: Mapping[str, bytes | None]) -> BinaryIO:
        """Begin a sample.

        Args:
            members: By name, in order; that without bytes is the image.

        Returns:
            The file that takes the image's bytes, until the sample is finished or undone.
        """
        assert self._image is None, "the sample before was neither finished nor undone"
        self._sample_at = self._tar.offset
        left = iter(members.items())
        name = self._add_until_image(left)
        self._image = _Image(name=name, header_at=self._tar.offset, after=dict(left))
        self._file.write(bytes(tarfile.BLOCKSIZE))
        return self._file

    def finish(self) -> None:
        """Write what comes behind the image, and its header."""
        image, end = self._image, self._file.tell()
        assert image is not None, "no sample was begun"
        size = end - image.header_at - tarfile.BLOCKSIZE
        header = member_info(image.name, size).tobuf(tarfile.USTAR_FORMAT)
        self._file.write(bytes(-size % tarfile.BLOCKSIZE))
        self._tar.offset = self._file.tell()
        self._file.seek(image.header_at)
        self._file.write(header)
        self._file.seek(self._tar.offset)
        second_image = self._add_until_image(iter(image.after.items()))
        assert not second_image, "a sample has one image"
        self._image = None
        if self._tar.offset - self._hashed >= HASHED_BYTES:
            self._hash()

    def undo(self) -> None:
        """Take the sample back that was begun."""
        assert self._image is not None, "no sample was begun"
        self._image = None
        self._file.seek(self._sample_at)
        self._file.truncate()
        self._tar.offset = self._sample_at

    def _add_until_image(self, members: Iterator[tuple[str, bytes | None]]) -> str:
        """Append members up to the one without bytes; returns its name, "" where there is none."""
        for name, data in members:
            if data is None:
                return name
            self._tar.addfile(member_info(name, len(data)), io.BytesIO(data))
        return ""

    def _hash(self) -> None:
        self._file.flush()
        while part := os.pread(self._file.fileno(), WRITE_BYTES, self._hashed):
            self._digest.update(part)
            self._hashed += len(part)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                assert self._image is None, "the last sample was neither finished nor undone"
                self._tar.close()
                self._hash()
                os.fsync(self._file.fileno())
        finally:
            self._file.close()

    @property
    def size(self) -> int:
        """Bytes of the whole tar, once the context is left."""
        return self._hashed

    @property
    def sha256(self) -> str:
        """SHA-256 of the whole tar, in hexadecimal, once the context is left."""
        return self._digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class _Image:
    """An image that is being written: where its header will be, and what comes behind it."""

    name: str
    header_at: int
    after: Mapping[str, bytes | None]
