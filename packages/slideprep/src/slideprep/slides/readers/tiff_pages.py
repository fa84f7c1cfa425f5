"""Find the tiles of a TIFF or SVS file: which pages are levels, where their tiles lie, how they are coded.

In: a file and the levels that OpenSlide sees in it. Out: one :class:`TiledPage` per level, or None where the layout is
not the plain one: 8-bit RGB or YCbCr tiles, all JPEG, all Aperio's JPEG 2000 or all deflate, channels together. Pixels
are not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from slideprep.slides.readers.tiff_facts import UNREADABLE

if TYPE_CHECKING:
    from slideprep.slides.files import SlideFile

START_OF_IMAGE = b"\xff\xd8"
_END_OF_IMAGE = b"\xff\xd9"
_JPEG, _RGB, _YCBCR = 7, 2, 6
ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
"""APP14 marker with transform 0. Without it libjpeg takes three unmarked components for YCbCr, and an SVS whose
tiles are RGB comes out green."""

Codec = Literal["jpeg", "jp2k-rgb", "jp2k-ycbcr", "deflate"]
_CODECS: dict[int, Codec] = {
    _JPEG: "jpeg",
    8: "deflate",
    32946: "deflate",
    33003: "jp2k-ycbcr",
    33005: "jp2k-rgb",
}
"""By the compression tag. 34712, JPEG 2000 in TIFF by other programs, no reader here opens."""


@dataclass(frozen=True, kw_only=True)
class TiledPage:
    """Where the tiles of one level lie in the file.

    Attributes:
        path: The file that they lie in.
        codec: How its tiles are coded.
        tile_width: Level pixels.
        tile_height: Level pixels.
        columns: Tiles per row of tiles.
        offsets: Byte offset of each tile, row by row.
        byte_counts: Bytes of each tile; 0 for one that is not stored.
        header: What goes before a JPEG tile's bytes (less their start marker) to make it complete; else empty.
        differences: Each stored value is the difference to the one of the pixel before it in its row.
    """

    path: Path
    codec: Codec
    tile_width: int
    tile_height: int
    columns: int
    offsets: NDArray[np.int64]
    byte_counts: NDArray[np.int64]
    header: bytes
    differences: bool = False


def level_pages(file: SlideFile, vendor: str, sizes: tuple[tuple[int, int], ...]) -> list[TiledPage] | None:
    """Find the pages that are a slide's levels.

    Args:
        file: A TIFF file.
        vendor: OpenSlide's name of the format, "aperio" or "generic-tiff".
        sizes: (width, height) of OpenSlide's levels, level 0 first.

    Returns:
        One entry per level, or None where the pages are not OpenSlide's levels or not plain tiles of one codec.
    """
    try:
        with tifffile.TiffFile(file.path) as tif:
            pages: list[Any] = list(tif.pages)
            found = [page for index, page in enumerate(pages) if _is_level(page, index, vendor)]
            if vendor == "generic-tiff":
                found.sort(key=lambda page: -page.imagewidth)
            if [(page.imagewidth, page.imagelength) for page in found] != list(sizes):
                return None
            if not all(_is_plain(page) for page in found):
                return None
            tiled = [_tiled_page(file.path, page) for page in found]
    except UNREADABLE:
        return None
    # where a tile of an SVS pyramid is missing OpenSlide paints that place from other levels; leave that to it
    has_hole = any(bool((page.byte_counts == 0).any()) for page in tiled)
    if len({page.codec.partition("-")[0] for page in tiled}) > 1 or (
        vendor == "aperio" and len(tiled) > 1 and has_hole
    ):
        return None
    return tiled


def _is_level(page: Any, index: int, vendor: str) -> bool:
    """OpenSlide's rule: an SVS level is any tiled page; elsewhere a later page must be marked as reduced."""
    return bool(page.is_tiled) and (vendor == "aperio" or index == 0 or bool(page.subfiletype & 1))


def _is_plain(page: Any) -> bool:
    return (
        page.compression in _CODECS
        and page.photometric in (_RGB, _YCBCR)
        and (
            _CODECS[page.compression] != "deflate" or (page.photometric == _RGB and page.predictor in (1, 2))
        )
        and page.bitspersample == 8
        and page.samplesperpixel == 3
        and page.planarconfig == 1
        and page.imagedepth == 1
        and len(page.dataoffsets) == _tile_count(page)
        and len(page.databytecounts) == _tile_count(page)
    )


def _tile_count(page: Any) -> int:
    tiles: int = -(-page.imagewidth // page.tilewidth) * -(-page.imagelength // page.tilelength)
    return tiles


def _tiled_page(path: Path, page: Any) -> TiledPage:
    codec = _CODECS[page.compression]
    return TiledPage(
        path=path,
        codec=codec,
        tile_width=page.tilewidth,
        tile_height=page.tilelength,
        columns=-(-page.imagewidth // page.tilewidth),
        offsets=np.asarray(page.dataoffsets, np.int64),
        byte_counts=np.asarray(page.databytecounts, np.int64),
        header=_jpeg_header(page) if codec == "jpeg" else b"",
        differences=codec == "deflate" and page.predictor == 2,
    )


def _jpeg_header(page: Any) -> bytes:
    tables = page.jpegtables or START_OF_IMAGE + _END_OF_IMAGE
    colour = ADOBE_RGB if page.photometric == _RGB else b""
    body: bytes = tables.removeprefix(START_OF_IMAGE).removesuffix(_END_OF_IMAGE)
    return START_OF_IMAGE + colour + body


def directory_is_complete(path: Path) -> bool:
    """Whether the chain of a TIFF file's page directories ends inside the file, as it does unless the file was cut."""
    with path.open("rb") as stream:
        header = stream.read(16)
        order: Literal["little", "big"] = "little" if header[:2] == b"II" else "big"
        big = int.from_bytes(header[2:4], order) == 43
        word, count_size, entry = (8, 8, 20) if big else (4, 2, 12)
        offset = int.from_bytes(header[8:16] if big else header[4:8], order)
        seen: set[int] = set()
        while offset:
            stream.seek(offset)
            count = stream.read(count_size)
            stream.seek(int.from_bytes(count, order) * entry, 1)
            following = stream.read(word)
            if len(following) < word or offset in seen:
                return False
            seen.add(offset)
            offset = int.from_bytes(following, order)
    return bool(seen)
