"""Decode JPEG tiles of TIFF and Aperio SVS files, and refuse damaged ones: the fast, strict path.

tifffile gives the tiles' offsets and the shared JPEG tables, simplejpeg (libjpeg-turbo) the pixels, with every decoder
warning turned into an error. Other decoders fill a damaged tile with grey and say nothing.
"""

from __future__ import annotations

import simplejpeg

from slideprep.jpeg_header import read_jpeg_header
from slideprep.slide import Pixels
from slideprep.tiff_pages import START_OF_IMAGE, TiledPage
from slideprep.tiled_slide import TiledSlide


class TiffJpegSlide(TiledSlide):
    """A slide of JPEG tiles; see :class:`slideprep.tiled_slide.TiledSlide`."""

    reader = "tiff-jpeg"
    reductions = (8, 4, 2)  # 8 is the mean of each block of the transform

    def decode(self, page: TiledPage, data: bytes, step: int, *, strict: bool) -> Pixels:
        """Decode a tile's bytes; see :meth:`slideprep.tiled_slide.TiledSlide.decode`."""
        if not data.startswith(START_OF_IMAGE):
            raise ValueError(f"no JPEG start marker, its first bytes are {data[:4]!r}")
        data = page.header + data[2:]
        height, width, _ = read_jpeg_header(data, strict=False)
        if (height, width) != (page.tile_height, page.tile_width):  # before memory is taken for it
            raise ValueError(f"it holds {width} x {height} px, not {page.tile_width} x {page.tile_height}")
        expected = (page.tile_height // step, page.tile_width // step, 3)
        least = expected[:2] if step > 1 else (0, 0)  # 0: as stored
        image: Pixels = simplejpeg.decode_jpeg(data, min_height=least[0], min_width=least[1], strict=strict)
        assert image.shape == expected, "its header said so"
        return image
