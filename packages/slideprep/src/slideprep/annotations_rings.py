"""Rules that every outline in an annotation file must keep, whatever the format; level-0 pixels."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np

from slideprep.annotations import Ring
from slideprep.errors import InputError


def checked_number(value: Any, where: str) -> float:
    """A coordinate as a finite number.

    Args:
        value: What the file holds: a number, or in XML a string.
        where: File and place in it, for the message.

    Raises:
        InputError: It is none.
    """
    try:
        number = float("nan") if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not isfinite(number):
        raise InputError(
            f"{where}: coordinates must be finite numbers in level-0 pixels, and one is {str(value)[:40]!r}; "
            "correct or remove this annotation"
        )
    return number


def checked_ring(corners: list[tuple[float, float]], where: str) -> Ring:
    """A ring without repeated corners in a row, at least a triangle, with an area of pixels.

    Args:
        corners: The outline, level-0 pixels; the last corner may repeat the first.
        where: File and place in it, for the message.

    Raises:
        InputError: Fewer than 3 corners, no area, or smaller than one pixel.
    """
    kept = [c for i, c in enumerate(corners) if i == 0 or c != corners[i - 1]]
    if len(kept) > 1 and kept[0] == kept[-1]:
        kept.pop()
    if len(kept) < 3:
        raise InputError(
            f"{where}: an outline needs at least 3 different corners, and this one has {len(kept)}; remove it"
        )
    points = np.array(kept)
    relative = points - points[0]
    far = relative[np.argmax((relative**2).sum(axis=1))]
    if not np.any(relative[:, 0] * far[1] != relative[:, 1] * far[0]):
        raise InputError(f"{where}: the outline has no area, all its corners lie on one line; remove it")
    if np.ptp(points, axis=0).max() < 1:
        raise InputError(
            f"{where}: the outline is smaller than one level-0 pixel ({_extent(points)}), so its "
            "coordinates are probably fractions, mm or degrees; export it in pixels of the full-resolution "
            "image"
        )
    return tuple(kept)


def _extent(points: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    width, height = np.ptp(points, axis=0)
    return f"{width:.3g} x {height:.3g}"
