"""Find slides in an object store: from addresses of slides, folders, globs and CSV files to slides with all files.

The rules are those of :mod:`slideprep.slides.discover`: a DICOM series is one slide, companions of MRXS, VMS and VMU
slides are not slides of their own, hidden names are passed over. What is listed is not read, but for the index of a VMS
or VMU slide and the first 256 KB of a DICOM file.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from slideprep.errors import UsageError
from slideprep.slides.files import (
    DICOM_SUFFIXES,
    INDEX_SUFFIXES,
    SUFFIXES,
    Rejected,
    RemoteSource,
    SlideFile,
    listed_slides,
    named_in,
)
from slideprep.storage import remote
from slideprep.storage.places import Url, is_url
from slideprep.storage.remote import Stored

if TYPE_CHECKING:
    from slideprep.slides.dicom import Instance, NoInstanceError

_DICOM_HEAD_BYTES = 256 * 1024
"""The tags that group files come first, and label texts before them are short."""
_LIST_FROM = 10
"""So many objects of one folder are looked up by listing it: a listing tells of a thousand at once."""
_SHOWN = 5


@dataclass
class _Found:
    """Objects that may be slides, by address; and DICOM files that were named one by one."""

    objects: dict[Url, Stored] = field(default_factory=dict)
    named: set[Url] = field(default_factory=set)


def discover_urls(inputs: Sequence[Url]) -> tuple[list[SlideFile], list[Rejected]]:
    """Find the slides that addresses name.

    Args:
        inputs: Objects; folders, searched recursively; globs; CSV files, whose paths are relative to them.

    Returns:
        Slides, each once, and objects that look like slides and are none.

    Raises:
        UsageError: There is nothing at an address, or the store does not let us look.
    """
    found = _Found()
    try:
        tables = [given for given in inputs if given.suffix.lower() == ".csv"]
        listed = [url for table in tables for url in _listed(table)]
        _collect([given for given in inputs if given not in tables] + listed, found)
        return _group(found)
    except OSError as error:
        where = error.filename or ", ".join(inputs[:_SHOWN])
        raise UsageError(
            f"cannot look for slides at {where}: {error.strerror}; check the address, the credentials and the network"
        ) from error


def _listed(table: Url) -> list[Url]:
    try:
        text = remote.read_bytes(table).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{table} cannot be read as CSV ({error}); save it as comma-separated UTF-8"
        ) from error
    return [
        Url(value) if is_url(value) else table.parent / value.removeprefix("./")
        for value in listed_slides(text, table)
    ]


def _collect(urls: Sequence[Url], found: _Found) -> None:
    globs = [url for url in urls if any(sign in url for sign in "*?[")]
    plain = list(dict.fromkeys([url for url in urls if url not in globs]))
    known = _look_up(plain)
    missing = []
    for url in plain:
        stored = known.get(url)
        if stored is not None:
            found.objects[url] = stored
            found.named.add(url)
        elif not _collect_folder(url, found):
            missing.append(url)
    missing += [url for url in globs if not _collect_glob(url, found)]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise UsageError(
            f"nothing to read at {', '.join(missing[:_SHOWN])}{more}: no such object, or a folder without slides; "
            "check the spelling"
        )


def _look_up(urls: Sequence[Url]) -> dict[Url, Stored]:
    """Size and tag of the addresses that are objects."""
    folders: defaultdict[Url, list[Url]] = defaultdict(list)
    for url in urls:
        folders[url.parent].append(url)
    found: dict[Url, Stored] = {}
    for folder, inside in folders.items():
        if len(inside) >= _LIST_FROM:
            entries = remote.children(folder)
            found |= {url: stored for url in inside if (stored := entries.get(url.name)) is not None}
            continue
        for url in inside:
            try:
                found[url] = remote.stat(url)
            except (FileNotFoundError, IsADirectoryError):
                continue
    return found


def _collect_folder(folder: Url, found: _Found) -> bool:
    inside = {
        folder / path: stored
        for path, stored in remote.find(folder).items()
        if not any(part.startswith(".") for part in PurePosixPath(path).parts)
    }
    slides = {url: stored for url, stored in inside.items() if _is_candidate(url)}
    found.objects |= slides
    return bool(slides)


def _collect_glob(pattern: Url, found: _Found) -> bool:
    urls = [url for url in remote.matches(pattern) if not url.name.startswith(".")]
    known = _look_up(urls)
    slides = {url: stored for url, stored in known.items() if _is_candidate(url)}
    found.objects |= slides
    folders = [url for url in urls if url not in known]
    holding = [folder for folder in folders if _collect_folder(folder, found)]
    return bool(slides or holding)


def _is_candidate(url: Url) -> bool:
    return url.suffix.lower() in SUFFIXES or _may_be_dicom(url)


def _may_be_dicom(url: Url) -> bool:
    suffix = url.suffix.lower()
    if suffix in DICOM_SUFFIXES:
        return True
    if suffix and not suffix[1:].isdigit():
        return False
    return remote.read_range(url, 128, 132) == b"DICM"


def _group(found: _Found) -> tuple[list[SlideFile], list[Rejected]]:
    companions = {
        url: _companions(url) for url in found.objects if url.suffix.lower() in (".mrxs", *INDEX_SUFFIXES)
    }
    beside = {other for files in companions.values() for other in files}
    slides: list[SlideFile] = []
    dicom: dict[Url, Stored] = {}
    for url, stored in found.objects.items():
        if url in beside:
            continue
        if _may_be_dicom(url):
            dicom[url] = stored
        else:
            slides.append(_slide(url.name, url, {url: stored, **companions.get(url, {})}))
    series, rejected = _group_dicom(dicom, found.named)
    return slides + series, rejected


def _companions(url: Url) -> dict[Url, Stored]:
    if url.suffix.lower() == ".mrxs":
        folder = Url(url.removesuffix(url.suffix))
        return {folder / path: stored for path, stored in remote.find(folder).items()}
    names = named_in(remote.read_bytes(url).decode("utf-8", errors="replace"))
    return _look_up([url.parent / name for name in dict.fromkeys(names)])


def _slide(name: str, first: Url, objects: Mapping[Url, Stored]) -> SlideFile:
    """A slide whose files' paths are relative to the deepest folder that holds them all."""
    base = first.parent
    while not all(url.startswith(f"{base}/") for url in objects):
        base = base.parent
    ordered = sorted(objects.items())
    return SlideFile(
        name=name,
        path=Path(first.removeprefix(f"{base}/")),
        files=tuple(Path(url.removeprefix(f"{base}/")) for url, _ in ordered),
        remote=RemoteSource(
            base=base,
            sizes=tuple(stored.bytes for _, stored in ordered),
            tags=tuple(stored.tag for _, stored in ordered),
        ),
    )


def _group_dicom(objects: Mapping[Url, Stored], named: set[Url]) -> tuple[list[SlideFile], list[Rejected]]:
    """One slide per series; of objects named singly, the whole series that they belong to."""
    if not objects:
        return [], []
    from slideprep.slides.dicom import NoInstanceError, group_series

    known = dict(objects)
    others: dict[Url, NoInstanceError] = {}
    instances: dict[Url, Instance] = {}
    for url in objects:
        try:
            instances[url] = _instance(url)
        except NoInstanceError as error:
            others[url] = error
    rejected = [Rejected(path=url, reason=str(error)) for url, error in others.items()]
    for folder in {url.parent for url in named & instances.keys()}:
        _add_siblings(folder, known, instances, others)
    urls = {Path(url): url for url in (*instances, *others)}
    series, without_pyramid = group_series(instances.values(), list(others.values()))
    reason = "its series holds no image of the slide itself, only {}; export the series completely"
    rejected += [Rejected(path=urls[i.path], reason=reason.format(i.flavour)) for i in without_pyramid]
    folders = [urls[s.primary].parent for s in series]
    return [
        _slide(
            folder.name + (f"-{s.uid[-8:]}" if folders.count(folder) > 1 else ""),
            urls[s.primary],
            {urls[path]: known[urls[path]] for path in s.files},
        )
        for s, folder in zip(series, folders, strict=True)
    ], rejected


def _add_siblings(
    folder: Url, known: dict[Url, Stored], instances: dict[Url, Instance], others: dict[Url, NoInstanceError]
) -> None:
    """The DICOM objects of a folder that belong to one of the series found so far, and those that cannot be read."""
    from slideprep.slides.dicom import NoInstanceError

    series = {instance.series for instance in instances.values()}
    entries = {folder / name: stored for name, stored in remote.children(folder).items() if stored}
    for url, stored in entries.items():
        if url in instances or not _may_be_dicom(url):
            continue
        try:
            instance = _instance(url)
        except NoInstanceError as error:
            known[url], others[url] = stored, error
            continue
        if instance.series in series:
            known[url], instances[url] = stored, instance


def _instance(url: Url) -> Instance:
    """The tags of a DICOM object, its address for a path."""
    from slideprep.slides.dicom import NoInstanceError, read_instance

    with tempfile.TemporaryDirectory() as folder:
        head = Path(folder) / url.name
        head.write_bytes(remote.read_range(url, 0, _DICOM_HEAD_BYTES))
        try:
            return replace(read_instance(head), path=Path(url))
        except NoInstanceError as error:
            raise NoInstanceError(
                str(error).replace(str(head), url), path=Path(url), damaged=error.damaged, named=error.named
            ) from error
