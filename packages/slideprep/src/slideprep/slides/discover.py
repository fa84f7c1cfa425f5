"""Find slides: from files, folders, globs and CSV files to a sorted list of slides, each with all its files.

In: what the user named on the command line. Out: :class:`SlideFile` records in the order of their names, and the
files that were looked at and rejected. A DICOM series is one slide; the companion files of MRXS, VMS and VMU slides
are not slides of their own. Nothing is opened beyond what grouping needs; pixels are not looked at.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from slideprep.errors import InputError, UsageError
from slideprep.slides.files import (
    DICOM_SUFFIXES,
    SUFFIXES,
    Rejected,
    SlideFile,
    _no_csv,
    companions_near,
    files_of_slide,
    listed_slides,
)
from slideprep.storage.places import Url, is_url, place

if TYPE_CHECKING:
    from slideprep.slides.dicom import Instance, NoInstanceError

_SHOWN = 5


@dataclass
class _Found:
    """Candidates while searching: the path as the user wrote it, by the file it leads to."""

    files: dict[Path, Path] = field(default_factory=dict)
    urls: list[Url] = field(default_factory=list)
    folders_of_named_dicom: dict[Path, Path] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        target = path.resolve()
        known = self.files.get(target)
        # of several names for one file, the file's own; else the first in order
        if known is None or (path.is_symlink(), str(path)) < (known.is_symlink(), str(known)):
            self.files[target] = path


def discover(inputs: Sequence[str | Path]) -> tuple[list[SlideFile], list[Rejected]]:
    """Find the slides that the inputs name.

    Args:
        inputs: Files; folders, searched recursively for :data:`SUFFIXES` (hidden files and folders are passed over);
            globs, ``**`` included; CSV files with a column ``path`` or ``slide`` of paths relative to the CSV. Each of
            them, and what a CSV lists, may be an address in an object store.

    Returns:
        Slides sorted by name, each file once however often it was reached; and rejected files sorted by path.

    Raises:
        UsageError: A named path does not exist, a folder or glob holds no slide, a CSV names no files, or two
            different slides have the same name.
    """
    found = _Found()
    places = [place(given) if is_url(given) else Path(place(str(given))) for given in inputs]
    remote = [given for given in places if isinstance(given, Url)]
    missing = [str(given) for given in places if isinstance(given, Path) and not _collect(str(given), found)]
    if missing:
        raise UsageError(
            f"no such file or folder, and no slide matches: {', '.join(missing)}; check the spelling"
        )
    slides, rejected = _group(found)
    if remote or found.urls:
        from slideprep.slides.discover_url import discover_urls

        others, refused = discover_urls([*remote, *found.urls])
        slides, rejected = slides + others, rejected + refused
    _refuse_same_names(slides)
    return sorted(slides, key=lambda s: s.name), sorted(rejected, key=lambda r: str(r.path))


def _collect(given: str, found: _Found) -> bool:
    """Add what one input names; False where there is nothing of that name."""
    path = Path(given)
    if path.suffix.lower() == ".csv" and path.is_file():
        paths, urls = _csv_paths(path)
        for listed in paths:
            _collect_path(listed, found)
        found.urls += urls
        return True
    if path.exists():
        _collect_path(path, found)
        return True
    # glob, not Path.glob: the pattern may be absolute
    matches = [Path(match) for match in glob.glob(given, recursive=True)]  # noqa: PTH207
    files = [m for m in matches if m.is_file() and _is_candidate(m)]
    files += [file for match in matches if match.is_dir() for file in _walk(match)]
    for file in files:
        found.add(file)
    return bool(files)


def _collect_path(path: Path, found: _Found) -> None:
    if path.is_dir():
        _collect_folder(path, found)
        return
    found.add(path)
    if _may_be_dicom(path):
        # the series' other files belong to the slide although only one was named
        found.folders_of_named_dicom[path.resolve()] = path.resolve().parent


def _collect_folder(folder: Path, found: _Found) -> None:
    files = list(_walk(folder))
    if not files:
        raise UsageError(
            f"the folder {folder} holds no slide; looked in it and below for files ending in {' '.join(SUFFIXES)} "
            "(hidden ones are passed over); name a file explicitly if it ends otherwise"
        )
    for file in files:
        found.add(file)


def _walk(folder: Path) -> Iterator[Path]:
    """Files of a folder and below that may be slides, in order; linked folders are followed once."""
    visited: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if not name.startswith(".") and path.is_file() and _is_candidate(path):
                yield path


def _is_candidate(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES or _may_be_dicom(path)


def _may_be_dicom(path: Path) -> bool:
    """DICOM by suffix, or by content where a file has no suffix but perhaps a number, as archives export them."""
    suffix = path.suffix.lower()
    if suffix in DICOM_SUFFIXES:
        return True
    if suffix and not suffix[1:].isdigit():
        return False
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _csv_paths(table: Path) -> tuple[list[Path], list[Url]]:
    """The existing files and folders that a CSV lists, and the addresses in it."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _no_csv(table, error) from error
    values = listed_slides(text, table)
    urls = [Url(value) for value in values if is_url(value)]
    paths = [table.parent / Path(place(value)) for value in values if not is_url(value)]
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(values)} slides that {table} lists do not exist: {_list(missing)}; its paths are "
            "taken relative to the CSV. A table of labels names slides without saying where they are: pass the slides' "
            "folder, and the table with --labels"
        )
    return paths, urls


def _group(found: _Found) -> tuple[list[SlideFile], list[Rejected]]:
    """Take companions out, make one slide of each DICOM series and one of each file that remains."""
    beside = {c for target in found.files for c in companions_near(target)}
    slides: list[SlideFile] = []
    dicom: list[Path] = []
    for target, given in found.files.items():
        if target in beside or any(parent in beside for parent in target.parents):
            continue
        if _may_be_dicom(target):
            dicom.append(target)
        else:
            slides.append(SlideFile(name=given.name, path=target, files=files_of_slide(target)))
    of_series, rejected = _group_dicom(dicom, found.folders_of_named_dicom)
    return slides + of_series, rejected


def _group_dicom(paths: Iterable[Path], named: dict[Path, Path]) -> tuple[list[SlideFile], list[Rejected]]:
    """One slide per series; of files named singly, the whole series they belong to."""
    paths = list(paths)
    if not paths:
        return [], []
    from slideprep.slides.dicom import NoInstanceError, group_series, read_instance

    instances = {}
    others: dict[Path, NoInstanceError] = {}
    for path in paths:
        try:
            instances[path] = read_instance(path)
        except NoInstanceError as error:
            others[path] = error
    rejected = [Rejected(path=path, reason=str(error)) for path, error in others.items()]
    beside = {folder for path, folder in named.items() if path in instances}
    instances |= _siblings(beside, {instance.series for instance in instances.values()}, others)
    series, without_pyramid = group_series(instances.values(), list(others.values()))
    reason = "its series holds no image of the slide itself, only {}; export the series completely"
    rejected += [Rejected(path=i.path, reason=reason.format(i.flavour)) for i in without_pyramid]
    folders = [s.primary.parent for s in series]
    return [
        SlideFile(
            name=s.primary.parent.name + (f"-{s.uid[-8:]}" if folders.count(s.primary.parent) > 1 else ""),
            path=s.primary,
            files=s.files,
        )
        for s in series
    ], rejected


def _siblings(
    folders: Iterable[Path], series: Collection[str], others: dict[Path, NoInstanceError]
) -> dict[Path, Instance]:
    """DICOM files in the folders that belong to one of the series; what cannot be read is added to ``others``."""
    from slideprep.slides.dicom import NoInstanceError, read_instance

    found: dict[Path, Instance] = {}
    for path in (path for folder in folders for path in folder.iterdir()):
        if not path.is_file() or not _may_be_dicom(path):
            continue
        try:
            instance = read_instance(path.resolve())
        except NoInstanceError as error:
            others[error.path] = error
            continue
        if instance.series in series:
            found[instance.path] = instance
    return found


def _refuse_same_names(slides: Iterable[SlideFile]) -> None:
    by_name: dict[str, list[str]] = {}
    for slide in slides:
        by_name.setdefault(slide.name, []).append(str(slide.places[0]))
    clashes = [
        f"'{name}' is {' and '.join(sorted(paths))}"
        for name, paths in sorted(by_name.items())
        if len(paths) > 1
    ]
    if clashes:
        raise UsageError(
            f"different slides have the same name, so labels and results could not tell them apart: {_list(clashes)}; "
            "rename one of each, or pass only one"
        )


def _list(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more


def find_slide(path: str | Path) -> SlideFile:
    """The only slide that a path or address leads to.

    Args:
        path: A slide, the folder of a DICOM series, or the address of either.

    Raises:
        UsageError: There is no slide, or more than one.
        InputError: What is there looks like a slide and is not usable.
    """
    slides, rejected = discover([path])
    if not slides:
        raise InputError("; ".join(item.reason for item in rejected))
    if len(slides) > 1:
        raise UsageError(f"{path} holds {len(slides)} slides ({slides[0].name}, ...); name one of them")
    return slides[0]
