"""A folder on this machine or on a shared file system: files are synced and renamed into place, the lock is flock's."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slideprep.errors import UsageError
from slideprep.storage.files import file_sha256, output_errors, sync_folder, write_atomically
from slideprep.storage.remote import Stored
from slideprep.storage.store import PARTIAL, Say

LOCK = ".slideprep/lock"


class _Held:
    def check(self) -> None:
        """Nothing: the operating system keeps the lock until the process ends."""


class LocalStore:
    """See :class:`slideprep.storage.store.Store`.

    Args:
        place: The folder.
    """

    is_remote = False

    def __init__(self, place: Path) -> None:
        self.place = place

    def read(self, path: str) -> bytes:
        """See Store."""
        return (self.place / path).read_bytes()

    def write(self, path: str, data: bytes) -> None:
        """See Store."""
        write_atomically(self.place / path, data)

    def note(self, path: str, data: bytes) -> None:
        """See Store."""
        (self.place / path).write_bytes(data)

    def publish(self, file: Path, path: str) -> Stored:
        """See Store."""
        final = self.place / path
        with output_errors(final):
            size = file.stat().st_size
            final.parent.mkdir(parents=True, exist_ok=True)
            file.replace(final)
            sync_folder(final.parent)
        return Stored(bytes=size)

    def stat(self, path: str) -> Stored | None:
        """See Store."""
        try:
            return Stored(bytes=(self.place / path).stat().st_size)
        except OSError:
            return None

    def unchanged(self, path: str, *, size: int, sha256: str, tag: str | None) -> bool:
        """See Store; the file is read, since a file system keeps no checksum."""
        del tag
        try:
            file = self.place / path
            return file.stat().st_size == size and file_sha256(file) == sha256
        except OSError:
            return False

    def list(self, folder: str) -> dict[str, Stored]:
        """See Store."""
        files = sorted(path for path in (self.place / folder).rglob("*") if not path.is_dir())
        return {path.relative_to(self.place).as_posix(): Stored(bytes=path.lstat().st_size) for path in files}

    def top(self) -> frozenset[str]:
        """See Store."""
        if not self.place.exists():
            return frozenset()
        return frozenset(path.name for path in self.place.iterdir())

    def remove(self, path: str) -> None:
        """See Store."""
        with output_errors(self.place):
            (self.place / path).unlink(missing_ok=True)

    def scratch(self) -> Path:
        """See Store."""
        folder = self.place / PARTIAL
        with output_errors(self.place):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def fetched(self, path: str) -> Iterator[Path]:
        """See Store; the file itself."""
        yield self.place / path

    def tidy(self) -> None:
        """See Store."""
        with output_errors(self.place):
            for left_by_a_kill in (
                *self.place.glob("*.partial"),
                *self.place.joinpath(".slideprep").glob("*.partial"),
                *self.place.joinpath(".slideprep").glob("*/*.partial"),
            ):
                left_by_a_kill.unlink(missing_ok=True)
        shutil.rmtree(self.place / PARTIAL, ignore_errors=True)

    @contextmanager
    def locked(self, say: Say) -> Iterator[_Held]:
        """See Store; the lock ends with the process, however it ends, so nothing is waited for."""
        del say
        path = self.place / LOCK
        with output_errors(self.place):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.open("a+")
        with lock as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another build is writing to {self.place}; wait for it to end, or give another --out"
                ) from None
            yield _Held()
