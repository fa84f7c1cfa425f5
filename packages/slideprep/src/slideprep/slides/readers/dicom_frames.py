"""Where the JPEG frames of a DICOM whole-slide file lie, and whether its own table of them can be true.

In: a file of a series. Out: offsets and byte counts of its frames. libdicom, inside OpenSlide, believes the table of
frame offsets and ends the process where it is damaged; so it is checked before a pixel is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray

from slideprep.errors import SlideOpenError
from slideprep.slides.dicom import UNREADABLE
from slideprep.slides.readers.dicom_kind import KIND_TAGS, refusal

if TYPE_CHECKING:
    from slideprep.slides.files import SlideFile

_ITEM, _PIXEL_DATA = b"\xfe\xff\x00\xe0", b"\xe0\x7f\x10\x00"
_ENCAPSULATED = b"\xff\xff\xff\xff"
_TAGS = [
    *KIND_TAGS,
    "Columns",
    "DimensionOrganizationType",
    "NumberOfFrames",
    "Rows",
    "TotalPixelMatrixColumns",
    "TotalPixelMatrixRows",
]


@dataclass(frozen=True, kw_only=True)
class Frames:
    """The frames of one file.

    Attributes:
        path: The file.
        size: (width, height) of the whole level, pixels.
        tile: (width, height) of a frame, pixels.
        tags: What else the file says of them, by pydicom's names; None for what it does not say.
        offsets: Byte offset of each frame's data.
        byte_counts: Bytes of each, a byte of padding included.
    """

    path: Path
    size: tuple[int, int]
    tile: tuple[int, int]
    tags: Mapping[str, Any]
    offsets: NDArray[np.int64]
    byte_counts: NDArray[np.int64]


def read_frames(file: SlideFile, path: Path) -> Frames | None:
    """Find the frames of a file; None where they are not one item each.

    Raises:
        SlideOpenError: The file cannot be read as DICOM, is none of a stained slide in colour, or its list of frames
            is damaged.
    """
    try:
        with path.open("rb") as stream:
            dataset = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=_TAGS)
            tags = {name: dataset.get(name) for name in _TAGS}  # pydicom decodes a value when it is asked for
            reason = refusal(tags)
            if reason:
                raise _OtherKindError(reason)
            tags["TransferSyntaxUID"] = dataset.file_meta.TransferSyntaxUID
            size = _positive(tags["TotalPixelMatrixColumns"]), _positive(tags["TotalPixelMatrixRows"])
            tile = _positive(tags["Columns"]), _positive(tags["Rows"])
            spans = _spans(stream, _positive(tags["NumberOfFrames"] or 1), path.stat().st_size)
    except _OtherKindError as error:
        raise SlideOpenError(f"slide '{file.name}': {path.name} {error}") from error
    except _DamagedError as error:
        raise SlideOpenError(
            f"slide '{file.name}': the list of frames in {path.name} is damaged ({error}); copy it again from its "
            "source"
        ) from error
    except UNREADABLE as error:
        raise SlideOpenError(
            f"slide '{file.name}': {path.name} cannot be read as DICOM ({error}); copy it again from its source"
        ) from error
    if spans is None:
        return None
    return Frames(path=path, size=size, tile=tile, tags=tags, offsets=spans[:, 0], byte_counts=spans[:, 1])


def _positive(value: Any) -> int:
    number = int(value)
    if number < 1:
        raise ValueError(f"a number of pixels or frames is {number}")
    return number


class _OtherKindError(Exception):
    """Why a file is no stained slide in colour."""


class _DamagedError(Exception):
    """What is wrong with a list of frames."""


def _spans(stream: BinaryIO, count: int, size: int) -> NDArray[np.int64] | None:
    """(offset, bytes) of each frame, from the pixel data element on, at which the stream stands."""
    head = stream.read(12)
    if head[:4] != _PIXEL_DATA or head[8:] != _ENCAPSULATED:
        return None
    table = stream.read(_item_length(stream, stream.tell()))
    first = stream.tell()
    if not table:
        return _walked(stream, first, count)
    starts = np.frombuffer(table[: len(table) // 4 * 4], "<u4").astype(np.int64)
    if len(starts) != count:
        raise _DamagedError(f"it has {len(starts)} entries for {count} frames")
    last = first + int(starts[-1])
    if starts[0] != 0 or (np.diff(starts) < 8).any() or last + 8 > size:
        raise _DamagedError("its offsets do not follow each other inside the file")
    counts = np.append(np.diff(starts) - 8, _item_length(stream, last))
    return np.stack([first + starts + 8, counts], axis=1)


def _walked(stream: BinaryIO, first: int, count: int) -> NDArray[np.int64] | None:
    """The spans of a file without a table, found from item to item; None where frames are of several items."""
    spans, at = [], first
    for _ in range(count):
        length = _item_length(stream, at)
        spans.append((at + 8, length))
        at += 8 + length
    stream.seek(at)
    return None if stream.read(4) == _ITEM else np.array(spans, np.int64)


def _item_length(stream: BinaryIO, at: int) -> int:
    stream.seek(at)
    header = stream.read(8)
    if len(header) < 8 or header[:4] != _ITEM:
        raise _DamagedError(f"there is no item at byte {at}")
    return int.from_bytes(header[4:], "little")
