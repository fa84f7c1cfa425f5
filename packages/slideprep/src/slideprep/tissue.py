"""Overview image -> tissue mask by the published tissueloc algorithm; mask -> boxes in level-0 pixels.

In: an overview, (rows, columns, 3) uint8 RGB. Out: a mask, (rows, columns) bool, or half-open boxes in
level-0 pixels. Nothing here opens a slide or knows its scale in µm; our own detector, which does, is in
``tissue_auto``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from slideprep.errors import TissueError
from slideprep.units import Box

BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]

EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)
"""Neighbours of a pixel in a mask: the eight around it."""

TISSUELOC_MAX_SIDE_PX = 2048
"""tissueloc looks at the first level with both sides below this (its ``max_img_size``)."""

_GREY_WEIGHTS = np.array([0.299, 0.587, 0.114])


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


def tissueloc_mask(
    image: npt.NDArray[Any],
    *,
    sigma: float = 13.0,
    threshold: float = 0.80,
    min_component_px: int = 10_000,
    fill_holes: bool = True,
) -> BoolArray:
    """Tissue by the published tool's algorithm, pixel for pixel (tissueloc 2.1.0, Chen & Yang, JOSS 2019).

    Grey values are weighted .299, .587, .114, smoothed (edges repeated, kernel cut at 4 sigma) and divided by
    their maximum; what is below ``threshold`` is tissue. Holes of 4-connected background are filled, then
    8-connected components smaller than ``min_component_px`` dropped. All sizes are in pixels of the overview,
    as in the tool, so the result depends on the level: choose it with :func:`tissueloc_level`. The tool drops
    the alpha channel, which turns transparent padding black and so into tissue; hand over an image flattened
    on the slide's background.

    Args:
        image: The whole overview level, (rows, columns, 3) uint8 RGB.
        sigma: Standard deviation of the Gaussian, in overview pixels.
        threshold: Fraction of the maximum of the smoothed grey image below which a pixel is tissue.
        min_component_px: Smallest area of a component that is kept, in overview pixels.
        fill_holes: Whether background enclosed by tissue becomes tissue.

    Returns:
        The mask, (rows, columns) bool.

    Raises:
        TissueError: The image is not an RGB overview, or a number is out of range.
    """
    image = checked_overview(image)
    if not (isfinite(sigma) and sigma >= 0 and 0 < threshold <= 1 and min_component_px >= 0):
        raise TissueError(
            "tissueloc needs sigma >= 0, 0 < threshold <= 1 and min_component_px >= 0, and was given sigma "
            f"{sigma:g}, threshold {threshold:g}, min_component_px {min_component_px}"
        )
    # np.dot in float64, as the tool does it: another order of summation moves single pixels across the
    # threshold.
    grey = np.dot(image, _GREY_WEIGHTS)
    smooth = ndimage.gaussian_filter(grey, sigma, mode="nearest", truncate=4.0)
    brightest = smooth.max()
    if brightest <= 0:  # an all-black overview has no background to be darker than
        return np.zeros(image.shape[:2], dtype=bool)
    mask: BoolArray = smooth / brightest < threshold
    if fill_holes:
        mask = ndimage.binary_fill_holes(mask)
    return without_small_components(mask, min_component_px)


def without_small_components(mask: BoolArray, min_component_px: int) -> BoolArray:
    """The mask without its 8-connected components of fewer than ``min_component_px`` pixels."""
    labels, _ = ndimage.label(mask, structure=EIGHT_CONNECTED)
    keep = np.bincount(labels.ravel()) >= min_component_px
    keep[0] = False
    kept: BoolArray = keep[labels]
    return kept


def tissueloc_level(level_sizes: Sequence[tuple[int, int]], max_side_px: int = TISSUELOC_MAX_SIDE_PX) -> int:
    """The level tissueloc looks at: the first with both sides under 2048 px, else the last.

    Args:
        level_sizes: (width, height) in pixels of every level, level 0 first.
        max_side_px: The limit, as the tool's option ``max_img_size`` sets it.
    """
    assert level_sizes, "a slide has at least one level"
    for level, (width, height) in enumerate(level_sizes):
        if width < max_side_px and height < max_side_px:
            return level
    return len(level_sizes) - 1


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
