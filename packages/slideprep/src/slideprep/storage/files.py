"""Files that are there whole or not at all, and one way to say that a file could not be written."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slideprep.errors import SlideprepError
from slideprep.storage.remote import UnansweredError


class OutputError(SlideprepError):
    """A file or folder cannot be written: nothing more can be done until a person has looked."""


@contextmanager
def output_errors(path: object) -> Iterator[None]:
    """Turn the operating system's refusals into OutputError; for code that only writes.

    Args:
        path: What is being written, for the message.

    Raises:
        OutputError: An OSError occurred inside.
    """
    try:
        yield
    except UnansweredError as error:
        raise OutputError(
            f"cannot go on with {path}: {error.strerror}; check the network and the store, then run the same command "
            "again: finished shards are kept"
        ) from error
    except OSError as error:
        raise OutputError(
            f"cannot write to {path}: {error.strerror or error}; make room or check permissions, then run the same "
            "command again: finished shards are kept"
        ) from error


def write_atomically(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a file so that it is there whole or not at all, and is still there after a power cut.

    Args:
        path: The file; its folder is made if it is missing.
        data: Its content.
        mode: Its permissions before the umask, from the first byte on.

    Raises:
        OutputError: It cannot be written.
    """
    # machines that share the folder may give two processes the same number
    machine = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    partial = path.with_name(f"{path.name}.{machine}-{os.getpid()}.partial")
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)  # of a killed process that had the same id
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with open(handle, "wb") as file:  # noqa: PTH123 - a handle has no path
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put the names of a folder's files onto the disk: a file's own sync covers its content alone."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_sha256(path: Path) -> str:
    """Digest of a file's content, as hexadecimal digits; it stands for the bytes.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
