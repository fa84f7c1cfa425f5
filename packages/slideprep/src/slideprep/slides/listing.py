"""What a folder on disk or in an object store holds: names, sizes, and bytes where a name says too little.

Two listings with one interface, so that the rules of :mod:`slideprep.slides.discover` stand once. On disk links are
followed, and a file is recognised by the path that it resolves to. In a store every look is a request: what one request
told is kept for the length of the search, and many objects of one folder are looked up by listing it.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Protocol

from slideprep.slides.files import RemoteSource, SlideFile
from slideprep.storage import remote
from slideprep.storage.places import SamePlace, Url
from slideprep.storage.remote import Stored
from slideprep.text import file_name, readable

_LIST_FROM = 10
"""So many objects of one folder are looked up by listing it: a listing tells of a thousand at once."""


class Listing(Protocol[SamePlace]):
    """Files by name, and a look into them; where a store refuses, all methods raise OSError."""

    is_remote: bool

    def matches(self, pattern: SamePlace) -> Sequence[SamePlace]:
        """Files and folders that a glob names, ``**`` included; wildcards stand for no hidden name."""

    def files(self, places: Iterable[SamePlace]) -> set[SamePlace]:
        """Those of the places that are files."""

    def files_in(self, folder: SamePlace) -> Iterable[SamePlace]:
        """Files directly in a folder, hidden ones included."""

    def files_below(self, folder: SamePlace) -> Iterable[SamePlace]:
        """Files in a folder and below, hidden ones and what lies in hidden folders passed over."""

    def all_below(self, folder: SamePlace) -> Iterable[SamePlace]:
        """Files in a folder and below, hidden ones included; none where there is no such folder."""

    def read(self, file: SamePlace) -> bytes:
        """A file's content."""

    def read_range(self, file: SamePlace, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file; fewer where it is shorter, and none of a local one that cannot be read."""

    def slide(self, name: str, first: SamePlace, files: Sequence[SamePlace]) -> SlideFile:
        """The record of a slide; ``first`` is the file to open, one of ``files``."""


def on_disk() -> Listing[Path]:
    """Files of this machine."""
    return _Local()


def in_store() -> Listing[Url]:
    """Objects; to be used for one search."""
    return _Remote()


class _Local:
    is_remote = False

    def matches(self, pattern: Path) -> list[Path]:
        # glob, not Path.glob: the pattern may be absolute
        return [Path(match) for match in glob.glob(str(pattern), recursive=True)]  # noqa: PTH207

    def files(self, places: Iterable[Path]) -> set[Path]:
        return {path for path in places if path.is_file()}

    def files_in(self, folder: Path) -> set[Path]:
        return self.files(folder.glob("*"))  # unlike iterdir silent of a folder that may not be listed

    def files_below(self, folder: Path) -> Iterator[Path]:
        visited: set[str] = set()
        for parent, folders, names in os.walk(folder, followlinks=True):
            real = os.path.realpath(parent)
            if real in visited:  # linked folders are followed once
                folders.clear()
                continue
            visited.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from self.files(Path(parent, name) for name in names if not name.startswith("."))

    def all_below(self, folder: Path) -> set[Path]:
        folder = folder.resolve()
        return self.files(folder.rglob("*")) if folder.is_dir() else set()

    def read(self, file: Path) -> bytes:
        return file.read_bytes()

    def read_range(self, file: Path, start: int, stop: int) -> bytes:
        with suppress(OSError), file.open("rb") as stream:
            stream.seek(start)
            return stream.read(stop - start)
        return b""

    def slide(self, name: str, first: Path, files: Sequence[Path]) -> SlideFile:
        return SlideFile(name=file_name(name), path=first, files=tuple(files))


class _Remote:
    is_remote = True

    def __init__(self) -> None:
        self._known: dict[Url, Stored] = {}

    def matches(self, pattern: Url) -> list[Url]:
        return [url for url in remote.matches(pattern) if not url.name.startswith(".")]

    def files(self, places: Iterable[Url]) -> set[Url]:
        asked = set(places)
        unknown = sorted(asked - self._known.keys(), key=lambda url: url.rpartition("/"))
        for folder, urls in groupby(unknown, lambda url: url.parent):
            inside = list(urls)
            if len(inside) >= _LIST_FROM:
                self.files_in(folder)
                continue
            for url in inside:
                with suppress(FileNotFoundError, IsADirectoryError):
                    self._known[url] = remote.stat(url)
        return asked & self._known.keys()

    def files_in(self, folder: Url) -> list[Url]:
        return self._noted(folder, remote.children(folder))

    def files_below(self, folder: Url) -> list[Url]:
        return [url for url in self.all_below(folder) if "/." not in url.removeprefix(folder)]

    def all_below(self, folder: Url) -> list[Url]:
        return self._noted(folder, remote.find(folder))

    def _noted(self, folder: Url, entries: Mapping[str, Stored | None]) -> list[Url]:
        inside = {folder / name: stored for name, stored in entries.items() if stored}
        self._known |= inside
        return list(inside)

    def read(self, file: Url) -> bytes:
        return remote.read_bytes(file)

    def read_range(self, file: Url, start: int, stop: int) -> bytes:
        size = self._known[file].bytes  # S3 answers a range that begins behind the end with an error
        return remote.read_range(file, start, min(stop, size)) if start < size else b""

    def slide(self, name: str, first: Url, files: Sequence[Url]) -> SlideFile:
        base = first.parent  # becomes the deepest folder that holds all of them
        while not all(url.startswith(f"{base}/") for url in files):
            base = base.parent
        ordered = sorted(files)
        stored = [self._known[url] for url in ordered]
        return SlideFile(
            name=readable(name),
            path=Path(first.removeprefix(f"{base}/")),
            files=tuple(Path(url.removeprefix(f"{base}/")) for url in ordered),
            remote=RemoteSource(
                base=base, sizes=tuple(one.bytes for one in stored), tags=tuple(one.tag for one in stored)
            ),
        )
