"""What the pages of a TIFF say of themselves: sizes, samples, colours, orientation, and which tiles are not stored.

In: any file that begins as TIFF does, vendors' formats in TIFF included. Out: :class:`TiffFacts`, without any judgement
(that is :mod:`slideprep.slides.readers.tiff_check`) and without a look at pixels; None where the directories cannot be
made sense of, which the reader that gets the file then says in its own words.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Classic and BigTIFF, in both byte orders."""

UNREADABLE = (
    tifffile.TiffFileError, struct.error, ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError,
    OSError, AssertionError, MemoryError, RecursionError,
)  # fmt: skip
"""What tifffile raises on damaged files, as fuzzing shows."""

_MOST_UNLISTED = 1000
"""Tiles that may lack an entry in the page's lists; a page that is said to have far more has a wrong size."""

_ORIENTATION, _FILL_ORDER, _PHOTOMETRIC, _SUB_IFDS = 274, 266, 262, 330
_NDPI_LENS, _NDPI_FOCUS = 65421, 65424


@dataclass(frozen=True, kw_only=True)
class PageFacts:
    """The tags of one page that decide how its pixels are to be taken.

    Attributes:
        index: Number of the page in the file, from 0.
        width: Pixels.
        height: Pixels.
        tile: (width, height) of a tile; None for strips.
        is_reduced: Marked as a reduced version of another image.
        is_mask: Marked as a transparency mask.
        compression: Number in the tag.
        photometric: Number in the tag, which says what the samples mean; None where there is none.
        bits: Of a sample; None where the samples of a pixel differ in it.
        sample_format: 1 unsigned, 2 signed, 3 floating point, 4 unstated, 5 and 6 complex.
        samples: Of a pixel, those beyond its colour included.
        extra: What each sample beyond the colour means: 0 unspecified, 1 associated alpha, 2 unassociated alpha.
        orientation: 1 upright; 2 to 8 mirrored or turned.
        has_reversed_bits: The lowest bit of a byte comes first (FillOrder 2).
        depth: Slices in this one page.
        description: The ImageDescription.
        missing: (rows, columns) bool, True for a tile that is not stored; None where every tile or strip is.
        lists_its_tiles: There is an entry for at least about half of the tiles that its size asks for.
        lens: NDPI: the magnification; -1 and -2 are macro and map.
        focus: NDPI: distance from the middle focal plane.
    """

    index: int
    width: int
    height: int
    tile: tuple[int, int] | None
    is_reduced: bool
    is_mask: bool
    compression: int
    photometric: int | None
    bits: int | None
    sample_format: int
    samples: int
    extra: tuple[int, ...]
    orientation: int
    has_reversed_bits: bool
    depth: int
    description: str
    missing: NDArray[np.bool_] | None
    lists_its_tiles: bool
    lens: float | None
    focus: float | None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height

    @property
    def is_grey(self) -> bool:
        """Whether its colour is a single sample that is no index into a palette."""
        return self.photometric in (0, 1)

    @property
    def has_opacity(self) -> bool:
        """Whether the sample after the colour is marked as opacity."""
        return self.extra[:1] in ((1,), (2,))


@dataclass(frozen=True, kw_only=True)
class TiffFacts:
    """A TIFF's pages.

    Attributes:
        path: The file.
        pages: In the file's order, without those below others.
        below_first: (width, height) of the pages that are listed below the first (SubIFDs).
    """

    path: Path
    pages: tuple[PageFacts, ...]
    below_first: tuple[tuple[int, int], ...]


def read_facts(path: Path) -> TiffFacts | None:
    """Read the directories of a TIFF; None where they cannot be."""
    try:
        with _quietly(), tifffile.TiffFile(path) as tif:
            pages = tuple(_each_page(tif))
            below = _below(tif.pages[0])
    except UNREADABLE:
        return None
    return TiffFacts(path=path, pages=pages, below_first=below) if pages else None


def _each_page(tif: tifffile.TiffFile) -> Iterator[PageFacts]:
    """The pages up to the first that cannot be read, which must not be the first of all."""
    number = 0
    while True:
        try:
            facts = _facts(tif.pages[number], number)
        except UNREADABLE:
            if number == 0:
                raise
            return
        if not (facts.width and facts.height):
            return
        yield facts
        number += 1


@contextmanager
def _quietly() -> Iterator[None]:
    """What tifffile thinks of odd tags is not shown: the reader's own judgement follows."""
    log = logging.getLogger("tifffile")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _facts(page: Any, index: int) -> PageFacts:
    tags = page.tags
    photometric = tags.valueof(_PHOTOMETRIC)
    is_tiled = bool(page.is_tiled) and 324 in tags  # tifffile lends tiles to NDPI's single strips
    return PageFacts(
        index=index,
        width=int(page.imagewidth),
        height=int(page.imagelength),
        tile=(int(page.tilewidth), int(page.tilelength)) if is_tiled else None,
        is_reduced=bool(page.subfiletype & 1),
        is_mask=bool(page.subfiletype & 4),
        compression=int(page.compression),
        photometric=None if photometric is None else int(photometric),
        bits=int(page.bitspersample) if isinstance(page.bitspersample, int) else None,
        sample_format=int(page.sampleformat),
        samples=int(page.samplesperpixel),
        extra=tuple(int(value) for value in page.extrasamples),
        orientation=int(tags.valueof(_ORIENTATION, 1)),
        has_reversed_bits=tags.valueof(_FILL_ORDER, 1) == 2,
        depth=int(page.imagedepth),
        description=page.description if isinstance(page.description, str) else "",
        missing=_missing(page) if is_tiled and _lists_its_tiles(page) else None,
        lists_its_tiles=not is_tiled or _lists_its_tiles(page),
        lens=_number(tags.valueof(_NDPI_LENS)),
        focus=_number(tags.valueof(_NDPI_FOCUS)),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _missing(page: Any) -> NDArray[np.bool_] | None:
    """The tiles of no bytes or no entry; where channels lie apart, a tile that lacks one of them."""
    counts, offsets = page.databytecounts, page.dataoffsets
    tiles, listed = _tiles(page), min(len(counts), len(offsets))
    if listed >= tiles and 0 not in counts and 0 not in offsets:
        return None
    stored = np.zeros(tiles, bool)
    stored[:listed] = (np.asarray(counts[:listed]) != 0)[:tiles] & (np.asarray(offsets[:listed]) != 0)[:tiles]
    missing: NDArray[np.bool_] = np.any(~stored.reshape(-1, *_grid(page)), axis=0)
    return missing


def _lists_its_tiles(page: Any) -> bool:
    return _tiles(page) <= _MOST_UNLISTED + 2 * min(len(page.databytecounts), len(page.dataoffsets))


def _tiles(page: Any) -> int:
    rows, columns = _grid(page)
    planes: int = page.samplesperpixel if page.planarconfig == 2 else 1
    return planes * rows * columns


def _grid(page: Any) -> tuple[int, int]:
    """(rows, columns) of tiles."""
    return -(-page.imagelength // page.tilelength), -(-page.imagewidth // page.tilewidth)


def _below(page: Any) -> tuple[tuple[int, int], ...]:
    try:
        below = page.pages if page.tags.valueof(_SUB_IFDS) else ()
        return tuple((int(found.imagewidth), int(found.imagelength)) for found in below)
    except UNREADABLE:
        return ()
