"""Overview -> areas at its border that no scanner saw: black ones, and blank ones in a colour that is not the glass's.

In: an overview as planes, (3, rows, columns) uint8 red, green, blue. Out: masks, (rows, columns) bool. Blank padding is
exactly constant, but so is glass where JPEG or the scanner smoothed it, and then it is worth keeping: only the colour
tells the two apart.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from slideprep.tissue.boxes import EIGHT_CONNECTED, BoolArray, ByteArray

BLACK_LEVEL = 24
"""Padding that went through JPEG is not quite 0; no stained tissue is this dark in all three channels."""

DIMMEST_BLANK = 130
"""Blank areas darker than this, in any channel, are not called padding."""

SMALLEST_BLANK = 0.005
"""Share of the image that a blank area must cover to be padding."""

OTHER_COLOUR = 0.02
"""Difference, as a natural log, from which a blank area has another colour than the glass."""


def black_padding(planes: ByteArray) -> BoolArray:
    """Black areas at the border, grown by 2 px over the mixed pixels at their edge."""
    black: BoolArray = planes.max(axis=0) <= BLACK_LEVEL
    if not black.any():
        return black
    labels, count = ndimage.label(black, structure=EIGHT_CONNECTED)
    kept = _at_border(labels, count)[labels]
    grown: BoolArray = ndimage.binary_dilation(kept, structure=EIGHT_CONNECTED, iterations=2)
    return grown


def blank_areas(planes: ByteArray) -> npt.NDArray[np.int32]:
    """Large bright areas at the border, each of one exactly constant colour, numbered from 1 as labels.

    A pixel counts if its neighbourhood of 3 x 3 is constant; such pixels side by side share pixels, hence a colour.
    """
    bright = planes.min(axis=0) >= DIMMEST_BLANK
    across = (planes[:, :, :-1] == planes[:, :, 1:]).all(axis=0)
    down = (planes[:, :-1] == planes[:, 1:]).all(axis=0)
    constant = across[:-1] & across[1:] & down[:, :-1] & down[:, 1:]  # of 2 x 2, at its top left
    constant = constant[:-1, :-1] & constant[:-1, 1:] & constant[1:, :-1] & constant[1:, 1:]
    centres = np.zeros_like(bright)
    centres[1:-1, 1:-1] = constant & bright[1:-1, 1:-1]
    if not centres.any():
        return np.zeros(bright.shape, dtype=np.int32)
    grown = ndimage.grey_dilation(ndimage.label(centres, structure=EIGHT_CONNECTED)[0], size=3)
    areas = np.bincount(grown.ravel())
    keep = _at_border(grown, len(areas) - 1) & (areas >= SMALLEST_BLANK * bright.size)
    renumbered = np.where(keep, np.arange(len(areas)), 0).astype(np.int32)
    return np.asarray(renumbered[grown], dtype=np.int32)


def blank_padding(
    planes: ByteArray, areas: npt.NDArray[np.int32], glass: npt.NDArray[np.float64] | None
) -> BoolArray:
    """The blank areas in another colour than the glass; none where no other glass was seen to compare with.

    Args:
        planes: (3, rows, columns) uint8.
        areas: From :func:`blank_areas`.
        glass: Natural log of the glass's three channels, or None.
    """
    numbers, first = np.unique(areas, return_index=True)
    other = np.zeros(int(numbers[-1]) + 1, dtype=bool)
    if glass is not None:
        colours = np.log(planes.reshape(3, -1)[:, first].astype(np.float64).clip(1))
        other[numbers] = np.abs(colours - glass[:, None]).max(axis=0) > OTHER_COLOUR
    other[0] = False
    padding: BoolArray = other[areas]
    return padding


def _at_border(labels: npt.NDArray[np.int32], count: int) -> BoolArray:
    """Per label, whether it touches the image's border; false for 0."""
    keep = np.zeros(count + 1, dtype=bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        keep[edge] = True
    keep[0] = False
    return keep
