"""Find slides: from files, folders, globs and CSV files to a sorted list of slides, each with all its files.

In: what the user named on the command line, on disk or in an object store. Out: :class:`SlideFile` records in the order
of their names, and the files that were looked at and rejected. A DICOM series is one slide; the companion files of
MRXS, VMS and VMU slides are not slides of their own. Nothing is read beyond what grouping needs: the index of a VMS or
VMU slide and the first tags of a DICOM file; pixels are not looked at.

The rules stand here once; how a folder on disk or in a store is looked through is the part of
:mod:`slideprep.slides.listing`.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slideprep.errors import InputError, UsageError
from slideprep.slides.files import (
    DICOM_SUFFIXES,
    INDEX_SUFFIXES,
    LIST_SUFFIXES,
    SUFFIXES,
    RejectedFile,
    SlideFile,
    listed_slides,
    named_in,
)
from slideprep.slides.listing import Listing, in_store, on_disk
from slideprep.slides.passed_over import is_noted, passed_over
from slideprep.storage.places import Place, SamePlace, Url, is_url, place
from slideprep.text import as_on_disk, csv_value, revealed

if TYPE_CHECKING:
    from slideprep.slides.dicom import Instance, NoInstanceError

_Discovered = tuple[list[SlideFile], list[RejectedFile]]

_SHOWN = 5
_HEAD_BYTES = 256 * 1024
"""Read of a DICOM object in a store: the tags that group files come first, and label texts before them are short."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the inputs of a command lead to.

    Attributes:
        slides: Sorted by name, each file once however often it was reached.
        rejected: Files that look like slides and are none, sorted by path.
        passed_over: A sentence about files in searched folders that a person might take for slides and that nothing
            here reads, with how many there are of each suffix; None where there are none.
    """

    slides: list[SlideFile]
    rejected: list[RejectedFile]
    passed_over: str | None


def find_slides(inputs: Sequence[str | Path]) -> tuple[list[SlideFile], list[RejectedFile]]:
    """Find the slides that the inputs name; see :func:`look_for_slides`.

    Returns:
        Slides sorted by name, each file once however often it was reached; and rejected files sorted by path.
    """
    found = look_for_slides(inputs)
    return found.slides, found.rejected


def look_for_slides(inputs: Sequence[str | Path]) -> Found:
    """Find the slides that the inputs name, and what was passed over.

    Args:
        inputs: Files; folders, searched recursively for :data:`SUFFIXES` (hidden files and folders are passed over);
            globs, ``**`` included; tables (CSV, TSV, text) with a column ``path`` or ``slide`` of paths relative to the
            table, or with one path a line. Each of them, and what a table lists, may be an address in an object store.

    Raises:
        UsageError: A named path does not exist, a folder or glob holds no slide, a CSV names no files, two
            different slides have the same name, or a store does not let us look.
    """
    given = [place(str(item)) for item in inputs]
    noted: Counter[str] = Counter()
    named = _with_listed(on_disk(), [item for item in given if isinstance(item, Path)])
    slides, rejected = _search(on_disk(), [item for item in named if isinstance(item, Path)], noted)
    urls = [item for item in given + named if isinstance(item, Url)]
    if urls:
        others, refused = _search_store(urls, noted)
        slides, rejected = slides + others, rejected + refused
    _refuse_same_names(slides)
    return Found(
        slides=sorted(slides, key=lambda s: s.name),
        rejected=sorted(rejected, key=lambda r: str(r.path)),
        passed_over=passed_over(noted),
    )


def find_slide(path: str | Path) -> SlideFile:
    """The only slide that a path or address leads to.

    Args:
        path: A slide, the folder of a DICOM series, or the address of either.

    Raises:
        UsageError: There is no slide, or more than one.
        InputError: What is there looks like a slide and is not usable.
    """
    slides, rejected = find_slides([path])
    if not slides:
        raise InputError("; ".join(item.reason for item in rejected))
    if len(slides) > 1:
        raise UsageError(f"{path} holds {len(slides)} slides ({slides[0].name}, ...); name one of them")
    return slides[0]


def _search_store(urls: Sequence[Url], noted: Counter[str]) -> _Discovered:
    try:
        named = _with_listed(in_store(), urls)
        return _search(in_store(), [item for item in named if isinstance(item, Url)], noted)
    except OSError as error:
        where = error.filename or ", ".join(urls[:_SHOWN])
        raise UsageError(
            f"cannot look for slides at {where}: {error.strerror}; check the address, the credentials and the network"
        ) from error


def _with_listed(listing: Listing[SamePlace], given: Sequence[SamePlace]) -> list[Place]:
    """What was named, with what tables list in their place; a local table may list addresses."""
    named: list[Place] = []
    listed: list[Place] = []
    for item in given:
        values = None
        if item.suffix.lower() in LIST_SUFFIXES and (isinstance(item, Url) or item.is_file()):
            values = _values(item, listing.read(item))
        if values is None:
            named.append(item)
        else:
            listed += _listed(item, values)
    return named + listed


def _values(table: Place, content: bytes) -> list[str] | None:
    """What a table lists; None of a text that is no table, such as a note that a shell's wildcard named as well."""
    try:
        return listed_slides(content, table)
    except UsageError:
        if table.suffix.lower() == ".txt":
            return None
        raise


def _listed(table: Place, values: Sequence[str]) -> list[Place]:
    places: list[Place] = []
    for value in values:
        if is_url(value):
            places.append(Url(value))
        elif isinstance(table, Url):
            places.append(table.parent / value.removeprefix("./"))
        else:
            places.append(_on_disk(table.parent, value))
    missing = [str(item) for item in places if isinstance(item, Path) and not item.exists()]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(places)} slides that {table} lists do not exist: {_list(missing)}; its paths are "
            "taken relative to it. A table of labels names slides without saying where they are: pass the slides' "
            "folder, and the table with --labels"
        )
    return places


def _on_disk(folder: Path, value: str) -> Path:
    """What a table means: a name as it is, or as our own tables write it, with an apostrophe or escapes."""
    written = [folder / Path(place(text)) for text in (value, csv_value(value), as_on_disk(csv_value(value)))]
    return next((path for path in written if path.exists()), written[0])


def _search(listing: Listing[SamePlace], given: Sequence[SamePlace], noted: Counter[str]) -> _Discovered:
    """The slides at files, folders and globs; what else lies there is counted in ``noted``."""
    plain = dict.fromkeys(item for item in given if not _is_glob(item))
    globs = [item for item in given if item not in plain]
    files = listing.files(plain)
    found: dict[SamePlace, SamePlace] = {}
    _add(found, [item for item in plain if item in files])
    named = set(found)
    folders = [item for item in plain if item not in files]
    missing = [folder for folder in folders if not _add(found, _candidates_below(listing, folder, noted))]
    missing += [
        pattern for pattern in globs if not _add(found, _candidates_matching(listing, pattern, noted))
    ]
    if missing:
        raise _nothing_at(missing, passed_over(noted))
    return _group(listing, found, named)


def _add(found: dict[SamePlace, SamePlace], names: Sequence[SamePlace]) -> bool:
    """Note the names of files by what they lead to; False where there are none."""
    for name in names:
        file = name.resolve()
        found[file] = min(found.get(file, name), name, key=_own_name_first)
    return bool(names)


def _own_name_first(name: Place) -> tuple[bool, str]:
    """Of several names for one file, its own comes before those of links; else the first in order."""
    return isinstance(name, Path) and name.is_symlink(), str(name)


def _is_glob(named: Place) -> bool:
    """A local file is none, whatever its name."""
    return any(sign in named for sign in "*?[") if isinstance(named, Url) else not named.exists()


def _candidates_below(listing: Listing[SamePlace], folder: SamePlace, noted: Counter[str]) -> list[SamePlace]:
    return _candidates(listing, listing.files_below(folder), noted)


def _candidates_matching(
    listing: Listing[SamePlace], pattern: SamePlace, noted: Counter[str]
) -> list[SamePlace]:
    """Files that a glob matches, and those in folders that it matches."""
    matches = listing.matches(pattern)
    files = listing.files(matches)
    found = _candidates(listing, [match for match in matches if match in files], noted)
    for folder in (match for match in matches if match not in files):
        found += _candidates_below(listing, folder, noted)
    return found


def _candidates(
    listing: Listing[SamePlace], files: Iterable[SamePlace], noted: Counter[str]
) -> list[SamePlace]:
    found = []
    for file in files:
        if _is_candidate(listing, file):
            found.append(file)
        elif is_noted(file.suffix.lower()):
            noted[file.suffix.lower()] += 1
    return found


def _nothing_at(missing: Sequence[Place], others: str | None) -> UsageError:
    """What to say of places without a slide; ``others`` are the files that were passed over."""
    besides = f". {others[0].upper()}{others[1:]}" if others else ""
    names = list(map(str, missing))
    if isinstance(missing[0], Url):
        return UsageError(
            f"nothing to read at {_list(names)}: no such object, or a folder without slides; check the "
            f"spelling{besides}"
        )
    folder = next((item for item in missing if isinstance(item, Path) and item.is_dir()), None)
    if folder is None:
        return UsageError(
            f"no such file or folder, and no slide matches: {', '.join(names)}; check the spelling{besides}"
        )
    return UsageError(
        f"the folder {folder} holds no slide; looked in it and below for files ending in {' '.join(SUFFIXES)} "
        f"(hidden ones are passed over); name a file explicitly if it ends otherwise{besides}"
    )


def _is_candidate(listing: Listing[SamePlace], file: SamePlace) -> bool:
    return file.suffix.lower() in SUFFIXES or _may_be_dicom(listing, file)


def _may_be_dicom(listing: Listing[SamePlace], file: SamePlace) -> bool:
    """DICOM by suffix, or by content where a file has no suffix but perhaps a number, as archives export them."""
    suffix = file.suffix.lower()
    if suffix in DICOM_SUFFIXES:
        return True
    if suffix and not suffix[1:].isdigit():
        return False
    return listing.read_range(file, 128, 132) == b"DICM"


def _group(
    listing: Listing[SamePlace], found: Mapping[SamePlace, SamePlace], named: Set[SamePlace]
) -> _Discovered:
    """Take companions out, make one slide of each DICOM series and one of each file that remains."""
    companions = _companions(listing, found)
    parts = set().union(*companions.values())
    remaining = [file for file in found if file not in parts]
    dicom = {file: None for file in remaining if _may_be_dicom(listing, file)}  # in order
    slides = [
        listing.slide(found[file].name, file, sorted({file}.union(companions.get(file, ()))))
        for file in remaining
        if file not in dicom
    ]
    if not dicom:
        return slides, []
    of_series, rejected = _group_dicom(listing, dicom, named)
    return slides + of_series, rejected


def _companions(listing: Listing[SamePlace], files: Collection[SamePlace]) -> dict[SamePlace, set[SamePlace]]:
    """Companions of the slides found, and of any VMS or VMU index beside a plain image."""
    slides = {file for file in files if file.suffix.lower() in (".mrxs", *INDEX_SUFFIXES)}
    if not listing.is_remote:  # in a store that would be a request for every folder of images
        folders = {file.parent for file in files if file.suffix.lower() in (".jpg", ".jpeg")}
        beside = (file for folder in folders for file in listing.files_in(folder))
        slides |= {file for file in beside if file.suffix in INDEX_SUFFIXES}
    return {slide: _companions_of(listing, slide) for slide in sorted(slides)}


def _companions_of(listing: Listing[SamePlace], slide: SamePlace) -> set[SamePlace]:
    """Files that belong to a slide: the folder of an MRXS, what the index of a VMS or VMU names."""
    if slide.suffix.lower() == ".mrxs":
        return set(listing.all_below(slide.parent / slide.name.removesuffix(slide.suffix)))
    names = named_in(listing.read(slide).decode("utf-8", errors="replace"))
    return {file.resolve() for file in listing.files([slide.parent / name for name in names])}


def _group_dicom(
    listing: Listing[SamePlace], files: Iterable[SamePlace], named: Set[SamePlace]
) -> _Discovered:
    """One slide per series; of files named singly, the whole series they belong to."""
    from slideprep.slides.dicom import group_series

    instances, others = _read_dicom(listing, files)
    rejected = [RejectedFile(path=path, reason=str(error)) for path, error in others.items()]
    folders = sorted({file.parent for file in named & instances.keys()})
    siblings = _dicom_in(listing, folders, instances.keys() | others.keys())
    more, unreadable = _read_dicom(listing, siblings)
    known = {instance.series for instance in instances.values()}
    instances |= {file: instance for file, instance in more.items() if instance.series in known}
    others |= unreadable
    series, without_pyramid = group_series(instances.values(), others)
    reason = "its series holds no image of the slide itself, only {}; export the series completely"
    rejected += [RejectedFile(path=i.path, reason=reason.format(i.flavour)) for i in without_pyramid]
    in_folder = Counter(s.primary.parent for s in series)
    names = [
        s.primary.parent.name + (f"-{s.uid[-8:]}" if in_folder[s.primary.parent] > 1 else "") for s in series
    ]
    return [listing.slide(name, s.primary, s.files) for name, s in zip(names, series, strict=True)], rejected


def _dicom_in(
    listing: Listing[SamePlace], folders: Iterable[SamePlace], known: Set[SamePlace]
) -> list[SamePlace]:
    """What may be DICOM in the folders and is not known yet."""
    inside = {file: file.resolve() for folder in folders for file in listing.files_in(folder)}
    unknown = {file: target for file, target in inside.items() if target not in known}
    return sorted({target for file, target in unknown.items() if _may_be_dicom(listing, file)})


def _read_dicom(
    listing: Listing[SamePlace], files: Iterable[SamePlace]
) -> tuple[dict[SamePlace, Instance[SamePlace]], dict[SamePlace, NoInstanceError]]:
    """The files that are instances of a whole-slide series; and why the others are none."""
    from slideprep.slides.dicom import NoInstanceError, read_instance

    instances: dict[SamePlace, Instance[SamePlace]] = {}
    others: dict[SamePlace, NoInstanceError] = {}
    for file in files:
        try:
            head = listing.read_range(file, 0, _HEAD_BYTES) if listing.is_remote else None
            instances[file] = read_instance(file, head)
        except NoInstanceError as error:
            others[file] = error
    return instances, others


def _refuse_same_names(slides: Iterable[SlideFile]) -> None:
    by_name: dict[str, list[str]] = {}
    for slide in slides:  # accents in two codings are one name, from which keys follow
        name = unicodedata.normalize("NFC", slide.name)
        by_name.setdefault(name, []).append(revealed(str(slide.places[0])))
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
