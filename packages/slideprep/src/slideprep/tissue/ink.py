"""Absorbance -> strokes of a marker pen, told by their colour.

In: absorbance, (3, rows, columns) float32 as in ``background``, and masks of overview pixels. Out: numbered strokes.
Colours are judged by the ratios of absorbance of the three channels, which stay the same when a stain or ink gets
thicker. Haematoxylin and eosin, whatever their mixture, absorb green most or nearly so. What lies under the strokes is
``under_ink``'s.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from slideprep.tissue.artefacts import dilated, widened
from slideprep.tissue.background import FloatArray
from slideprep.tissue.boxes import EIGHT_CONNECTED, BoolArray

LabelArray = npt.NDArray[np.int32]
"""(rows, columns): a stroke's number from 1, 0 where there is none."""

PEN_OD = 0.25
"""Ink absorbs at least this much somewhere in a stroke (natural log: a quarter darker)."""

PEN_FAINT_OD = 0.06
"""Faint ends of a stroke, taken with it where they touch it and have its hue."""

BLACK_OD = 0.35
"""Black ink absorbs at least this in every channel; fine or pale strokes no more."""

BLACKEST_OD = 0.9
"""Shadows of edges absorb less than this, ink in a stroke's middle more."""

RED_THIN_OD = 0.7
"""Red ink that lets half of the green through is still told from eosin whatever the slide; paler, it is not."""

RED_DENSEST_OD = 1.9
"""Nothing stained absorbs this much green and so little red."""

RED_FAINT_OD = 0.35
"""Where the slide's own tissue has another hue, ink is told that lets two thirds of the green through."""

RED_STEP = 7
"""Every seventh pixel tells the tissue's hue."""

RED_DENSE_OD = 1.4
"""Dense red ink absorbs at least this much green and blue (three quarters); the reddest bone seen absorbed 1.23."""

TISSUE_AROUND = 0.75
"""Ink-coloured spots with this much stained tissue around are dark tissue, pigment or blood: they stay."""


def find_strokes(
    od: FloatArray,
    stained: BoolArray,
    *,
    min_px: int,
    margin_px: int,
    ring_px: int,
    edge_px: tuple[float, float],
) -> LabelArray:
    """Marker strokes in green, blue, red or black, without the margin around them that is a mixture of ink and glass.

    Args:
        od: Absorbance.
        stained: Pixels that are clearly not background.
        min_px: Smallest area of a stroke.
        margin_px: Width of that margin.
        ring_px: How far around a stroke to look for tissue: spots amid it are none.
        edge_px: Width and length of grey lines that edges of coverslips draw, as of a fine pen.
    """
    hue = _ink_hue(od)
    most = od.max(axis=0)
    core = (hue & (most > PEN_OD)) | _black_ink(od) | _red_ink(od, stained, min_px)
    if np.count_nonzero(core) < min_px // 2:
        return np.zeros(core.shape, dtype=np.int32)
    tissue = stained & ~hue & ~core
    faint = (hue | _grey(od) | _ruddy(od)) & (most > PEN_FAINT_OD)
    labels, count = ndimage.label(core | faint, structure=EIGHT_CONNECTED)
    dark = np.bincount(labels[core], minlength=count + 1)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    numbers = np.zeros(count + 1, dtype=np.int32)
    outer = margin_px + ring_px
    for label, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        if areas[label] >= min_px and dark[label] >= min_px // 2:
            window = (widened(rows, outer), widened(columns, outer))
            stroke = labels[window] == label
            is_edge = _is_long(rows, columns, areas[label], edge_px) and _is_pale_grey(
                od[:, *window][:, stroke]
            )
            if not is_edge and not _amid_tissue(stroke, tissue[window], margin_px, ring_px):
                numbers[label] = numbers.max() + 1
    strokes: LabelArray = numbers[labels]
    return strokes


def inked_pixels(od: FloatArray) -> BoolArray:
    """Pixels of the hue of green or blue ink, or as black as ink alone is, wherever they lie: amid tissue, too.

    Red ink is not told from blood and bone there.

    Args:
        od: Absorbance.
    """
    coloured = _ink_hue(od) & (od.max(axis=0) > PEN_OD)
    inked: BoolArray = coloured | (_grey(od) & (od.min(axis=0) > BLACKEST_OD))
    return inked


def quantile(values: npt.NDArray[np.floating], share: float) -> np.floating:
    """The value below which ``share`` of all lie: numpy's, without its interpolation and its cost on few values."""
    place = int(share * (len(values) - 1))
    found: np.floating = np.partition(values, place)[place]
    return found


def _ink_hue(od: FloatArray) -> BoolArray:
    """Green absorbed least (green ink), or red much more than green (blue ink); H&E does neither."""
    red, green, blue = od
    green_ink = green < 0.8 * np.minimum(red, blue)
    blue_ink = (red > 1.25 * green) & (red > 1.1 * blue)
    hue: BoolArray = green_ink | blue_ink
    return hue


def _red_ink(od: FloatArray, stained: BoolArray, min_px: int) -> BoolArray:
    """Little red absorbed, and blue as much as green (nearly, where dense): eosin, blood and bone absorb less blue.

    Paler ink is told by the slide's own tissue, where that is clearly less red.
    """
    red, green, blue = od
    ruddy = _ruddy(od) & (green > RED_FAINT_OD)
    if np.count_nonzero(ruddy) < min_px // 2 or not stained.any():
        return np.zeros(ruddy.shape, dtype=bool)
    thin = (green > RED_THIN_OD) & (blue > 0.9 * green)
    dense = (np.minimum(green, blue) > RED_DENSE_OD) & (blue > 0.8 * green)
    densest = (green > RED_DENSEST_OD) & (blue > 0.6 * green) & (red < 0.16 * green)
    tissue = od[:, stained][:, ::RED_STEP]
    tissue_green = np.maximum(tissue[1], PEN_FAINT_OD)
    usual_red = quantile(tissue[0] / tissue_green, 0.5)
    usual_blue = quantile(tissue[2] / tissue_green, 0.25)
    redder = (red < 0.45 * usual_red * green) & (blue > 1.33 * usual_blue * green)
    ink: BoolArray = (ruddy & (thin | dense | redder)) | densest
    return ink


def _black_ink(od: FloatArray) -> BoolArray:
    """Every channel absorbed alike; the darkest nuclei still let blue pass."""
    ink: BoolArray = (od.min(axis=0) > BLACK_OD) & _grey(od)
    return ink


def _grey(od: FloatArray) -> BoolArray:
    grey: BoolArray = od.min(axis=0) > 0.76 * od.max(axis=0)
    return grey


def _ruddy(od: FloatArray) -> BoolArray:
    """The hue of red ink, and of some tissue: it counts beside red ink alone."""
    red, green, blue = od
    ruddy: BoolArray = (blue > 0.76 * green) & (red < 0.25 * green)
    return ruddy


def _is_long(rows: slice, columns: slice, area_px: int, edge_px: tuple[float, float]) -> bool:
    """Whether something is as thin and as long as the edge of a coverslip."""
    width, length = edge_px
    extent = np.hypot(rows.stop - rows.start, columns.stop - columns.start)
    return bool(extent >= length and area_px < width * extent)


def _is_pale_grey(od: FloatArray) -> bool:
    """Whether half of the pixels, (3, pixels), are grey, and hardly any as dark as black ink."""
    return bool(_grey(od).mean() > 0.5 and quantile(od.min(axis=0), 0.9) < BLACKEST_OD)


def _amid_tissue(spot: BoolArray, tissue: BoolArray, margin_px: int, ring_px: int) -> bool:
    near = dilated(spot, margin_px)
    ring = dilated(near, ring_px) & ~near
    return bool(tissue[ring].mean() > TISSUE_AROUND) if ring.any() else False
