"""Whether the colour tag of a DICOM whole-slide file is true.

In: the files of a slide. Out: the levels whose JPEG frames contradict their photometric tag. OpenSlide trusts that tag,
so YCbCr frames tagged RGB come out salmon; those can be converted back exactly. RGB frames tagged YBR are converted by
OpenSlide once too often, which clips colours for good; those are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydicom

from slideprep.errors import SlideOpenError
from slideprep.slides.dicom import UNREADABLE

if TYPE_CHECKING:
    from slideprep.slides.files import SlideFile

JPEG_SYNTAXES = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_FRAME_HEADER_BYTES = 65_536
_ITEM, _PIXEL_DATA = b"\xfe\xff\x00\xe0", b"\xe0\x7f\x10\x00"
_STANDALONE_MARKERS = (0x01, *range(0xD0, 0xD9))
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

FrameColours = Literal["rgb", "ycbcr"]


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
