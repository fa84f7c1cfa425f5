"""A look at stored samples, where tags do not tell: 12 bits kept in 16, fluorescence kept as grey, a slide all clear.

In: a TIFF whose first page is grey, of 16 bits, or has opacity; at most 64 of its tiles or strips are decoded, spread
over it, as they are stored. Out: a refusal, or warnings. Ordinary slides, RGB of 8 bits, are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from slideprep.slides.readers.tiff_facts import UNREADABLE, PageFacts, TiffFacts
from slideprep.slides.readers.tiff_page_list import AS_TILES

_MOST = 64
_MOST_BYTES = 400_000_000
"""Decoded in all; a single strip that holds more is not looked at."""

_MOST_PIXELS = 1_000_000
"""Kept of one tile or strip."""

_GOLDEN = 0.6180339887498949
"""Multiples of it, less their whole part, are spread evenly however many there are."""

_THINNED_BY = 7
"""Every so many pixels are enough for shares, and it divides no usual length of a row."""

_DARK_MEDIAN, _DARK_BRIGHTEST = 0.25, 0.4
"""Glass covers much of a slide and is bright. Of a grey image whose middle value, or brightest twentieth, lies below
these parts of white, it is no glass that is seen."""


@dataclass(frozen=True, kw_only=True)
class Values:
    """What was seen in an image's samples.

    Attributes:
        bits: Of a sample.
        brightest: The largest value, as stored.
        median: Middle value of a grey image as part of white; None in colour.
        bright: The value that a twentieth exceeds, likewise.
        clear: Part of the pixels that are wholly transparent; None where the image has no opacity.
        is_all: Every pixel's opacity was looked at.
    """

    bits: int
    brightest: int
    median: float | None = None
    bright: float | None = None
    clear: float | None = None
    is_all: bool = True


def refusal(values: Values) -> str | None:
    """Why an image with such values is no stained slide, and what to do; None where it can be one."""
    if values.clear == 1 and values.is_all:
        return (
            "every pixel of it is transparent, so that it would be read as background alone; if its colours are right, "
            f"take the opacity away by `vips extract_band in.tif {AS_TILES} 0 --n 3`"
        )
    if values.bits == 16 and values.brightest < 2**15:
        used = max(8, values.brightest.bit_length())
        return (
            f"its samples have 16 bits, but no value seen is above {values.brightest} of 65,535, as where {used} bits "
            "are kept in 16, so that it would be read as nearly black; scale it by `vips linear in.tif "
            f"{AS_TILES} {2.0 ** (8 - used):g} 0 --uchar`"
        )
    if _is_dark(values):
        return (
            f"it is grey and dark (half of its pixels are below {values.median:.0%} of white), as fluorescence is, and "
            "not the stained tissue on bright glass that is read here"
        )
    return None


def _is_dark(values: Values) -> bool:
    if values.median is None or values.bright is None:
        return False
    return values.median < _DARK_MEDIAN or values.bright < _DARK_BRIGHTEST


def warnings(values: Values) -> list[str]:
    """What a person should know of such values."""
    if values.clear is None or values.clear <= 0.5:
        return []
    share = "All" if values.clear == 1 else f"About {values.clear:.0%}"
    return [f"{share} of the pixels looked at are transparent; they are shown as background."]


def grey_values(bits: int, shades: NDArray[np.floating]) -> Values:
    """What is seen in a grey image; ``shades`` are parts of white."""
    median, bright = (float(value) for value in np.percentile(shades, (50, 95)))
    brightest = round(float(shades.max()) * (2**bits - 1))
    return Values(bits=bits, brightest=brightest, median=median, bright=bright)


def look(facts: TiffFacts, page: PageFacts) -> Values | None:
    """Look at a page's samples; None where its tags tell enough, or nothing of it can be decoded.

    Args:
        facts: The file's.
        page: The page that is level 0.
    """
    if not (page.bits == 16 or page.is_grey or page.has_opacity):
        return None
    try:
        with tifffile.TiffFile(facts.path) as tif:
            decoded = tif.pages[page.index]
            seen = list(_segments(decoded))
    except UNREADABLE:
        return None
    colours = [
        part[:, : page.samples - page.has_opacity] for first, part in seen if not _is_opacity(page, first)
    ]
    opacity = [
        part[:, -1] for first, part in seen if page.has_opacity and first + part.shape[1] == page.samples
    ]
    if not colours:
        return None
    is_all = sum(map(len, opacity)) == page.width * page.height
    return _values(page, colours, opacity, is_all=is_all)


def _is_opacity(page: PageFacts, first: int) -> bool:
    return page.has_opacity and first == page.samples - 1


def _segments(page: Any) -> Iterator[tuple[int, NDArray[np.integer]]]:
    """Some tiles or strips, as the number of their first sample and (pixels, samples).

    Those that are not stored, cannot be decoded, or would fill the memory are left out.
    """
    count = len(page.dataoffsets)
    rows, columns = (
        (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    )
    together = 1 if page.planarconfig == 2 else page.samplesperpixel
    most = min(_MOST, _MOST_BYTES // (rows * columns * together * page.dtype.itemsize))
    spread = range(count) if count <= most else (int(n * _GOLDEN % 1 * count) for n in range(most))
    handle = page.parent.filehandle
    for index in dict.fromkeys(spread):
        if not page.databytecounts[index]:
            continue
        handle.seek(page.dataoffsets[index])
        data = handle.read(page.databytecounts[index])
        try:
            segment, place, _ = page.decode(data, index, jpegtables=page.jpegtables)
        except Exception:  # noqa: BLE001 - each codec has errors of its own; the reader will name the damage
            continue
        if segment is not None:
            inside = segment[0, : page.imagelength - place[2], : page.imagewidth - place[3]].reshape(
                -1, together
            )
            yield place[0], inside[:: 1 + len(inside) // _MOST_PIXELS].copy()


def _values(
    page: PageFacts,
    colours: Sequence[NDArray[np.integer]],
    opacity: Sequence[NDArray[np.integer]],
    *,
    is_all: bool,
) -> Values:
    assert page.bits is not None, "tags without a number of bits were refused"
    white = 2**page.bits - 1
    median = bright = None
    if page.is_grey:
        grey = np.concatenate([part[::_THINNED_BY] for part in colours]) / white
        shade = 1 - grey if page.photometric == 0 else grey
        median, bright = (float(value) for value in np.percentile(shade, (50, 95)))
    return Values(
        bits=page.bits,
        brightest=max(int(part.max()) for part in colours),
        median=median,
        bright=bright,
        clear=float(np.mean(np.concatenate(opacity) == 0)) if opacity else None,
        is_all=is_all,
    )
