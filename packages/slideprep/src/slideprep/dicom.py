"""DICOM whole-slide series: which files make one slide, and whether their colour tag is true.

In: DICOM files in any order. Out: series with the file that OpenSlide is to open (it finds the others itself), and
the levels whose JPEG frames contradict their photometric tag. OpenSlide trusts that tag, so YCbCr frames tagged RGB
come out salmon; those can be converted back exactly. RGB frames tagged YBR are converted by OpenSlide once too often,
which clips colours for good; those are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydicom
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag

from slideprep.errors import InputError, SlideOpenError

if TYPE_CHECKING:
    from slideprep.discover import SlideFile

WHOLE_SLIDE_STORAGE = "1.2.840.10008.5.1.4.1.1.77.1.6"
JPEG_SYNTAXES = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_LAST_TAG_NEEDED = 0x00480007  # the long lists of frame positions come after it
_TAGS_NEEDED: list[BaseTag | int] = [
    0x00080008,  # ImageType
    0x00080016,  # SOPClassUID
    0x0020000E,  # SeriesInstanceUID
    0x00480006,  # TotalPixelMatrixColumns
    0x00480007,  # TotalPixelMatrixRows
]

_FRAME_HEADER_BYTES = 65_536
_ITEM, _PIXEL_DATA = b"\xfe\xff\x00\xe0", b"\xe0\x7f\x10\x00"
_STANDALONE_MARKERS = (0x01, *range(0xD0, 0xD9))
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

UNREADABLE = Exception
"""What pydicom raises on damaged files: its values are decoded as they are asked for, its errors share no base class,
and the built-in ones come out as well. Caught only around what reads tags."""

FrameColours = Literal["rgb", "ycbcr"]


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One DICOM file of a whole-slide series.

    Attributes:
        path: The file.
        series: Its SeriesInstanceUID.
        flavour: "VOLUME" for the slide's pyramid, else "LABEL", "OVERVIEW", "THUMBNAIL".
        width: Columns of the whole level, pixels.
        height: Rows of the whole level, pixels.
    """

    path: Path
    series: str
    flavour: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Series:
    """The files of one slide.

    Attributes:
        uid: SeriesInstanceUID.
        primary: The file to open: the one of the largest level, first by path among equals.
        files: All files of the pyramid, sorted; label, overview and thumbnail are not among them.
    """

    uid: str
    primary: Path
    files: tuple[Path, ...]


def is_dicom(path: Path) -> bool:
    """Whether a file has the DICOM preamble ("DICM" at byte 128)."""
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def read_instance(path: Path) -> Instance:
    """Read the few tags that say which slide a file belongs to.

    Raises:
        InputError: The file is no DICOM file, is damaged, or is not a whole-slide image.
    """
    try:
        with path.open("rb") as stream:
            tags = read_partial(
                stream, stop_when=lambda tag, _vr, _length: tag > _LAST_TAG_NEEDED, specific_tags=_TAGS_NEEDED
            )
        sop_class = tags.get("SOPClassUID")
    except UNREADABLE as error:
        raise InputError(
            f"{path} cannot be read as DICOM ({error}); copy it again from its source"
        ) from error
    if sop_class != WHOLE_SLIDE_STORAGE:
        what = getattr(sop_class, "name", "no SOP class")
        raise InputError(f"{path} is DICOM but not a whole-slide image ({what}); leave it out")
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
        raise InputError(
            f"{path} lacks a tag that every whole-slide image has ({error}); export it again"
        ) from error


def group_series(instances: Iterable[Instance]) -> tuple[list[Series], list[Instance]]:
    """Group instances by series.

    Returns:
        The series that hold a pyramid, sorted by UID; and the instances of series that hold none.
    """
    by_uid: dict[str, list[Instance]] = {}
    for instance in sorted(instances, key=lambda i: str(i.path)):
        by_uid.setdefault(instance.series, []).append(instance)
    found: list[Series] = []
    without_pyramid: list[Instance] = []
    for uid, members in sorted(by_uid.items()):
        volumes = [i for i in members if i.flavour == "VOLUME"]
        if not volumes:
            without_pyramid.extend(members)
            continue
        primary = max(volumes, key=lambda i: i.width * i.height)
        found.append(Series(uid=uid, primary=primary.path, files=tuple(i.path for i in volumes)))
    return found, without_pyramid


def stated_colours(jpeg: bytes) -> FrameColours | None:
    """What a JPEG's own headers say of its colours, or None where they say nothing.

    A JFIF marker and an Adobe marker of transform 1 mean YCbCr, an Adobe marker of transform 0 RGB; without either,
    components named R, G, B mean RGB, and subsampled chroma means YCbCr (RGB is never subsampled).

    Args:
        jpeg: The first bytes of a JPEG, up to its frame header at least.
    """
    position, adobe_transform, jfif = 2, None, False
    while position + 4 <= len(jpeg) and jpeg[position] == 0xFF:
        marker = jpeg[position + 1]
        if marker == 0xFF or marker in _STANDALONE_MARKERS:
            position += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(jpeg[position + 2 : position + 4], "big")
        body = jpeg[position + 4 : position + 2 + length]
        jfif = jfif or (marker == 0xE0 and body.startswith(b"JFIF"))
        if marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            adobe_transform = body[11]
        if marker in _FRAME_MARKERS:
            return _colours(body, jfif, adobe_transform)
        position += 2 + length
    return None


def _colours(frame_header: bytes, jfif: bool, adobe_transform: int | None) -> FrameColours | None:
    components = [tuple(frame_header[i : i + 2]) for i in range(6, len(frame_header) - 2, 3)]
    if len(components) != 3:
        return None
    # the order in which libjpeg believes them
    if jfif:
        return "ycbcr"
    if adobe_transform is not None:
        return "rgb" if adobe_transform == 0 else "ycbcr"
    if bytes(name for name, _ in components) == b"RGB":
        return "rgb"
    return "ycbcr" if len({sampling for _, sampling in components}) > 1 else None


def levels_wrongly_tagged_rgb(file: SlideFile, sizes: Sequence[tuple[int, int]]) -> frozenset[int]:
    """Indexes of the levels that are tagged RGB while their JPEG frames are YCbCr; the first frame of each is read.

    Args:
        file: A DICOM slide; all files of its pyramid are looked at.
        sizes: (width, height) of OpenSlide's levels.

    Raises:
        SlideOpenError: Frames are RGB but tagged YBR, or a file cannot be read.
    """
    wrong: set[int] = set()
    for path in file.files:
        size, tagged, stated = _tag_and_frame(file, path)
        if stated is None or tagged is None or size not in sizes:
            continue
        if tagged == "rgb" and stated == "ycbcr":
            wrong.add(list(sizes).index(size))
        elif tagged != stated:
            raise SlideOpenError(
                f"slide '{file.name}': the JPEG frames of {path.name} are RGB by their own header but tagged YBR, and "
                "OpenSlide believes the tag, which spoils the colours beyond repair; set the tag "
                "PhotometricInterpretation (0028,0004) of that file to RGB"
            )
    return frozenset(wrong)


def _tag_and_frame(
    file: SlideFile, path: Path
) -> tuple[tuple[int, int], FrameColours | None, FrameColours | None]:
    """A file's level size, its colours by the tag, and by its first frame (None where it is not JPEG)."""
    wanted = ["PhotometricInterpretation", "TotalPixelMatrixColumns", "TotalPixelMatrixRows"]
    try:
        with path.open("rb") as stream:
            tags: Any = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=wanted)
            head = stream.read(_FRAME_HEADER_BYTES)
            size = (int(tags.TotalPixelMatrixColumns), int(tags.TotalPixelMatrixRows))
            tagged: FrameColours = "rgb" if tags.PhotometricInterpretation == "RGB" else "ycbcr"
            if tags.file_meta.TransferSyntaxUID not in JPEG_SYNTAXES:
                return size, None, None
            frame = _first_frame(head)
            if not frame:  # a long table of frame offsets: it ends where its own length says
                stream.seek(int.from_bytes(head[16:20], "little") - len(head) + 20, 1)
                frame = _first_frame(head[:12] + _ITEM + bytes(4) + stream.read(_FRAME_HEADER_BYTES))
    except UNREADABLE as error:
        raise SlideOpenError(
            f"slide '{file.name}': {path.name} cannot be read as DICOM ({error}); copy it again from its source"
        ) from error
    return size, tagged, stated_colours(frame)


def _first_frame(element: bytes) -> bytes:
    """The first frame's beginning, from the bytes of an encapsulated pixel data element on; empty if further on."""
    if element[:4] != _PIXEL_DATA or element[12:16] != _ITEM:
        return b""
    offsets = int.from_bytes(element[16:20], "little")
    frame_item = 20 + offsets
    return element[frame_item + 8 :] if element[frame_item : frame_item + 4] == _ITEM else b""
