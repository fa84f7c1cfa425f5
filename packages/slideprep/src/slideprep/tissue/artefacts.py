"""What absorbs light on a slide and is not tissue: long thin edges of coverslips; and how masks grow and shrink.

In: masks of overview pixels. Out: masks of the pixels to leave out. Marker ink is ``ink``'s.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from slideprep.tissue.boxes import EIGHT_CONNECTED, BoolArray


def px_from_um(length_um: float, mpp: float) -> int:
    """A length in overview pixels, at least one."""
    return max(1, round(length_um / mpp))


def dilated(mask: BoolArray, radius_px: int) -> BoolArray:
    """The mask grown by ``radius_px`` in all directions, diagonals included (squares are separable)."""
    if radius_px < 1:
        return mask
    result: BoolArray = ndimage.maximum_filter(mask.view(np.uint8), 2 * radius_px + 1).view(np.bool_)
    return result


def eroded(mask: BoolArray, radius_px: int) -> BoolArray:
    """The mask shrunk by ``radius_px`` in all directions; the image's border does not shrink it."""
    if radius_px < 1:
        return mask
    result: BoolArray = ndimage.minimum_filter(mask.view(np.uint8), 2 * radius_px + 1).view(np.bool_)
    return result


def closed(mask: BoolArray, radius_px: int) -> BoolArray:
    """The mask with gaps up to twice ``radius_px`` wide closed, but not the gap between it and the image's border."""
    if radius_px < 1:
        return mask
    padded = np.pad(mask, radius_px)
    return eroded(dilated(padded, radius_px), radius_px)[radius_px:-radius_px, radius_px:-radius_px]


def widened(span: slice, by: int) -> slice:
    """A half-open range, longer by ``by`` at both ends but not below 0."""
    return slice(max(0, span.start - by), span.stop + by)


def edge_mask(mask: BoolArray, colourful: BoolArray, *, width_px: int, length_px: float) -> BoolArray:
    """Long thin lines: edges of coverslips and labels, scratches, fibres.

    A piece is thin where a square of ``width_px`` does not fit. Thin pieces at least ``length_px`` long go,
    if straight or hardly coloured: a curved, stained strand may be tissue.

    Args:
        mask: Candidate tissue.
        colourful: Pixels whose absorbance differs clearly between channels, as stains' does.
        width_px: Largest width of a line.
        length_px: Smallest length of a line.

    Returns:
        The pixels of ``mask`` that belong to such lines.
    """
    radius = max(1, width_px // 2)
    thick = dilated(eroded(mask, radius), radius)
    labels, count = ndimage.label(mask & ~thick, structure=EIGHT_CONNECTED)
    lines = np.zeros(count + 1, dtype=bool)
    for label, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        if np.hypot(rows.stop - rows.start, columns.stop - columns.start) >= length_px:
            piece = labels[rows, columns] == label
            stained = colourful[rows, columns][piece].mean() > 0.5
            lines[label] = _is_line(piece, 2 * radius + 1, stained=bool(stained))
    found: BoolArray = lines[labels]
    return found


def _is_line(piece: BoolArray, width_px: int, *, stained: bool) -> bool:
    """Whether a piece is narrow for its length, and straight where it is stained.

    The standard deviation across a uniform strip is its width over the square root of 12.
    """
    points = np.argwhere(piece).astype(np.float64)
    length = np.hypot(*np.ptp(points, axis=0))
    if len(points) > 2 * width_px * length:
        return False
    across = np.sqrt(12 * max(np.linalg.eigvalsh(np.cov(points.T))[0], 0.0))
    straight = across <= 1.5 * width_px and length >= 8 * across
    return bool(straight or not stained)
