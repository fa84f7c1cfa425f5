"""Recognise the same slide under another name: a fingerprint of its content, and a proof byte by byte.

In: a :class:`~slideprep.discover.SlideFile`. Out: a SHA-256 that depends on the bytes alone, not on names, paths or
dates. Slides up to 64 MiB are hashed whole; of larger ones the size and sixteen evenly spaced pieces of 1 MiB,
the first and the last among them, so that scanning an archive does not mean reading it. Two large files that
differ only between the pieces share a fingerprint: confirm with :func:`identical` before calling them the same.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from slideprep.errors import SlideOpenError

if TYPE_CHECKING:
    from slideprep.discover import SlideFile

WHOLE_LIMIT_BYTES = 64 * 2**20
PIECES = 16
PIECE_BYTES = 2**20


def fingerprint(file: SlideFile) -> str:
    """SHA-256 (hex) of a slide's content; see the module for what is hashed of large ones.

    Of a slide of several files, each is hashed by itself and the hashes are sorted, so that names do not enter.

    Raises:
        SlideOpenError: A file cannot be read.
    """
    try:
        whole = sum(path.stat().st_size for path in file.files) <= WHOLE_LIMIT_BYTES
        parts = sorted(_file_digest(path, whole=whole) for path in file.files)
    except OSError as error:
        raise SlideOpenError(
            f"slide '{file.name}' cannot be read: {error.strerror}; check {error.filename}"
        ) from error
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _file_digest(path: Path, *, whole: bool) -> bytes:
    size = path.stat().st_size
    digest = hashlib.sha256(size.to_bytes(8, "big"))
    with path.open("rb") as stream:
        if whole or size <= PIECES * PIECE_BYTES:
            while piece := stream.read(PIECE_BYTES):
                digest.update(piece)
        else:
            for index in range(PIECES):
                stream.seek(index * (size - PIECE_BYTES) // (PIECES - 1))
                digest.update(stream.read(PIECE_BYTES))
    return digest.digest()


def identical(a: SlideFile, b: SlideFile) -> bool:
    """Whether two slides consist of the same bytes, whatever their files are called.

    Raises:
        SlideOpenError: A file cannot be read.
    """
    try:
        return sorted(_whole_digest(p) for p in a.files) == sorted(_whole_digest(p) for p in b.files)
    except OSError as error:
        raise SlideOpenError(
            f"slides '{a.name}' and '{b.name}' cannot be compared: {error.strerror}; check {error.filename}"
        ) from error


def _whole_digest(path: Path) -> bytes:
    """A full SHA-256 stands for the bytes: equal by accident is out of the question."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
