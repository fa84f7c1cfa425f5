"""Objects in a store, by their addresses: the only import of fsspec.

Every call is made again a few times, with growing pauses, where the store did not answer or was too busy; what it
refuses for good is raised at once. All trouble is an OSError whose ``strerror`` can be shown: addresses of signed
requests and secrets of the environment are taken out of it. Nothing is cached, neither listings nor content.
"""

from __future__ import annotations

import errno
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from slideprep.errors import UsageError
from slideprep.storage.places import Url

Result = TypeVar("Result")

ATTEMPTS = 6
"""How often a request is made, on top of what the store's own client repeats."""
FIRST_WAIT_S = 0.5
"""Pause after the first attempt; it doubles, so six attempts take 16 s longer than one."""
PIECE_BYTES = 16 * 2**20
"""Bytes per request where an object is read in pieces."""

S3_PARTS = 2
"""Parts of one object that are in flight, 50 MB each; s3fs alone takes ten, 500 MB of memory for every worker."""

EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
}
"""Which extra of this package brings the client of a protocol."""

_CODES = {
    FileNotFoundError: errno.ENOENT,
    FileExistsError: errno.EEXIST,
    PermissionError: errno.EACCES,
    IsADirectoryError: errno.EISDIR,
    NotADirectoryError: errno.ENOTDIR,
}
_FOR_GOOD = tuple(_CODES)
_LOCAL_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG, errno.EMFILE}
_CLIENTS = {
    "aiohttp",
    "aiobotocore",
    "azure",
    "botocore",
    "fsspec",
    "gcsfs",
    "google",
    "http",
    "requests",
    "urllib3",
}
_NO_CREDENTIALS = {
    "ClientAuthenticationError", "DefaultCredentialsError", "NoCredentialsError", "PartialCredentialsError",
    "ProfileNotFound", "RefreshError",
}  # fmt: skip
_SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|CREDENTIAL|SAS|KEY|CONNECTION_STRING")
_TAGS = ("md5Hash", "ETag", "etag")
"""What stores call the mark of an object's content, best first."""


class UnansweredError(OSError):
    """A store did not answer a request, or was too busy, every time it was made."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a store knows of an object without reading it.

    Attributes:
        bytes: Its size.
        tag: The store's mark of its content (ETag or MD5), which changes with it; None where the store has none.
    """

    bytes: int
    tag: str | None = None


def check_reachable(url: Url) -> None:
    """Refuse an address whose client is missing.

    Raises:
        UsageError: The protocol is unknown, or the package that speaks it is not installed.
    """
    _filesystem(url)


def stat(url: Url) -> Stored:
    """Size and tag of an object.

    Raises:
        OSError: There is none (FileNotFoundError), or the store refuses.
    """
    info = _attempt(url, lambda fs, path: fs.info(path))
    if info["type"] != "file":
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(url))
    return _stored(info)


def read_bytes(url: Url) -> bytes:
    """An object's content."""
    return bytes(_attempt(url, lambda fs, path: fs.cat_file(path)))


def read_range(url: Url, start: int, stop: int) -> bytes:
    """Bytes [start, stop) of an object; fewer where it is shorter."""
    return bytes(_attempt(url, lambda fs, path: fs.cat_file(path, start=start, end=stop)))


def write_bytes(url: Url, data: bytes) -> None:
    """Write an object in one request: it is there whole or not at all."""
    _attempt(url, lambda fs, path: fs.pipe_file(path, data))


def create(url: Url, data: bytes) -> None:
    """Write an object if there is none.

    Raises:
        FileExistsError: There is one. It may be ours: the answer to an earlier attempt may have been lost.
    """
    _attempt(url, lambda fs, path: fs.pipe_file(path, data, mode="create"))


def upload(file: Path, url: Url) -> Stored:
    """Write a local file's content as an object, and look whether all of it arrived."""
    size = file.stat().st_size

    def put(fs: Any, path: str) -> Stored:
        fs.put_file(str(file), path)
        arrived = _stored(fs.info(path))
        if arrived.bytes != size:
            raise OSError(errno.EIO, f"{arrived.bytes} of {size} bytes arrived")
        return arrived

    return _attempt(url, put)


def download(url: Url, file: Path, *, size: int) -> None:
    """Write an object's content to a local file, and look whether it has the expected size."""

    def get(fs: Any, path: str) -> None:
        fs.get_file(path, str(file))
        if file.stat().st_size != size:
            raise OSError(errno.EIO, f"{file.stat().st_size} of {size} bytes arrived")

    _attempt(url, get)


def remove(url: Url) -> None:
    """Remove an object; it is no fault if there is none."""

    def delete(fs: Any, path: str) -> None:
        try:
            fs.rm_file(path)
        except FileNotFoundError:
            return

    _attempt(url, delete)


def find(url: Url) -> dict[str, Stored]:
    """All objects below an address, by their path relative to it, in order; empty where there is nothing."""

    def search(fs: Any, path: str) -> dict[str, Stored]:
        try:
            found = fs.find(path, detail=True)
        except FileNotFoundError:
            return {}
        start = path.rstrip("/") + "/"
        return {
            name.removeprefix(start): _stored(info)
            for name, info in sorted(found.items())
            if info["type"] == "file" and name.startswith(start) and not name.endswith("/")
        }

    return _attempt(url, search)


def children(url: Url) -> dict[str, Stored | None]:
    """What lies directly below an address, by name: objects, and folders as None.

    Raises:
        NotADirectoryError: The address is an object itself.
    """

    def search(fs: Any, path: str) -> dict[str, Stored | None]:
        try:
            entries = fs.ls(path, detail=True)
        except FileNotFoundError:
            return {}
        root = path.rstrip("/")
        if [entry["name"].rstrip("/") for entry in entries if entry["type"] == "file"] == [root]:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(url))
        return {
            entry["name"].rstrip("/").rpartition("/")[2]: _stored(entry) if entry["type"] == "file" else None
            for entry in entries
            if entry["name"].rstrip("/") != root
        }

    return _attempt(url, search)


def matches(url: Url) -> list[Url]:
    """The objects and folders that a pattern names, sorted."""
    base = Url(re.split(r"[*?\[]", url, maxsplit=1)[0].rpartition("/")[0])
    root = _filesystem(base)[1].rstrip("/") + "/"
    names = _attempt(url, lambda fs, path: fs.glob(path))
    return sorted(base / name.removeprefix(root).rstrip("/") for name in names)


def _filesystem(url: Url) -> tuple[Any, str]:
    try:
        from fsspec.config import conf
        from fsspec.core import url_to_fs

        options: dict[str, Any] = {"use_listings_cache": False}
        if url.protocol in ("s3", "s3a") and "max_concurrency" not in conf.get(url.protocol, {}):
            options["max_concurrency"] = S3_PARTS
        return url_to_fs(str(url), **options)  # type: ignore[no-any-return]
    except ImportError:
        extra = EXTRAS.get(url.protocol)
        package = (
            f"pip install 'slideprep[{extra}]'" if extra else "install the fsspec package that speaks it"
        )
        raise UsageError(f"{url}: the client for {url.protocol}:// is not installed; {package}") from None
    except ValueError as error:
        known = ", ".join(f"{name}://" for name in ("s3", "gs", "az"))
        raise UsageError(
            f"{url} cannot be used ({_plain(error)}); addresses begin with {known}, paths with none"
        ) from None


def _stored(info: Mapping[str, Any]) -> Stored:
    tag = next((str(info[name]).strip('"') for name in _TAGS if info.get(name)), None)
    return Stored(bytes=int(info["size"]), tag=tag)


def _attempt(url: Url, call: Callable[[Any, str], Result]) -> Result:
    """Make a request until it is answered.

    Raises:
        OSError: The store refuses for good.
        UnansweredError: It did not answer any attempt.
    """
    fs, path = _filesystem(url)
    for number in range(ATTEMPTS):
        try:
            return call(fs, path)
        except Exception as error:
            if not _is_passing(error):
                raise _refusal(error, url) from error
            last = error
        if number + 1 < ATTEMPTS:
            # a random part, so that many workers do not come back all at once
            time.sleep(FIRST_WAIT_S * 2**number * random.uniform(0.5, 1.0))
    raise UnansweredError(
        errno.EIO, f"no answer from the store in {ATTEMPTS} attempts ({_plain(last)})", str(url)
    ) from last


def _is_passing(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, _FOR_GOOD) or type(error).__name__ in _NO_CREDENTIALS:
        return False
    if isinstance(error, OSError):
        return error.errno not in _LOCAL_TROUBLE
    return isinstance(error, EOFError) or type(error).__module__.partition(".")[0] in _CLIENTS


def _refusal(error: Exception, url: Url) -> Exception:
    if type(error).__name__ in _NO_CREDENTIALS:
        return PermissionError(errno.EACCES, f"no usable credentials ({_plain(error)})", str(url))
    if isinstance(error, OSError):
        final = next((kind for kind in _FOR_GOOD if isinstance(error, kind)), OSError)
        code = error.errno or _CODES.get(final, errno.EIO)
        return final(code, _plain(error) if error.strerror else os.strerror(code), str(url))
    return error


def _plain(error: Exception) -> str:
    """The first line of an error's message without what must not be shown."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    text = re.sub(r"\?\S+=\S+", "?...", text.splitlines()[0])
    secrets = {value for name, value in os.environ.items() if _SECRET.search(name) and len(value) > 5}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "...")
    return text
