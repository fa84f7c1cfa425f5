"""One tile's bytes in, its pixels out, or a refusal: JPEG and deflate tiles of TIFF and Aperio SVS files.

JPEG: tifffile gives the tiles' offsets and the shared JPEG tables, simplejpeg (libjpeg-turbo) the pixels, with every
decoder warning turned into an error. Other decoders fill a damaged tile with grey and say nothing.

Deflate: libtiff, inside OpenSlide, stops where a tile's pixels are complete: of 19 tiles whose second half was zeroed
it refused none. zlib reads to the end and compares the Adler-32 checksum of the pixels.
"""

from __future__ import annotations

import zlib

import numpy as np
import simplejpeg

from slideprep.slides.readers.tiff_pages import START_OF_IMAGE, TiledPage
from slideprep.slides.readers.tiled import TiledSlide
from slideprep.units import Pixels


class TiffDeflateSlide(TiledSlide):
    """A slide of deflate tiles; see :class:`slideprep.slides.readers.tiled.TiledSlide`."""

    reader = "tiff-deflate"

    def decode(self, page: TiledPage, data: bytes, step: int, *, strict: bool) -> Pixels:
        """Decode a tile's bytes; see :meth:`slideprep.slides.readers.tiled.TiledSlide.decode`."""
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


class TiffJpegSlide(TiledSlide):
    """A slide of JPEG tiles; see :class:`slideprep.slides.readers.tiled.TiledSlide`."""

    reader = "tiff-jpeg"
    reductions = (8, 4, 2)  # 8 is the mean of each block of the transform

    def decode(self, page: TiledPage, data: bytes, step: int, *, strict: bool) -> Pixels:
        """Decode a tile's bytes; see :meth:`slideprep.slides.readers.tiled.TiledSlide.decode`."""
        if not data.startswith(START_OF_IMAGE):
            raise ValueError(f"no JPEG start marker, its first bytes are {data[:4]!r}")
        data = page.header + data[2:]
        height, width, _ = read_jpeg_header(data, strict=False)
        if (height, width) != (page.tile_height, page.tile_width):  # before memory is taken for it
            raise ValueError(f"it holds {width} x {height} px, not {page.tile_width} x {page.tile_height}")
        expected = (page.tile_height // step, page.tile_width // step, 3)
        least = expected[:2] if step > 1 else (0, 0)  # 0: as stored
        image: Pixels = simplejpeg.decode_jpeg(data, min_height=least[0], min_width=least[1], strict=strict)
        if image.shape != expected:
            raise ValueError(f"it was decoded to {image.shape}, and its header said {expected}")
        return image


def read_jpeg_header(data: bytes, *, strict: bool = True) -> tuple[int, int, str]:
    """(height, width, colours) of a JPEG; the colours by libjpeg-turbo's names.

    Args:
        data: The whole file, or its beginning.
        strict: Whether a warning of the decoder is an error.

    Raises:
        ValueError: The header is damaged.
    """
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data, strict=strict)
    except KeyError as error:  # simplejpeg's word for a header that ends before it names its colours
        raise ValueError("its header is damaged: no colour space can be read") from error
    return height, width, colours
