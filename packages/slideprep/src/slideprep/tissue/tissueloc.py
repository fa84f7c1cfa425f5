"""Overview image -> tissue mask by the published tissueloc algorithm; mask -> boxes in level-0 pixels.

In: an overview, (rows, columns, 3) uint8 RGB. Out: a mask, (rows, columns) bool, or half-open boxes in
level-0 pixels. Nothing here opens a slide or knows its scale in µm; our own detector, which does, is in
``tissue_auto``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from slideprep.errors import TissueError
from slideprep.tissue.boxes import BoolArray, checked_overview, without_small_components

TISSUELOC_MAX_SIDE_PX = 2048
"""tissueloc looks at the first level with both sides below this (its ``max_img_size``)."""

_GREY_WEIGHTS = np.array([0.299, 0.587, 0.114])


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
