"""Decode deflate tiles of TIFF files, and refuse damaged ones: each tile ends with a checksum of its pixels.

libtiff, inside OpenSlide, stops where a tile's pixels are complete: of 19 tiles whose second half was zeroed it refused
none. zlib reads to the end and compares the Adler-32 checksum of the pixels.
"""

from __future__ import annotations

import zlib

import numpy as np

from slideprep.slide import Pixels
from slideprep.tiff_pages import TiledPage
from slideprep.tiled_slide import TiledSlide


class TiffDeflateSlide(TiledSlide):
    """A slide of deflate tiles; see :class:`slideprep.tiled_slide.TiledSlide`."""

    reader = "tiff-deflate"

    def decode(self, page: TiledPage, data: bytes, step: int, *, strict: bool) -> Pixels:
        """Decode a tile's bytes; see :meth:`slideprep.tiled_slide.TiledSlide.decode`."""
        assert step == 1, "a tile is decoded whole"
        shape = (page.tile_height, page.tile_width, 3)
        stored = np.frombuffer(_inflate(data, shape[0] * shape[1] * shape[2]), np.uint8).reshape(shape)
        return np.cumsum(stored, axis=1, dtype=np.uint8) if page.differences else stored


def _inflate(data: bytes, size: int) -> bytes:
    """The ``size`` bytes that the data holds, no more of them taken from it than one.

    Raises:
        ValueError: It is damaged, ends early, or holds more or less.
    """
    decoder = zlib.decompressobj()
    try:
        found = decoder.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError(f"zlib says '{error}'") from error
    if len(found) != size:
        raise ValueError(
            f"it holds {len(found) if len(found) < size else 'over ' + str(size)} bytes, not {size}"
        )
    if not decoder.eof:
        raise ValueError("its checksum is missing")
    return found
