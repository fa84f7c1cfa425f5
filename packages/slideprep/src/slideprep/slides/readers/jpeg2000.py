"""Decode JPEG 2000 tiles of Aperio SVS files, and refuse damaged ones.

imagecodecs (OpenJPEG) decodes a tile in 0.7 to 0.85 times OpenSlide's CPU time, and passes on what the decoder warns
of: of 108 tiles whose second half is zero it refuses all, OpenSlide 28, because OpenJPEG only warns of a missing end. A
tile without three full-size 8-bit channels (subsampled chroma, in particular) is no case for this reader: imagecodecs
rounds its colours towards grey.

A flipped bit inside the coded data is seen only where it breaks the coding: 16 of 108 are refused, 14 by OpenSlide.
JPEG 2000 has no checksum that would show the others. ``benchmarks/jp2k.py`` measures this.
"""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from slideprep.slides.readers.tiff_pages import TiledPage
from slideprep.slides.readers.tiled import TiledSlide
from slideprep.units import Pixels

_START = b"\xff\x4f\xff\x51"  # start of codestream, then the marker of the image's size
_SIZE = struct.Struct(">4xHH8IH9s")
_FULL_8_BIT = bytes([7, 1, 1]) * 3  # per channel: bits - 1, then its horizontal and vertical subsampling
_ERRORS_AND_WARNINGS = 2


class TiffJp2kSlide(TiledSlide):
    """A slide of JPEG 2000 tiles; see :class:`slideprep.slides.readers.tiled.TiledSlide`."""

    reader = "tiff-jp2k"

    def decode(self, page: TiledPage, data: bytes, step: int, *, strict: bool) -> Pixels:
        """Decode a tile's bytes; see :meth:`slideprep.slides.readers.tiled.TiledSlide.decode`."""
        assert step == 1, (
            "a tile is decoded whole: the pyramid's coarser levels are what overviews are made of"
        )
        check_size(data, page.tile_width, page.tile_height)
        with _complaints() as heard:
            try:
                image: Pixels = imagecodecs.jpeg2k_decode(data, verbose=_ERRORS_AND_WARNINGS, numthreads=1)
            except imagecodecs.Jpeg2kError as error:
                raise ValueError("; ".join(heard) or str(error)) from error
        if strict and heard:
            raise ValueError("; ".join(heard))
        if image.shape != (page.tile_height, page.tile_width, 3):
            raise ValueError(
                f"it was decoded to {image.shape}, and its header said {page.tile_width} x {page.tile_height} px"
            )
        return rgb_from_ycbcr(image) if page.codec == "jp2k-ycbcr" else image


def check_size(data: bytes, width: int, height: int) -> None:
    """Refuse a codestream that is not of the tile's size and three full 8-bit channels, before memory is taken for it.

    Raises:
        ValueError: It is not.
    """
    if not data.startswith(_START):
        raise ValueError(f"no JPEG 2000 start marker, its first bytes are {data[:4]!r}")
    if len(data) < _SIZE.size:
        raise ValueError(f"its header breaks off after {len(data)} bytes")
    _, _, right, bottom, left, top, *_, channels, sampling = _SIZE.unpack_from(data)
    if (right - left, bottom - top) != (width, height):
        raise ValueError(f"it holds {right - left} x {bottom - top} px, not {width} x {height}")
    if (channels, sampling) != (3, _FULL_8_BIT):
        raise ValueError("it does not hold three channels of 8 bits at full size")


def rgb_from_ycbcr(image: Pixels) -> Pixels:
    """(rows, columns, 3) Y, Cb, Cr, full range, to RGB by BT.601 as in JFIF, each rounded once: OpenSlide's values."""
    red, green, blue = _colour_tables()
    y = image[..., 0].astype(np.int16)
    cb, cr = image[..., 1], image[..., 2]
    rgb = np.empty_like(image)
    for channel, offset in enumerate((red[cr], green[cb, cr], blue[cb])):
        rgb[..., channel] = np.clip(y + offset, 0, 255)
    return rgb


@cache
def _colour_tables() -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int16]]:
    """What is added to Y for red by Cr, for green by Cb and Cr, for blue by Cb."""
    chroma = np.arange(256) - 128.0
    green = -0.34414 * chroma[:, None] - 0.71414 * chroma[None, :]
    red, blue = 1.402 * chroma, 1.772 * chroma
    return _rounded(red), _rounded(green), _rounded(blue)


def _rounded(values: NDArray[np.floating]) -> NDArray[np.int16]:
    rounded: NDArray[np.int16] = np.rint(values).astype(np.int16)
    return rounded


class _Collector(logging.Handler):
    """Keeps the warnings of this thread; another one may be decoding too."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.heard.append(record.getMessage().partition(": ")[2])


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What OpenJPEG says inside the block: imagecodecs hands it to its logger."""
    logger = logging.getLogger("imagecodecs")
    if not logger.isEnabledFor(logging.WARNING):
        logger.setLevel(logging.WARNING)  # whatever the program's own level is: unheard means undamaged here
    collector = _Collector()
    logger.addHandler(collector)
    try:
        yield collector.heard
    finally:
        logger.removeHandler(collector)
