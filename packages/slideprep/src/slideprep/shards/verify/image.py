"""One image member: what its header says, and that every pixel of it decodes.

JPEG goes through the strict decoder (simplejpeg refuses damage that libvips and Pillow pass on as wrong pixels);
what is too large to hold decoded, and PNG and WebP, go through libvips in strips, stopping at its first warning.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyvips
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

WHOLE_LIMIT_PX = 2**27
"""Largest JPEG that is decoded whole: 134 megapixels, 400 MB."""

_HEADER_BYTES = 2**20
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, struct.error)
"""What Pillow's plugins raise on damaged headers."""
# Called by name: Image.open would try other formats, and refuses samples over 179 megapixels.
_HEADERS: dict[str, Any] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
}


@dataclass(frozen=True, kw_only=True)
class PixelSums:
    """Integer sums over decoded pixels, per channel: exact, so no order of addition matters.

    Apart from the writer's on purpose: the check shares no code with what it checks.
    """

    pixels: int = 0
    sums: tuple[int, ...] = (0, 0, 0)
    squares: tuple[int, ...] = (0, 0, 0)

    def __add__(self, other: PixelSums) -> PixelSums:
        return PixelSums(
            pixels=self.pixels + other.pixels,
            sums=tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)),
            squares=tuple(a + b for a, b in zip(self.squares, other.squares, strict=True)),
        )


def image_header(data: memoryview, image_format: str) -> tuple[str, tuple[int, int]]:
    """(mode, (width, height)) from the header of an image of the given format.

    Raises:
        ValueError: The bytes are not such an image, or it has more than 8 bits per channel.
    """
    # Pillow's WebP header needs the whole member; for the others that would only be a copy.
    start = data if image_format == "webp" else data[:_HEADER_BYTES]
    try:
        image: Image.Image = _HEADERS[image_format](io.BytesIO(start))
    except _DAMAGE as error:
        raise ValueError(f"not a {image_format} image: {error}") from error
    if image_format == "png" and data[24] != 8:
        raise ValueError(f"a PNG of {data[24]} bits per channel, not 8")
    return image.mode, image.size


def decode(data: memoryview, image_format: str, *, pixels: int) -> PixelSums:
    """Decode every pixel and add them up.

    Args:
        data: The member's bytes.
        image_format: "jpeg", "png" or "webp".
        pixels: Number of pixels, from the header.

    Raises:
        ValueError: The data is cut off or damaged.
    """
    try:
        if image_format == "jpeg" and pixels <= WHOLE_LIMIT_PX:
            return _sums(simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True))
        return _sums_in_strips(data)
    except (ValueError, pyvips.Error) as error:
        raise ValueError(" ".join(str(error).split())) from error


def _sums(image: NDArray[np.uint8]) -> PixelSums:
    rows, columns, _ = image.shape
    # By libvips, not by encode.PixelSums: what checks the writer's sums must not share their code.
    return _vips_sums(pyvips.Image.new_from_memory(image.data, columns, rows, 3, "uchar"))


def _sums_in_strips(data: memoryview) -> PixelSums:
    # A source, since new_from_buffer would copy the member.
    source = pyvips.Source.new_from_memory(data)
    image = pyvips.Image.new_from_source(source, "", access="sequential", fail_on="warning")
    return _vips_sums(image)


def _vips_sums(image: pyvips.Image) -> PixelSums:
    # Row 0 is over all bands; columns 2 and 3 are the sum and the sum of squares, whole numbers below 2**53.
    table = image.stats().numpy()
    return PixelSums(
        pixels=image.width * image.height,
        sums=tuple(int(s) for s in table[1:, 2]),
        squares=tuple(int(q) for q in table[1:, 3]),
    )
