"""What absorbs light on a slide and is not tissue: marker strokes, and long thin edges of coverslips.

In: absorbance, (3, rows, columns) float32 as in ``tissue_background``, and masks of overview pixels. Out:
masks of the pixels to leave out. Colours are judged by the ratios of absorbance of the three channels, which
stay the same when a stain or ink gets thicker. Haematoxylin and eosin, whatever their mixture, absorb green
most or nearly so.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from slideprep.tissue.background import FloatArray
from slideprep.tissue.boxes import EIGHT_CONNECTED, BoolArray

PEN_OD = 0.25
"""Ink absorbs at least this much somewhere in a stroke (natural log: a quarter darker)."""

PEN_FAINT_OD = 0.06
"""Faint ends of a stroke, taken with it where they touch it and have its hue."""

BLACK_OD = 0.9
"""Black ink absorbs at least this in every channel."""

RED_THIN_OD = 0.7
"""Red ink that lets half of the green through is still told from eosin; paler, it is not."""

RED_DENSE_OD = 1.4
"""Dense red ink absorbs at least this much green and blue (three quarters); the reddest bone seen absorbed 1.23."""

TISSUE_AROUND = 0.75
"""Ink-coloured spots with this much stained tissue around are dark tissue, pigment or blood: they stay."""


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


def pen_mask(od: FloatArray, stained: BoolArray, *, min_px: int, margin_px: int, ring_px: int) -> BoolArray:
    """Marker strokes in green, blue, red or black, with a margin.

    Args:
        od: Absorbance.
        stained: Pixels that are clearly not background.
        min_px: Smallest area of a stroke.
        margin_px: Pixels around a stroke that are mixtures of ink and glass.
        ring_px: How far around a stroke to look for tissue.
    """
    hue = _ink_hue(od)
    most = od.max(axis=0)
    core = (hue & (most > PEN_OD)) | _black_ink(od) | _red_ink(od)
    tissue = stained & ~hue & ~core
    labels, count = ndimage.label(core | (hue & (most > PEN_FAINT_OD)), structure=EIGHT_CONNECTED)
    areas = np.bincount(labels[core], minlength=count + 1)
    ink = np.zeros(count + 1, dtype=bool)
    outer = margin_px + ring_px
    for label, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        if areas[label] >= min_px:
            window = (_widened(rows, outer), _widened(columns, outer))
            ink[label] = not _amid_tissue(labels[window] == label, tissue[window], margin_px, ring_px)
    return dilated(ink[labels], margin_px)


def _ink_hue(od: FloatArray) -> BoolArray:
    """Green absorbed least (green ink), or red much more than green (blue ink); H&E does neither."""
    red, green, blue = od
    green_ink = green < 0.8 * np.minimum(red, blue)
    blue_ink = (red > 1.25 * green) & (red > 1.1 * blue)
    hue: BoolArray = green_ink | blue_ink
    return hue


def _red_ink(od: FloatArray) -> BoolArray:
    """Little red absorbed, and blue as much as green (nearly, where dense): eosin, blood and bone absorb less blue."""
    red, green, blue = od
    thin = (green > RED_THIN_OD) & (blue > 0.9 * green)
    dense = (np.minimum(green, blue) > RED_DENSE_OD) & (blue > 0.8 * green)
    ink: BoolArray = (thin | dense) & (red < 0.25 * green)
    return ink


def _black_ink(od: FloatArray) -> BoolArray:
    """Much absorbed, of every channel alike; the darkest nuclei still let blue pass."""
    least, most = od.min(axis=0), od.max(axis=0)
    ink: BoolArray = (least > BLACK_OD) & (least > 0.8 * most)
    return ink


def _widened(span: slice, by: int) -> slice:
    return slice(max(0, span.start - by), span.stop + by)


def _amid_tissue(spot: BoolArray, tissue: BoolArray, margin_px: int, ring_px: int) -> bool:
    near = dilated(spot, margin_px)
    ring = dilated(near, ring_px) & ~near
    return bool(tissue[ring].mean() > TISSUE_AROUND) if ring.any() else False


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
