"""What a plain JPEG or PNG says beside its pixels, and a look at values that no stained slide has.

In: EXIF data, or an image that libvips opened. Out: warnings, or a refusal. A TIFF has been looked at before.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from PIL import Image

from slideprep.errors import SlideOpenError
from slideprep.slides.readers.tiff_check import GREY
from slideprep.slides.readers.tiff_values import Values, refusal, warnings

_EXIF_WITHIN = 65_536
"""Bytes; EXIF stands in one of a JPEG's first segments, none of which is longer."""

_ORIENTATION = 274


def exif_of_jpeg(data: bytes) -> bytes:
    """The EXIF part of a JPEG, or nothing."""
    start = data.find(b"Exif\0\0", 0, _EXIF_WITHIN)
    return data[start : start + _EXIF_WITHIN] if start >= 0 else b""


def turned(exif: bytes) -> list[str]:
    """A warning about the orientation that an image's EXIF part asks for, if it is not upright."""
    tags = Image.Exif()
    try:
        tags.load(exif)
        orientation = tags.get(_ORIENTATION, 1)
    except (OSError, ValueError, KeyError, IndexError, TypeError, SyntaxError, struct.error):
        return []  # what cannot be read turns nothing
    if orientation not in range(2, 9):
        return []
    return [f"The EXIF orientation ({orientation}) is not followed: the picture is read as it is stored."]


def png_warnings(name: str, image: Any, load: Callable[[], Any]) -> list[str]:
    """Warnings about the values of a PNG that is grey, of 16 bits or with opacity.

    Args:
        name: The slide's name.
        image: The PNG, as libvips opened it.
        load: Opens it again: each look is a pass from the top.

    Raises:
        SlideOpenError: No stained slide has such values.
    """
    import pyvips

    grey = [GREY] if image.bands - int(image.hasalpha()) == 1 else []
    try:
        values = _values(image, load)
    except pyvips.Error:
        return grey  # damage is said where pixels are read
    refuse_values(name, values)
    return [*grey, *warnings(values)]


def _values(image: Any, load: Callable[[], Any]) -> Values:
    colours, bits = image.bands - int(image.hasalpha()), 16 if image.format == "ushort" else 8
    white = 2**bits - 1
    return Values(
        bits=bits,
        brightest=int(load().extract_band(0, n=colours).max()) if bits == 16 else white,
        median=load()[0].percent(50) / white if colours == 1 else None,
        bright=load()[0].percent(95) / white if colours == 1 else None,
        clear=(load()[colours] == 0).avg() / 255 if image.hasalpha() else None,
    )


def refuse_values(name: str, values: Values) -> None:
    """Refuse, by SlideOpenError, an image whose values no stained slide has."""
    reason = refusal(values)
    if reason:
        raise SlideOpenError(f"slide '{name}' cannot be read as a stained slide: {reason}")
