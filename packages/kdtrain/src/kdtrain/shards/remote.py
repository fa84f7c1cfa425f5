"""Object storage, read through fsspec: the only import of it. A whole file at a time; what fails is tried again.

A connection that drops, an answer of 503 and a body that is too short or has another checksum may pass, so they are
tried again, a bounded number of times with growing waits; a file that is not there or may not be read is not. Nothing
here knows of shards.
"""

from __future__ import annotations

import errno
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from kdtrain.errors import UsageError
from kdtrain.files import sha256_of
from kdtrain.shards.error import ShardError
from kdtrain.shards.locations import EXTRAS, Url

WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before the second and each further attempt, halved at random: the ranks of a run must not come in step."""
LOOK_WAITS_S = WAITS_S[:2]
"""Waits for the index and listings, which come first: a wrong endpoint is to be told soon."""
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    # botocore's attempts, s3fs's and ours multiply. Blocks of a file are fetched side by side and held in memory: by
    # default 10 of 50 MB, for every file that is fetched.
    "s3": {
        "config_kwargs": {"retries": {"total_max_attempts": 1}},
        "default_block_size": 8 << 20,
        "max_concurrency": 4,
    },
}
"""What is set for a backend, unless fsspec's own configuration (FSSPEC_S3_..., ~/.config/fsspec) sets it."""
S3FS_ATTEMPTS = 2
"""s3fs makes 5, each of 5, so that a server that takes 15 s not to answer would be waited for by the half hour."""
STORAGE = "storage"
"""The rule of a ShardError that is about the way to the storage and not about the set."""
WRONG_BYTES_AT_MOST = 3
"""Attempts that bring other bytes than the index states: more likely the set was changed than the way is so bad."""
_LOCAL_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EMFILE})
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, TypeError, ValueError)
_CREDENTIALS = re.compile(r"Credential|Authentication|ProfileNotFound|TokenRetrieval|RefreshError")
"""Names of the exceptions that botocore, google.auth and azure raise for want of credentials; all have their own."""
_LONGEST_REASON = 300
_T = TypeVar("_T")


def read_bytes(url: Url) -> bytes:
    """A small file, whole.

    Raises:
        FileNotFoundError: There is none.
        UsageError: The backend's package is not installed, or the storage does not let this user in.
        ShardError: Every attempt failed.
    """
    return _persist(url, lambda: bytes(_filesystem(url).cat_file(url.text)), LOOK_WAITS_S)


def sizes_in(url: Url) -> dict[str, int]:
    """Bytes of every file of a folder, by name; empty where there is no such folder.

    Raises:
        UsageError: As :func:`read_bytes`.
        ShardError: Every attempt failed.
    """
    try:
        return _persist(url, partial(_list, url), LOOK_WAITS_S)
    except FileNotFoundError:
        return {}


def fetch(url: Url, target: Path, *, size: int, sha256: str) -> None:
    """Copy a file to a local one, and check it.

    Args:
        url: Url of the file.
        target: Is replaced.
        size: Bytes that it must have.
        sha256: Its digest.

    Raises:
        OSError: The local disk is full or cannot be written.
        UsageError: As :func:`read_bytes`.
        ShardError: F07 where there is none; every attempt failed; F08 and F09 where the last one brought other bytes
            than the index states.
    """
    try:
        _persist(url, partial(_fetch_once, url, target, size, sha256), WAITS_S)
    except FileNotFoundError as error:
        if error.filename is not None:
            raise  # the local one: somebody emptied its folder
        reason = "the index names this file, but it is not there any more"
        raise ShardError("F07 file-present", url.text, reason) from None


class _OtherBytesError(Exception):
    """What came is not what the index states: cut off on the way, or changed on the server."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


def _fetch_once(url: Url, target: Path, size: int, sha256: str) -> None:
    _filesystem(url).get_file(url.text, str(target))
    found = target.stat().st_size
    if found != size:
        raise _OtherBytesError("F08 file-size", f"{found} bytes came, but the index says {size}")
    if sha256_of(target) != sha256:
        raise _OtherBytesError("F09 file-checksum", "the SHA-256 is not the index's")


def _list(url: Url) -> dict[str, int]:
    entries = _filesystem(url).ls(url.text, detail=True)
    return {entry["name"].rpartition("/")[2]: entry["size"] for entry in entries if entry["type"] == "file"}


def _filesystem(url: Url) -> Any:
    # Asked for at every use: fsspec keeps one for each process, and makes another after a fork.
    import fsspec

    try:
        fsspec.get_filesystem_class(url.scheme)
    except ImportError:
        raise UsageError(
            f'{url.scheme}:// needs another package: pip install "kdtrain[{EXTRAS[url.scheme]}]"'
        ) from None
    configured = import_module("fsspec.config").conf.get(url.scheme, {})
    options = {k: v for k, v in OPTIONS.get(url.scheme, {}).items() if k not in configured}
    # Listings are not kept: a set may have grown since the last look.
    found = fsspec.filesystem(url.scheme, use_listings_cache=False, **options)
    if url.scheme == "s3":
        found.retries = S3FS_ATTEMPTS
    return found


def _persist(url: Url, action: Callable[[], _T], waits_s: Sequence[float]) -> _T:
    failed: list[Exception] = []
    for wait_s in (*waits_s, None):
        try:
            return action()
        except (UsageError, FileNotFoundError):
            raise
        except Exception as error:  # noqa: BLE001 - each backend has exceptions of its own, not all of them OSErrors
            failed.append(error)
            _stop_if_final(url, error)
        wrong = sum(isinstance(error, _OtherBytesError) for error in failed)
        if wait_s is None or wrong == WRONG_BYTES_AT_MOST:
            break
        # Not random's own generator: its state is a run's, and is kept in checkpoints.
        time.sleep(wait_s * random.SystemRandom().uniform(0.5, 1.0))
    raise _given_up(url, failed) from failed[-1]


def _stop_if_final(url: Url, error: Exception) -> None:
    if isinstance(error, OSError) and error.errno in _LOCAL_FAULTS:
        raise error
    if isinstance(error, _FINAL) or _CREDENTIALS.search(type(error).__name__):
        raise UsageError(
            f"{url} cannot be read: {plain(error)}; check the URL, and the credentials and the endpoint that the "
            "environment or the profile files give"
        ) from error


def _given_up(url: Url, failed: list[Exception]) -> ShardError:
    last = failed[-1]
    tried = f"{len(failed)} attempts failed"
    if isinstance(last, _OtherBytesError):
        remedy = "the set was changed since its index was written, or is damaged there; run 'slideprep verify' on it"
        return ShardError(last.rule, url.text, f"{tried}: {plain(last)}", remedy=remedy)
    remedy = "check the network and the storage, then run the same command again"
    return ShardError(STORAGE, url.text, f"{tried}; the last: {plain(last)}", remedy=remedy)


def plain(error: Exception) -> str:
    """An exception's first line without anything secret: no query and no user of a URL, which may be signed."""
    text = str(error).strip() or type(error).__name__
    text = re.sub(r"\?[^\s\"']+", "?...", text.splitlines()[0])
    return re.sub(r"//[^/\s@]+@", "//...@", text)[:_LONGEST_REASON]
