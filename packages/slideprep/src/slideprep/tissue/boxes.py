"""Boxes of overview pixels that show too much of the same tissue -> one box around both."""

from __future__ import annotations

from math import ceil, floor
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from slideprep.errors import TissueError
from slideprep.units import Box

Span = tuple[slice, slice]
"""Rows and columns of a rectangle of overview pixels, both half-open."""

BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]

EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)
"""Neighbours of a pixel in a mask: the eight around it."""


def without_shared_tissue(spans: list[Span], mask: BoolArray, most_shared: float) -> list[Span]:
    """Unite boxes, two at a time, until none shares too much tissue; each union leaves one box fewer.

    Args:
        spans: Boxes of overview pixels.
        mask: Tissue, (rows, columns) bool.
        most_shared: Largest part of the tissue in either box that may lie in both.
    """
    waiting, settled = list(spans), list[Span]()
    while waiting:
        span = waiting.pop()
        partner = next(
            (i for i, other in enumerate(settled) if _shares(span, other, mask, most_shared)), None
        )
        if partner is None:
            settled.append(span)
        else:
            waiting.append(united(span, settled.pop(partner)))
    return settled


def _shares(a: Span, b: Span, mask: BoolArray, most_shared: float) -> bool:
    common = _common(a, b)
    return common is not None and bool(mask[common].sum() > most_shared * min(mask[a].sum(), mask[b].sum()))


def _common(a: Span, b: Span) -> Span | None:
    rows = slice(max(a[0].start, b[0].start), min(a[0].stop, b[0].stop))
    columns = slice(max(a[1].start, b[1].start), min(a[1].stop, b[1].stop))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def united(a: Span, b: Span) -> Span:
    """The smallest rectangle around two."""
    return (
        slice(min(a[0].start, b[0].start), max(a[0].stop, b[0].stop)),
        slice(min(a[1].start, b[1].start), max(a[1].stop, b[1].stop)),
    )


def checked_overview(image: npt.NDArray[Any]) -> ByteArray:
    """The overview, after a look at its type and shape.

    Raises:
        TissueError: It is not a non-empty (rows, columns, 3) uint8 array.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise TissueError(
            f"tissue detection needs an RGB overview, (rows, columns, 3) uint8, and was given {image.shape} "
            f"{image.dtype}; flatten transparency and convert to 8 bits first"
        )
    return image


def without_small_components(mask: BoolArray, min_component_px: int) -> BoolArray:
    """The mask without its 8-connected components of fewer than ``min_component_px`` pixels."""
    labels, _ = ndimage.label(mask, structure=EIGHT_CONNECTED)
    keep = np.bincount(labels.ravel()) >= min_component_px
    keep[0] = False
    kept: BoolArray = keep[labels]
    return kept


def filled(mask: BoolArray) -> BoolArray:
    """The mask with its holes: what no 4-connected path joins to the border."""
    labels, count = ndimage.label(np.pad(~mask, 1, constant_values=True))
    outside = np.zeros(count + 1, dtype=bool)
    outside[labels[0, 0]] = True
    inside: BoolArray = ~outside[labels[1:-1, 1:-1]]
    return inside


def regions_from_mask(
    mask: BoolArray, *, downsample_x: float, downsample_y: float, width_l0: int, height_l0: int
) -> list[Box]:
    """One box per 8-connected component, top to bottom, then left to right.

    The published tool truncates the downsample to a whole number, which shifts boxes far from the origin;
    here it is exact. Starts are rounded down and ends up, so that the box covers its component, and clipped
    to the slide.

    Args:
        mask: (rows, columns) bool, in overview pixels.
        downsample_x: Level-0 pixels per overview pixel along x, exact.
        downsample_y: The same along y.
        width_l0: Width of the slide, level-0 pixels.
        height_l0: Height of the slide, level-0 pixels.

    Returns:
        Half-open boxes in level-0 pixels, (x, y) top left.
    """
    labels, _ = ndimage.label(mask, structure=EIGHT_CONNECTED)
    scale = (downsample_x, downsample_y)
    boxes = [
        box_from_slices(rows, columns, downsample=scale, size_l0=(width_l0, height_l0))
        for rows, columns in ndimage.find_objects(labels)
    ]
    return sorted(boxes, key=lambda box: (box.y, box.x, box.height, box.width))


def box_from_slices(
    rows: slice, columns: slice, *, downsample: tuple[float, float], size_l0: tuple[int, int]
) -> Box:
    """The level-0 box of a rectangle of overview pixels.

    Args:
        rows: Rows of the overview, half-open.
        columns: Columns of the overview, half-open.
        downsample: Level-0 pixels per overview pixel, (x, y).
        size_l0: (width, height) of the slide, level-0 pixels.
    """
    x, right = _span_l0(columns, downsample[0], size_l0[0])
    y, bottom = _span_l0(rows, downsample[1], size_l0[1])
    return Box(x=x, y=y, width=right - x, height=bottom - y)


def _span_l0(span: slice, downsample: float, size_l0: int) -> tuple[int, int]:
    """Start and end in level-0 pixels; at least one pixel, even where the overview overhangs the border."""
    start = min(floor(span.start * downsample), size_l0 - 1)
    return start, max(start + 1, min(ceil(span.stop * downsample), size_l0))
