"""A folder of fetched shards, bounded in size, that all processes of a machine share.

In: a shard's file as the index states it, and where it comes from. Out: the file, open, whole and verified. A shard
is kept under its SHA-256, so sets that share shards share their copies, and a shard that was replaced on the server
is another file::

    CACHE/<sha256>.tar              verified; its time of change is when it was last read
    CACHE/<sha256>.<bytes>.partial  being fetched; its size is set aside for it from the beginning
    CACHE/<sha256>.lock             held while it is fetched: one process fetches, the others wait
    CACHE/cache.lock                held for a moment, to make room

All locks are the operating system's (flock): they end with their process, however it ends. A reader holds a shared
lock on the tar itself for as long as one sample takes; what is so held is not evicted, and else goes what was not read
for the longest time. Nobody holds a tar while waiting for room, so processes cannot wait for each other in a circle.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kdtrain.errors import UsageError
from kdtrain.shards.error import ShardError
from kdtrain.shards.models import ShardFile
from kdtrain.shards.remote import STORAGE

Fetch = Callable[[Path], None]
"""Copies a shard to a local file and checks it."""
VARIABLE = "KDTRAIN_SHARD_CACHE"
DEFAULT_GB = 20.0
GB = 1_000_000_000
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 600.0
"""How long to wait for room that other processes hold; each holds it for one fetch, so longer means that one hangs."""


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """Where fetched shards are kept, and how much of them.

    Attributes:
        directory: The folder; is made when the first shard is fetched.
        limit_bytes: Most bytes of all files in it together.
    """

    directory: Path
    limit_bytes: int


def cache_settings(directory: Path | None = None, gigabytes: float = DEFAULT_GB) -> CacheSettings:
    """Settings out of the options.

    Args:
        directory: ``--shard-cache``; None takes KDTRAIN_SHARD_CACHE, else the user's cache folder.
        gigabytes: ``--shard-cache-gb``, of 10^9 bytes.
    """
    if directory is None:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        directory = Path(os.environ.get(VARIABLE) or Path(base) / "kdtrain" / "shards")
    return CacheSettings(directory=directory, limit_bytes=int(gigabytes * GB))


class ShardCache:
    """The cache, as one process uses it.

    Args:
        settings: Where and how large.

    Raises:
        UsageError: The folder cannot be made or written.
    """

    def __init__(self, settings: CacheSettings) -> None:
        self._directory = settings.directory
        self._limit = settings.limit_bytes
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with self._locked(self._directory / "cache.lock"):
                pass
        except OSError as error:
            raise UsageError(
                f"the shard cache {self._directory} cannot be written ({error.strerror or error}); give another "
                f"folder by --shard-cache or {VARIABLE}"
            ) from None

    @contextmanager
    def reading(self, file: ShardFile, fetch: Fetch) -> Iterator[BinaryIO]:
        """A shard's tar, fetched if need be; it is not evicted while it is held.

        Hold it for one sample only: who holds a tar for long keeps others from finding room.

        Args:
            file: As the index states it.
            fetch: Brings it.

        Raises:
            ShardError: It cannot be fetched, or the cache's disk is full.
        """
        tar = self._opened(file, fetch, lambda: True)
        assert tar is not None, "what is wanted is opened"
        try:
            yield tar
        finally:
            _release(tar)

    def ensure(self, file: ShardFile, fetch: Fetch, *, wanted: Callable[[], bool] = lambda: True) -> None:
        """Fetch a shard that is not there: ahead of its reader.

        Args:
            file: As the index states it.
            fetch: Brings it.
            wanted: Asked when nobody else can be fetching it any more: its reader may have been faster, and be done
                with it.

        Raises:
            ShardError: As :meth:`reading`.
        """
        tar = self._opened(file, fetch, wanted)
        if tar is not None:
            _release(tar)

    def keep(self, file: ShardFile) -> None:
        """Have a shard that is there count as just read; one that is not is not fetched."""
        with suppress(OSError):
            _touch(self._path(file))

    def _path(self, file: ShardFile) -> Path:
        return self._directory / f"{file.sha256}.tar"

    def _held(self, file: ShardFile) -> BinaryIO | None:
        try:
            tar = self._path(file).open("rb")
        except FileNotFoundError:
            return None
        fcntl.flock(tar, fcntl.LOCK_SH)
        state = os.fstat(tar.fileno())
        if state.st_nlink and state.st_size == file.bytes:
            _touch(tar.fileno())
            return tar
        _release(tar)  # evicted between the opening and the lock, or damaged since
        return None

    def _opened(self, file: ShardFile, fetch: Fetch, wanted: Callable[[], bool]) -> BinaryIO | None:
        try:
            return self._held(file) or self._fetched(file, fetch, wanted)
        except OSError as error:
            reason = f"the shard cache cannot be used: {error.strerror or error}"
            remedy = f"make room on its disk or allow writing, or give another folder by --shard-cache or {VARIABLE}"
            raise ShardError(STORAGE, self._directory, reason, remedy=remedy) from error

    def _fetched(self, file: ShardFile, fetch: Fetch, wanted: Callable[[], bool]) -> BinaryIO | None:
        with self._locked(self._directory / f"{file.sha256}.lock", drop=True):
            # Another process may have been faster.
            held = self._held(file)
            return self._fetch(file, fetch) if held is None and wanted() else held

    def _fetch(self, file: ShardFile, fetch: Fetch) -> BinaryIO:
        partial = self._directory / f"{file.sha256}.{file.bytes}.partial"
        self._make_room(file, partial)
        try:
            fetch(partial)
            tar = partial.open("rb")
            fcntl.flock(tar, fcntl.LOCK_SH)
            os.fsync(tar.fileno())
            _touch(tar.fileno())
            partial.replace(self._path(file))
            return tar
        finally:
            partial.unlink(missing_ok=True)

    def _make_room(self, file: ShardFile, partial: Path) -> None:
        """Evict until the file fits, and set its size aside under the name of its partial file."""
        assert file.bytes <= self._limit, (
            "a cache too small is refused before anything is read (kdtrain.shards.open_tars)"
        )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with self._locked(self._directory / "cache.lock"):
                if self._evict(self._limit - file.bytes):
                    partial.touch()
                    return
            if time.monotonic() > deadline:
                reason = (
                    f"no room for {file.bytes} bytes within {_PATIENCE_SECONDS:g} s: others hold all of it"
                )
                remedy = "end a process that hangs, or give more by --shard-cache-gb"
                raise ShardError(STORAGE, self._directory, reason, remedy=remedy)
            time.sleep(_POLL_SECONDS)

    def _evict(self, allowed: int) -> bool:
        """Bring the files down to so many bytes, the longest unread first; whether that was possible."""
        self._drop_dead_partials()
        used = sum(map(_counted, self._directory.iterdir()))
        for tar in sorted(self._directory.glob("*.tar"), key=_last_read):
            if used <= allowed:
                break
            used -= _evicted(tar)
        return used <= allowed

    def _drop_dead_partials(self) -> None:
        for partial in self._directory.glob("*.partial"):
            lock = self._directory / f"{partial.name.partition('.')[0]}.lock"
            with lock.open("ab") as held:
                if _try_lock(held):
                    # Nobody fetches it: its process was killed.
                    partial.unlink(missing_ok=True)
                    lock.unlink(missing_ok=True)
                    fcntl.flock(held, fcntl.LOCK_UN)

    @contextmanager
    def _locked(self, path: Path, *, drop: bool = False) -> Iterator[None]:
        """Hold a lock file; with ``drop`` it is removed in the end, by its holder alone."""
        while True:
            file = path.open("ab")
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                break
            _release(file)  # its last holder removed it
        try:
            yield
        finally:
            if drop:
                path.unlink(missing_ok=True)
            _release(file)


def _release(file: BinaryIO) -> None:
    # By name: a process that was forked meanwhile holds a copy, and closing ours alone would keep the lock.
    fcntl.flock(file, fcntl.LOCK_UN)
    file.close()


def _touch(tar: Path | int) -> None:
    # The clock only decides what is evicted first. The kernel's own is 4 ms coarse: many small samples.
    now = time.time_ns()
    os.utime(tar, ns=(now, now))


def _try_lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    return True


def _counted(path: Path) -> int:
    if path.suffix == ".partial":
        return int(path.name.split(".")[1])
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _last_read(tar: Path) -> tuple[int, str]:
    with suppress(FileNotFoundError):
        return tar.stat().st_mtime_ns, tar.name
    return 0, tar.name


def _evicted(tar: Path) -> int:
    """Remove a tar that nobody reads; the bytes gained."""
    with suppress(FileNotFoundError), tar.open("r+b") as file:
        if _try_lock(file):
            size = os.fstat(file.fileno()).st_size
            tar.unlink()
            fcntl.flock(file, fcntl.LOCK_UN)
            return size
    return 0
