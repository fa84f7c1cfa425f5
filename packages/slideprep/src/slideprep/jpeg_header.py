"""What a JPEG says of itself before any pixel is decoded, or a refusal."""

from __future__ import annotations

import simplejpeg


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
