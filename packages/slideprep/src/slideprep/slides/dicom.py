"""DICOM whole-slide series: which files make one slide.

In: DICOM files in any order. Out: series with the file that OpenSlide is to open (it finds the others itself). A file
that is damaged may be a slide's finest level, whose place the next one would take; so such a slide is refused whole.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Generic

from pydicom.filereader import read_partial
from pydicom.tag import BaseTag

from slideprep.errors import InputError, SlideOpenError
from slideprep.storage.places import Place, SamePlace

if TYPE_CHECKING:
    from slideprep.slides.files import SlideFile

WHOLE_SLIDE_STORAGE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_LAST_TAG_NEEDED = 0x00480007  # the long lists of frame positions come after it
_TAGS_NEEDED: list[BaseTag | int] = [
    0x00080008,  # ImageType
    0x00080016,  # SOPClassUID
    0x0020000E,  # SeriesInstanceUID
    0x00480006,  # TotalPixelMatrixColumns
    0x00480007,  # TotalPixelMatrixRows
]

_HEAD_BYTES = 65_536

UNREADABLE = Exception
"""What pydicom raises on damaged files: its values are decoded as they are asked for, its errors share no base class,
and the built-in ones come out as well. Caught only around what reads tags."""


@dataclass(frozen=True, kw_only=True)
class Instance(Generic[SamePlace]):
    """One DICOM file of a whole-slide series.

    Attributes:
        path: The file.
        series: Its SeriesInstanceUID.
        flavour: "VOLUME" for the slide's pyramid, else "LABEL", "OVERVIEW", "THUMBNAIL".
        width: Columns of the whole level, pixels.
        height: Rows of the whole level, pixels.
    """

    path: SamePlace
    series: str
    flavour: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Series(Generic[SamePlace]):
    """The files of one slide.

    Attributes:
        uid: SeriesInstanceUID.
        primary: The file to open: the one of the largest level, first by path among equals.
        files: All files of the pyramid, sorted; label, overview and thumbnail are not among them. A file that may be
            a level and cannot be read is: the slide is refused when it is opened, where otherwise a coarser level
            would take the place of the missing one.
    """

    uid: str
    primary: SamePlace
    files: tuple[SamePlace, ...]


class NoInstanceError(InputError):
    """A file is no instance of a whole-slide series, or cannot be read as one.

    Args:
        message: What is wrong.
        damaged: Whether it may be such an instance all the same.
        named: Bytes of the file in which the UID of its series stands, if anywhere.
    """

    def __init__(self, message: str, *, damaged: bool, named: bytes) -> None:
        super().__init__(message)
        self.damaged = damaged
        self.named = named

    def names(self, series: Series[SamePlace]) -> bool:
        """Whether the file holds the UID of a series."""
        return re.search(rb"(?<![\d.])%b(?![\d.])" % re.escape(series.uid.encode()), self.named) is not None


def read_instance(path: SamePlace, head: bytes | None = None) -> Instance[SamePlace]:
    """Read the few tags that say which slide a file belongs to.

    Args:
        path: The file.
        head: Its beginning, where that was read already; needed of an object in a store.

    Raises:
        NoInstanceError: The file is no DICOM file, is damaged, or is not a whole-slide image.
    """
    try:
        with _opened(path, head) as stream:
            tags = read_partial(
                stream, stop_when=lambda tag, _vr, _length: tag > _LAST_TAG_NEEDED, specific_tags=_TAGS_NEEDED
            )
        sop_class = tags.get("SOPClassUID")
    except UNREADABLE as error:
        message = f"{path} cannot be read as DICOM ({error}); copy it again from its source"
        raise NoInstanceError(message, damaged=True, named=_beginning(path, head)) from error
    if sop_class != WHOLE_SLIDE_STORAGE:
        if _may_be_whole_slide(tags):
            message = (
                f"{path} cannot be read as DICOM (its SOP class is damaged); copy it again from its source"
            )
            raise NoInstanceError(message, damaged=True, named=_beginning(path, head))
        what = getattr(sop_class, "name", "no SOP class")
        message = f"{path} is DICOM but not a whole-slide image ({what}); leave it out"
        # its own series alone: annotations and reports name those that they are about
        raise NoInstanceError(message, damaged=False, named=_own_series(tags))
    try:
        image_type = tags.get("ImageType") or []
        return Instance(
            path=path,
            series=str(tags.SeriesInstanceUID),
            flavour=str(image_type[2]),
            width=int(tags.TotalPixelMatrixColumns),
            height=int(tags.TotalPixelMatrixRows),
        )
    except UNREADABLE as error:
        message = f"{path} lacks a tag that every whole-slide image has ({error}); export it again"
        raise NoInstanceError(message, damaged=True, named=_own_series(tags)) from error


def _may_be_whole_slide(tags: Any) -> bool:
    """Whether a file's SOP class was damaged or cut off, where it is missing or says something else."""
    try:
        stated = tags.file_meta.get("MediaStorageSOPClassUID")  # a DICOMDIR has this one alone
    except UNREADABLE:
        return True
    return stated == WHOLE_SLIDE_STORAGE or stated is None


def _opened(path: Place, head: bytes | None) -> BinaryIO:
    return Path(path).open("rb") if head is None else io.BytesIO(head)


def _beginning(path: Place, head: bytes | None) -> bytes:
    with suppress(OSError), _opened(path, head) as stream:
        return stream.read(_HEAD_BYTES)
    return b""


def _own_series(tags: Any) -> bytes:
    try:
        return str(tags.SeriesInstanceUID).encode()
    except UNREADABLE:
        return b""


def group_series(
    instances: Iterable[Instance[SamePlace]], others: Mapping[SamePlace, NoInstanceError] | None = None
) -> tuple[list[Series[SamePlace]], list[Instance[SamePlace]]]:
    """Group instances by series.

    Args:
        instances: Files that can be read.
        others: Files found with them that are no instances, or damaged ones, and why. Such a file becomes part of the
            series whose UID it holds; a damaged one that holds none of them, of every series in its folder.

    Returns:
        The series that hold a pyramid, sorted by UID; and the instances of series that hold none.
    """
    by_uid: dict[str, list[Instance[SamePlace]]] = {}
    for instance in sorted(instances, key=lambda i: str(i.path)):
        by_uid.setdefault(instance.series, []).append(instance)
    found: list[Series[SamePlace]] = []
    without_pyramid: list[Instance[SamePlace]] = []
    for uid, members in sorted(by_uid.items()):
        volumes = [i for i in members if i.flavour == "VOLUME"]
        if not volumes:
            without_pyramid.extend(members)
            continue
        primary = max(volumes, key=lambda i: i.width * i.height)
        found.append(Series(uid=uid, primary=primary.path, files=tuple(i.path for i in volumes)))
    for path, error in (others or {}).items():
        found = _with_suspect(found, path, error)
    return found, without_pyramid


def _with_suspect(
    series: Sequence[Series[SamePlace]], path: SamePlace, error: NoInstanceError
) -> list[Series[SamePlace]]:
    named = [s.uid for s in series if error.names(s)]
    beside = [s.uid for s in series if error.damaged and s.primary.parent == path.parent]
    return [
        replace(s, files=tuple(sorted({path}.union(s.files)))) if s.uid in (named or beside) else s
        for s in series
    ]


def largest_level(file: SlideFile) -> tuple[int, int]:
    """(width, height) of the largest level, after a look at every file of the series.

    Raises:
        SlideOpenError: One of them is damaged: it may be the largest.
    """
    try:
        sizes = [(i.width, i.height) for i in map(read_instance, file.files)]
    except NoInstanceError as error:
        raise SlideOpenError(
            f"slide '{file.name}': {error}. That file may be a level of the slide, whose place a coarser level would "
            "take, so nothing of the slide is read; if the file is no part of it, move it to another folder"
        ) from error
    return max(sizes, key=lambda size: size[0] * size[1])
