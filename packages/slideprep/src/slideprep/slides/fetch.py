"""Slides of an object store as local files: fetched whole, used, and removed when room is needed.

A task holds what it has open; nothing else takes its files away. What is not in use stays, so that the scan and the
shard of a slide need not fetch it twice, until the folder's limit is reached: then what was used longest ago goes
first. Workers of one machine share the folder; locks of the file system end with the process that held them, so a
killed build leaves at most the folder's limit behind, which the next one uses or removes.

::

    <scratch>/slideprep-<uid>/slides/<hash>/          the files of one slide, named as in the store
    <scratch>/slideprep-<uid>/slides/<hash>.lock      shared while in use, exclusive while fetched or removed
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from slideprep.errors import InputError, SlideOpenError
from slideprep.slides.files import SlideFile, shown_reason
from slideprep.storage import remote
from slideprep.storage.access import Access, scratch_folder, short_hash
from slideprep.storage.files import OutputError, output_errors
from slideprep.storage.remote import UnansweredError

if TYPE_CHECKING:
    from slideprep.slides.files import RemoteSource


@contextmanager
def fetched(file: SlideFile, access: Access) -> Iterator[SlideFile]:
    """A slide as local files, for the length of a block; one that is local already as it is.

    Args:
        file: The slide.
        access: Scratch folder and its limit.

    Raises:
        SlideOpenError: A file is not there any more, is another one by now, or may not be read.
        OutputError: The store does not answer, or the scratch folder is full.
    """
    if file.remote is None:
        yield file
        return
    access.apply()
    folder = scratch_folder(access.scratch, "slides") / short_hash(repr((file.files, file.remote)))
    with _in_use(folder, file, file.remote, access):
        yield _localised(file, file.remote, folder)


def forget(file: SlideFile) -> None:
    """Remove a slide's fetched files, unless another task uses them; for when nobody is expected to need them."""
    if file.remote is not None and file.remote.folder is not None:
        with _opened(file.remote.folder) as lock:
            _remove_if_idle(file.remote.folder, lock)


def forget_idle(access: Access) -> None:
    """Remove every fetched slide that no task of this machine uses, whatever it was fetched for."""
    _make_room(scratch_folder(access.scratch, "slides"), 0, -1)


def _localised(file: SlideFile, source: RemoteSource, folder: Path) -> SlideFile:
    return replace(
        file,
        path=folder / file.path,
        files=tuple(folder / path for path in file.files),
        remote=replace(source, folder=folder),
    )


@contextmanager
def _in_use(folder: Path, file: SlideFile, source: RemoteSource, access: Access) -> Iterator[None]:
    """Hold a shared lock on a complete folder, fetching it first where need be."""
    with output_errors(folder):
        lock = _opened(folder)
    try:
        if not folder.is_dir():
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir() and _is_current(lock, folder):
                _fetch(folder, file, source, access)
        fcntl.flock(lock, fcntl.LOCK_SH)
        if not folder.is_dir() or not _is_current(
            lock, folder
        ):  # removed meanwhile, to make room for another
            lock.close()
            with _in_use(folder, file, source, access):
                yield
            return
        now = time.time_ns()  # a clock that jumps only changes which slide goes first
        os.utime(lock.fileno(), ns=(now, now))
        yield
    finally:
        lock.close()


def _opened(folder: Path) -> BinaryIO:
    return folder.with_suffix(".lock").open("ab")


def _is_current(lock: BinaryIO, folder: Path) -> bool:
    """Whether a lock's file still has its name: it goes when the files go, and a new one may have come."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), folder.with_suffix(".lock").stat())
    except FileNotFoundError:
        return False


def _fetch(folder: Path, file: SlideFile, source: RemoteSource, access: Access) -> None:
    """Fetch all files of a slide; only under its exclusive lock."""
    partial = folder.with_suffix(".partial")
    with output_errors(folder.parent):
        shutil.rmtree(partial, ignore_errors=True)
        _make_room(folder.parent, sum(source.sizes), access.limit_bytes)
        for path, size, tag in zip(file.files, source.sizes, source.tags, strict=True):
            target = partial / path
            target.parent.mkdir(parents=True, exist_ok=True)
            _download(file, source, path, target, size, tag)
        partial.replace(folder)


def _download(
    file: SlideFile, source: RemoteSource, path: Path, target: Path, size: int, tag: str | None
) -> None:
    url = source.base / path.as_posix()
    try:
        now = remote.stat(url)
        if now.bytes != size or now.tag != tag:
            raise SlideOpenError(
                f"slide '{file.name}' changed while the build ran ({url}: {size} bytes then, {now.bytes} now); run "
                "the build again when nothing writes to the slides"
            )
        remote.download(url, target, size=size)
    except UnansweredError as error:
        raise OutputError(
            f"cannot fetch {url}: {error.strerror}; check the network and the store, then run the same command again: "
            "finished shards are kept"
        ) from error
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise SlideOpenError(
            f"slide '{file.name}' cannot be fetched: {error.strerror}; check the object and your permission to read "
            f"it ({url})"
        ) from error


def _make_room(root: Path, needed: int, limit: int) -> None:
    """Remove what is not in use, longest unused first, until ``needed`` more bytes fit under the limit."""
    with (root / "room.lock").open("ab") as room:
        fcntl.flock(room, fcntl.LOCK_EX)
        locks = sorted(root.glob("*.lock"), key=lambda path: (_last_use(path), path.name))
        sizes = {path.with_suffix(""): _size(path.with_suffix("")) for path in locks}
        total = sum(sizes.values())
        for folder in (folder for folder, size in sizes.items() if size):
            if total + needed <= limit:
                return
            with _opened(folder) as lock:
                if _remove_if_idle(folder, lock):
                    total -= sizes[folder]


def _size(folder: Path) -> int:
    """Bytes of a slide's files, half-fetched ones included."""
    total = 0
    with suppress(FileNotFoundError):  # another task removes what it has done with
        for place in (folder, folder.with_suffix(".partial")):
            total += sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return total


def _last_use(lock: Path) -> int:
    try:
        return lock.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _remove_if_idle(folder: Path, lock: BinaryIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    if not _is_current(lock, folder):
        return False
    for place in (folder, folder.with_suffix(".partial")):
        shutil.rmtree(place, ignore_errors=True)
    folder.with_suffix(".lock").unlink(missing_ok=True)
    return True


@contextmanager
def fetched_for_once(file: SlideFile, access: Access) -> Iterator[SlideFile]:
    """A slide as local files for the length of a block; what had to be fetched is removed afterwards.

    Args:
        file: The slide.
        access: How one in an object store is reached.

    Raises:
        InputError: As it was raised in the block, with addresses in place of local copies.
        OutputError: The store does not answer, or the scratch folder is full.
    """
    if file.remote is None:
        yield file
        return
    with ExitStack() as afterwards, fetched(file, access) as local:
        afterwards.callback(forget, local)
        try:
            yield local
        except InputError as error:
            error.args = (shown_reason(str(error), local, local.name),)
            raise
