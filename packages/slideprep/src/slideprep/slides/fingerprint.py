"""Recognise the same slide under another name: a fingerprint of its content, and a proof byte by byte.

In: a :class:`~slideprep.slides.files.SlideFile`. Out: a SHA-256 that depends on the bytes alone, not on names, paths or
dates. Slides up to 64 MiB are hashed whole; of larger ones the size and sixteen evenly spaced pieces of 1 MiB,
the first and the last among them, so that scanning an archive does not mean reading it. Two large files that
differ only between the pieces share a fingerprint: confirm with :func:`identical` before calling them the same.
A slide in an object store gives the same fingerprint as a copy of it on disk; the pieces alone are fetched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from slideprep.errors import SlideOpenError
from slideprep.storage import remote
from slideprep.storage.files import file_sha256
from slideprep.storage.places import Place, Url

if TYPE_CHECKING:
    from slideprep.slides.files import SlideFile

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
        parts = _parts(file)
        whole = sum(size for _, size in parts) <= WHOLE_LIMIT_BYTES
        digests = sorted(_file_digest(part, size, whole=whole) for part, size in parts)
    except OSError as error:
        raise SlideOpenError(
            f"slide '{file.name}' cannot be read: {error.strerror}; check {error.filename}"
        ) from error
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _parts(file: SlideFile) -> list[tuple[Place, int]]:
    """Where each file is read from, and its size."""
    if file.remote is None or file.remote.folder is not None:
        return [(path, path.stat().st_size) for path in file.files]
    return list(zip(file.places[1:], file.remote.sizes, strict=True))


def _file_digest(part: Place, size: int, *, whole: bool) -> bytes:
    digest = hashlib.sha256(size.to_bytes(8, "big"))
    if whole or size <= PIECES * PIECE_BYTES:
        step = remote.PIECE_BYTES  # one after the other: the digest does not depend on where they are cut
        spans = [(start, min(size, start + step)) for start in range(0, size, step)]
    else:
        starts = [index * (size - PIECE_BYTES) // (PIECES - 1) for index in range(PIECES)]
        spans = [(start, start + PIECE_BYTES) for start in starts]
    for piece in _read(part, spans):
        digest.update(piece)
    return digest.digest()


def _read(part: Place, spans: list[tuple[int, int]]) -> Iterator[bytes]:
    if isinstance(part, Url):
        yield from (remote.read_range(part, start, stop) for start, stop in spans)
        return
    with part.open("rb") as stream:
        for start, stop in spans:
            stream.seek(start)
            yield stream.read(stop - start)


def identical(a: SlideFile, b: SlideFile) -> bool:
    """Whether two slides consist of the same bytes, whatever their files are called.

    Raises:
        SlideOpenError: A file cannot be read.
    """
    try:
        return sorted(map(file_sha256, a.files)) == sorted(map(file_sha256, b.files))
    except OSError as error:
        raise SlideOpenError(
            f"slides '{a.name}' and '{b.name}' cannot be compared: {error.strerror}; check {error.filename}"
        ) from error
