"""An encoded image in, its pixels out, or a refusal: the strict decoders that damage does not get past."""

from __future__ import annotations

import numpy as np
import pyvips
import simplejpeg
from numpy.typing import NDArray

from slideprep.shards.models import ImageFormat

Pixels = NDArray[np.uint8]


def decode(encoded: bytes, image_format: ImageFormat) -> Pixels:
    """Decode an image of a shard set.

    Args:
        encoded: The whole file.
        image_format: What it is encoded as.

    Returns:
        (rows, columns, 3) uint8 RGB.

    Raises:
        ValueError: It is damaged, cut off, or of another format.
    """
    if image_format == "jpeg":
        pixels: Pixels = simplejpeg.decode_jpeg(encoded, colorspace="RGB", strict=True)
        return pixels
    load = {"png": pyvips.Image.pngload_buffer, "webp": pyvips.Image.webpload_buffer}[image_format]
    try:
        image = load(encoded, access="sequential", fail_on="warning")
        return np.frombuffer(image.write_to_memory(), np.uint8).reshape(image.height, image.width, 3)
    except pyvips.Error as error:
        raise ValueError(" ".join(str(error).split())) from error
