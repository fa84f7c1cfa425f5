"""A folder of files that a build writes to: on a file system, or in an object store behind an address.

Paths are relative, with forward slashes. Files appear whole or not at all; what grows does so in a local scratch
folder and is published when it is finished. This is what both kinds promise; they stand in ``local`` and
``url``, and ``open`` chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from slideprep.storage.places import Place
from slideprep.storage.remote import Stored

Say = Callable[[str], None]

PARTIAL = ".slideprep/partial"
"""Below it lies what is being made; nothing there outlives the start of the next build."""


class Held(Protocol):
    """A lock that is held."""

    def check(self) -> None:
        """Raise OutputError where the lock was lost to another build."""
        ...


class Store(Protocol):
    """What both kinds of folder do. Every method that writes raises OutputError where it cannot.

    Attributes:
        is_remote: Whether every file costs a request, so that none is written for its own sake.
    """

    is_remote: bool

    @property
    def place(self) -> Place:
        """The folder."""
        ...

    def read(self, path: str) -> bytes:
        """A file's content.

        Raises:
            OSError: It is not there or cannot be read.
        """
        ...

    def write(self, path: str, data: bytes) -> None:
        """Write a small file whole or not at all."""
        ...

    def note(self, path: str, data: bytes) -> None:
        """Write a file that may be lost or torn: word of how far something is."""
        ...

    def publish(self, file: Path, path: str) -> Stored:
        """Move a finished and synced file out of :meth:`scratch` into its place."""
        ...

    def stat(self, path: str) -> Stored | None:
        """Size and tag of a file; None where there is none."""
        ...

    def unchanged(self, path: str, *, size: int, sha256: str, tag: str | None) -> bool:
        """Whether a published file still is what it was.

        Args:
            path: The file.
            size: Its bytes when it was published.
            sha256: Its checksum then.
            tag: What :meth:`publish` gave; it saves reading the file.
        """
        ...

    def list(self, folder: str) -> dict[str, Stored]:
        """All files below a folder, by their path in the store, in order."""
        ...

    def top(self) -> frozenset[str]:
        """Names of the files and folders directly in the store.

        Raises:
            NotADirectoryError: The place is a file.
        """
        ...

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        ...

    def scratch(self) -> Path:
        """A local folder, made if need be, in which files grow; publishing from it is cheap where it can be."""
        ...

    def fetched(self, path: str) -> AbstractContextManager[Path]:
        """A file as a local one, for the length of a block.

        Raises:
            OSError: It cannot be read.
        """
        ...

    def tidy(self) -> None:
        """Remove what a killed build left half-made; only under the lock."""
        ...

    def locked(self, say: Say) -> AbstractContextManager[Held]:
        """Hold the folder against other builds.

        Args:
            say: Told what is being waited for.

        Raises:
            UsageError: Another build holds it.
        """
        ...
