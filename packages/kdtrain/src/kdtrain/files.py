"""Files whole or not at all, readable as the umask says; the digest that tells one from another; JSON of anyone's."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

_PARTIAL = re.compile(r".+\.\d+\.partial")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file as :func:`open_atomically` does."""
    with open_atomically(path) as file:
        file.write(data)


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that gets its name when the block ends; where the block fails, nothing is left.

    It is written under a temporary name beside its own, flushed to the disk, and renamed; the name is flushed too.
    Its permissions are those that the umask leaves of 0666, so that whoever shares the folder can read it.

    Args:
        path: Where the file will be; its folder is made if there is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a disk that is full says so of an open file, which has no name
        raise


def sync_folder(path: Path) -> None:
    """Put the names of a folder's files onto the disk: they are data of the folder, and need a flush of their own."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_partial(name: str) -> bool:
    """Whether a file's name is one that :func:`open_atomically` writes under."""
    return _PARTIAL.fullmatch(name) is not None


def remove_partials(folder: Path) -> None:
    """Remove what killed commands were writing into a folder; only for the one that holds the folder's lock."""
    for path in folder.iterdir():
        if is_partial(path.name):
            path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Digest of a file's content, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parsed_json(data: bytes | str) -> Any:
    """JSON as Python values.

    Args:
        data: UTF-8, or text.

    Raises:
        ValueError: It is none, in one line; also where it nests deeper than Python counts, which is an error of its
            own kind there.
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is not JSON: brackets within brackets without end") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None
