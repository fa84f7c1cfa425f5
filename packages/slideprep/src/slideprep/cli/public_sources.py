"""The sources of labels.csv of a public data set: words of a command in, files and where they lie out."""

from __future__ import annotations

from collections.abc import Sequence
from os.path import relpath
from pathlib import Path
from typing import TYPE_CHECKING

import click

from slideprep.errors import UsageError
from slideprep.storage.places import Place, Url, place
from slideprep.text import count, file_name, for_terminal

if TYPE_CHECKING:
    from slideprep.labels.public.sheet import Sheet
    from slideprep.labels.public.tcga_files import Listed

_TABLES = (".txt", ".tsv", ".csv", ".json", ".gz", ".xlsx")


def class_and_place(source: str) -> tuple[str, Place]:
    """CLASS=SOURCE in its two parts; a source that exists by the whole name has no class.

    Raises:
        UsageError: It is neither.
    """
    name, equals, rest = source.partition("=")
    whole = place(source)
    if not equals or isinstance(whole, Url) or whole.exists():
        return "", whole
    if not name.strip() or not rest:
        raise UsageError(
            f"'{source}' is neither a file nor a folder, nor CLASS=SOURCE such as LUAD=manifest.txt"
        )
    return name.strip(), place(rest)


def _is_table(where: Place) -> bool:
    from slideprep.slides.files import SUFFIXES

    if isinstance(where, Url):
        return where.suffix.lower() in _TABLES
    return where.is_file() and where.suffix.lower() not in SUFFIXES


def read_sources(
    named: Sequence[tuple[str, Place]], out: Path
) -> tuple[list[Listed], list[Sheet], dict[str, str]]:
    """The files that the sources name, the sources that are tables, and where the slides of the others are, by name.

    Tables come first, since they know contents: a slide that lies in a folder and is in a manifest is one file.

    Raises:
        UsageError: A table is no list of files, or a folder holds no slide.
    """
    from slideprep.labels.public.sheet import read_sheet
    from slideprep.labels.public.tcga_files import Listed, listed_in

    listed: list[Listed] = []
    tables: list[Sheet] = []
    places: dict[str, str] = {}
    for label, where in named:
        if _is_table(where):
            tables.append(read_sheet(where))
            listed += listed_in(tables[-1], label)
    for label, where in named:
        if not _is_table(where):
            found = slides_in(where, out)
            known = {file.name for file in listed if not label or file.label == label}
            new = (name for name in found if name not in known)
            listed += [Listed(name=name, given=str(where), label=label) for name in new]
            places |= found
    return listed, tables, places


def slides_in(folder: Place, out: Path) -> dict[str, str]:
    """Places of the slides that a build would find in a folder and below (or of the one slide), by their names.

    Places are relative to ``out``, as a build takes the paths in a table.

    Raises:
        UsageError: There is no slide.
    """
    from slideprep.slides.discover import look_for_slides

    slides = look_for_slides([str(folder)]).slides
    if isinstance(folder, Url):
        return {slide.name: str(slide.places[0]) for slide in slides}
    paths = {file_name(folder.name): folder} if folder.is_file() else _paths_below(folder)
    base = out.absolute().parent.resolve()  # "..", in a path, is the folder above where a link leads
    return {
        slide.name: file_name(relpath(path.parent.resolve() / path.name, base)) if path else slide.name
        for slide in slides
        for path in [paths.get(slide.name)]
    }


def _paths_below(folder: Path) -> dict[str, Path]:
    """Files below a folder, and folders that may be DICOM series, by the names that lie there.

    A link's target, which is what a search finds, may be called otherwise.
    """
    from slideprep.slides.listing import on_disk

    found: dict[str, Path] = {}
    partial = 0
    for file in on_disk().files_below(folder):
        found.setdefault(file_name(file.name), file)
        found.setdefault(file_name(file.parent.name), file.parent)
        partial += file.suffix == ".partial"
    if partial:
        click.echo(
            for_terminal(
                f"warning: {count(partial, 'download')} in {folder} not finished (*.partial); download again to go on"
            )
        )
    return found


def reference_below(folder: Place) -> Path | None:
    """The file reference.csv in a folder or below; None where there is none, or the folder is in an object store.

    Raises:
        UsageError: There are several.
    """
    if isinstance(folder, Url):
        return None
    found = sorted(folder.rglob("reference.csv"))
    if len(found) > 1:
        raise UsageError(
            f"{folder} holds {len(found)} files reference.csv: {found[0]}, {found[1]}; name one with --reference"
        )
    return found[0] if found else None
