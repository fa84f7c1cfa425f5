"""Where something lies: a local path, or the address of an object in a store, such as ``s3://bucket/set``.

A :class:`Url` has the few operations of a ``Path`` that names and messages need, so that code which only joins and
shows places need not ask which of the two it has. Nothing is read here.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TypeVar

from slideprep.errors import UsageError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_SHORTENED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""An address that went through a ``Path`` has lost a slash."""
_LOCAL = ("file://", "local://")
_PASSWORD = re.compile(r"://[^/@]*:[^/@]*@")


class Url(str):
    """An address ``protocol://root/path`` without a slash at its end."""

    __slots__ = ()

    def __new__(cls, text: str) -> Url:
        """The address of ``text``; one slash, or several, at its end are dropped."""
        return super().__new__(cls, text.rstrip("/"))

    def __truediv__(self, part: str) -> Url:
        return Url(f"{self}/{part}")

    @property
    def protocol(self) -> str:
        """What stands before ``://``."""
        return self.partition("://")[0]

    @property
    def name(self) -> str:
        """The last part."""
        return self.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """Suffix of the last part, with its dot; empty where there is none."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> Url:
        """The address of the folder."""
        return Url(self.rpartition("/")[0])

    def resolve(self) -> Url:
        """The address itself: it is the same on every machine."""
        return self


Place = Path | Url
SamePlace = TypeVar("SamePlace", Path, Url)
"""One of the two, and the same throughout."""


def is_url(text: object) -> bool:
    """Whether a text or path is an address that is not on this machine's file system."""
    given = str(text)
    return _ADDRESS.match(given) is not None and not given.startswith(_LOCAL)


def place(given: object) -> Place:
    """What a person wrote as a place: ``file://`` addresses become paths.

    Raises:
        UsageError: It is neither a text nor a path, names no bucket, or holds a password.
    """
    if isinstance(given, Path | Url):
        return given
    if not isinstance(given, str) or not given or "\0" in given:
        raise UsageError(f"{given!r} is no place; give a path, or an address such as s3://bucket/folder")
    if _PASSWORD.search(given):
        raise UsageError(
            f"the address of {given.rpartition('@')[2]} holds a password, which would end up in logs; leave it out and "
            "set the credentials in the environment (docs/storage.md)"
        )
    if is_url(given):
        if not given.partition("://")[2].strip("/"):
            raise UsageError(f"{given} names no bucket; give an address such as s3://bucket/folder")
        return Url(given)
    for prefix in _LOCAL:
        given = given.removeprefix(prefix)
    return Path(given)


def local_path(given: object) -> object:
    """A path as it is; refuses an address where only a local path will do.

    Raises:
        ValueError: It is an address.
    """
    if "\0" in str(given):
        raise ValueError(f"{given!r} is no path")
    if _SHORTENED.match(str(given)):
        raise ValueError(f"{given} is an address, and this has to be a file or folder on this machine")
    return given
