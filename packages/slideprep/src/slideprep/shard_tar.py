"""Members in, a tar on disk out, with its size and SHA-256: the same bytes on every run.

The checksum is taken of what is written, so that a tar is never read again to describe it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from slideprep.shard_format import TAR_MODE, TAR_OWNER, member_info

WRITE_BYTES = 1024 * 1024
"""Bytes of a tar that go to disk at a time: tarfile hands over 10 KB, and a system call for each would cost more."""


class _HashingFile:
    """A file that knows the SHA-256 of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        if self.file.closed:
            return len(data)  # a tar that was given up writes its end once more when it is collected
        self.digest.update(data)
        self.size += len(data)
        return self.file.write(data)


class ShardTar:
    """A tar as webdataset's writer makes it, byte for byte the same on every run.

    Args:
        path: Where it is written; on disk once the context is left without an exception.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> ShardTar:
        import webdataset  # here, because it takes seconds and the process that plans never writes

        self._hashing = _HashingFile(self.path.open("wb", buffering=WRITE_BYTES))
        self._writer = webdataset.TarWriter(
            self._hashing,
            user=TAR_OWNER,
            group=TAR_OWNER,
            mode=TAR_MODE,
            compress=False,
            encoder=False,
            mtime=0,
        )
        return self

    def add(self, members: Mapping[str, bytes | None], image: BinaryIO, image_size: int) -> None:
        """Append a sample; the member without bytes is the image, streamed from its file."""
        for name, data in members.items():
            if data is None:
                image.seek(0)
                self._writer.tarstream.addfile(member_info(name, image_size), image)
            else:
                key, _, extension = name.partition(".")
                self._writer.write({"__key__": key, extension: data})

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._writer.close()
                self._hashing.file.flush()
                os.fsync(self._hashing.file.fileno())
        finally:
            self._hashing.file.close()

    @property
    def size(self) -> int:
        """Bytes written so far; of the whole tar once the context is left."""
        return self._hashing.size

    @property
    def sha256(self) -> str:
        """Of the bytes written so far, in hexadecimal."""
        return self._hashing.digest.hexdigest()
