"""Absorbance of an overview or of a region's picture -> air bubbles under the coverslip, and their rims.

In: absorbance, (3, rows, columns) float32 as in ``background``, at about 16 µm per pixel. Out: masks of its pixels.

Light that meets the bent edge of the air misses the lens, so a bubble is a dark, thin line without colour, closed on
itself, around something bright: the glass, where it pushed the tissue aside, or the tissue, paler. Lines of pens are
wider. Of a bubble that the image's border cuts off an open arc is left; inside is the side that it bends around.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from slideprep.tissue.artefacts import closed, dilated, px_from_um, widened
from slideprep.tissue.background import FloatArray
from slideprep.tissue.boxes import EIGHT_CONNECTED, BoolArray, filled, united
from slideprep.tissue.ink import LabelArray
from slideprep.tissue.left_out import DUST_MM2

RIM_OD, RIM_COLOUR = 0.2, 0.35
"""A bubble's rim absorbs at least this much in every channel, and differs by less than this part between them."""

CORE_COLOURLESS = 0.33
"""Of what is as dark beside a part as the darker half of its rim, at least this part has no colour. A planted bubble in
strong stain had 0.42, brown walls of 48 µm 0.25 and less. Thinner walls mix with glass altogether and are not told."""

RIM_GAP_UM = 64.0
"""Gaps up to this wide in a rim do not open it."""

RING_UM, MOST_RIM = 160.0, 0.52
"""A bubble's rim takes at most this part of a ring so wide around it, planted ones of up to 40 µm at most 0.46.
Crossing lines of pens took 0.58 and more; rings of pens for glass, 300 µm wide, take all."""

BRIGHT_OD = 0.3
"""Glass in a bubble, and tissue that it washes out, absorb less in every channel."""

MOSTLY_BRIGHT = 0.7
"""Part of what a bubble's rim encloses that is so bright."""

LEAST_BEND = 0.05
"""Area between an arc and its chord, by the chord's square: 35 degrees of a circle have 0.05, a half has 0.39."""

MOSTLY_INSIDE = 0.7
"""Part of the area between an arc and its chord that is on the arc's inside."""

FLANK_UM = 32.0
"""Without colour, what is so close to a bubble's rim is its blur."""

LARGEST_JOINT_MM2 = 1.0
"""Pieces of tissue on both sides of a bubble were one if it is no larger."""


@dataclass(frozen=True, kw_only=True)
class Bubbles:
    """Where bubbles are, (rows, columns) bool each.

    Attributes:
        inside: Enclosed by a rim.
        rims: The rims of those.
    """

    inside: BoolArray
    rims: BoolArray


def none_in(image: npt.NDArray[np.generic]) -> Bubbles:
    """No bubbles.

    Args:
        image: (rows, columns), for its shape.
    """
    return Bubbles(inside=np.zeros(image.shape, dtype=bool), rims=np.zeros(image.shape, dtype=bool))


def find_bubbles(od: FloatArray, *, mpp: float, cut_off: bool) -> Bubbles:
    """Find bubbles.

    Args:
        od: Absorbance.
        mpp: Microns per pixel of it.
        cut_off: Whether to look for bubbles that the image's border cuts off: in a region, not on a slide.
    """
    least, most = od.min(axis=0), od.max(axis=0)
    dark: BoolArray = (least > RIM_OD) & (most - least < RIM_COLOUR * most)
    least_px = DUST_MM2 * 1e6 / mpp**2
    if np.count_nonzero(dark) < 2 * np.sqrt(least_px):  # less than half of what goes around it
        return none_in(dark)
    around = closed(dark, px_from_um(RIM_GAP_UM / 2, mpp))
    enclosed = filled(around) & ~around
    labels, count = ndimage.label(~around if cut_off else enclosed, structure=EIGHT_CONNECTED)
    areas, lit = (
        np.bincount(part, minlength=count + 1) for part in (labels.ravel(), labels[most < BRIGHT_OD])
    )
    keep = (areas >= least_px) & (lit >= MOSTLY_BRIGHT * areas)
    keep[0] = False
    if not keep.any():
        return none_in(dark)
    spans, ring_px = ndimage.find_objects(labels), px_from_um(RING_UM, mpp)
    for label in np.flatnonzero(keep):
        rows, columns = spans[label - 1]
        window = widened(rows, ring_px), widened(columns, ring_px)
        part = labels[window] == label
        ring, beside = (dilated(part, px) & ~part for px in (ring_px, px_from_um(RIM_GAP_UM, mpp)))
        thin = _is_thin(around[window], ring) and _is_colourless(dark[window], least[window], beside)
        keep[label] = thin and (enclosed[window][part].all() or _is_bent(around, labels == label))
    inside: BoolArray = keep[labels]
    return Bubbles(inside=inside, rims=dark & dilated(inside, ring_px))


def without_rims(strokes: LabelArray, bubbles: Bubbles) -> LabelArray:
    """Strokes of ink, without those that are the rim of a bubble; numbered anew.

    Args:
        strokes: Numbered.
        bubbles: On the same image.
    """
    if not (strokes.any() and bubbles.inside.any()):
        return strokes
    areas = np.bincount(strokes.ravel())
    in_rims = np.bincount(strokes[dilated(bubbles.rims, 1)], minlength=len(areas))
    keep = 2 * in_rims <= areas
    keep[0] = False
    kept: LabelArray = (np.cumsum(keep, dtype=np.int32) * keep)[strokes]
    return kept


def dark_around(bubbles: Bubbles, colourful: BoolArray, *, mpp: float) -> BoolArray:
    """Rims and their blur, which are no tissue.

    Args:
        bubbles: Those of an image.
        colourful: Pixels whose absorbance differs between channels as stains' does: tissue beside a rim.
        mpp: Microns per pixel.
    """
    if not bubbles.rims.any():
        return bubbles.rims
    return bubbles.rims | (dilated(bubbles.rims, px_from_um(FLANK_UM, mpp)) & ~colourful)


def joined(pieces: BoolArray, bubbles: Bubbles, *, mpp: float) -> BoolArray:
    """Pieces of tissue and, within the rectangle around those that a bubble touches, the bubble.

    Args:
        pieces: Tissue.
        bubbles: On the same image.
        mpp: Microns per pixel.
    """
    if not bubbles.inside.any():
        return pieces
    grown = pieces.copy()
    of_bubbles, count = ndimage.label(bubbles.inside | bubbles.rims, structure=EIGHT_CONNECTED)
    of_pieces, _ = ndimage.label(pieces, structure=EIGHT_CONNECTED)
    spans = ndimage.find_objects(of_pieces)
    touching_px = px_from_um(RIM_GAP_UM, mpp)
    areas_mm2 = np.bincount(of_bubbles.ravel(), minlength=count + 1) * mpp**2 / 1e6
    places = ndimage.find_objects(of_bubbles)
    for label in np.flatnonzero(areas_mm2[1:] <= LARGEST_JOINT_MM2) + 1:
        rows, columns = places[label - 1]
        near = widened(rows, touching_px), widened(columns, touching_px)
        bubble = of_bubbles[near] == label
        touched = np.flatnonzero(np.bincount(of_pieces[near][dilated(bubble, touching_px)], minlength=1)[1:])
        if touched.size:
            window = reduce(united, (spans[place] for place in touched))
            grown[window] |= of_bubbles[window] == label
    return grown


def _is_thin(around: BoolArray, ring: BoolArray) -> bool:
    """Whether the line around a part of the image is as thin as a rim; one with a gap has the part on both sides."""
    return bool(around[ring].mean() <= MOST_RIM) if ring.any() else False


def _is_colourless(dark: BoolArray, least: npt.NDArray[np.float32], beside: BoolArray) -> bool:
    """Whether the darkest beside a part is; of a stained wall, only the edges are, where it mixes with glass."""
    rim = beside & dark
    if not rim.any():
        return False
    core = beside & (least >= np.median(least[rim]))
    return bool(np.count_nonzero(core & dark) >= CORE_COLOURLESS * np.count_nonzero(core))


def _is_bent(around: BoolArray, part: BoolArray) -> bool:
    """Whether what the border cuts off lies inside of most of the arcs at it."""
    beside = around & dilated(part, 1)
    labels, count = ndimage.label(around, structure=EIGHT_CONNECTED)
    lengths_px = np.bincount(labels[beside], minlength=count + 1)
    bent_px = 0
    for label in np.flatnonzero(lengths_px):
        arc = labels == label
        if _is_inside(part, np.argwhere(beside & arc)):
            bent_px += int(lengths_px[label])
    return bool(2 * bent_px > lengths_px.sum())


def _is_inside(part: BoolArray, arc: npt.NDArray[np.int64]) -> bool:
    """Whether an arc, (points, 2) of rows and columns, bends around a part of the image."""
    from scipy.spatial import ConvexHull, QhullError  # rarely needed

    extent = np.ptp(arc, axis=0)
    if extent.min() < 2:
        return False
    try:
        hull = ConvexHull(arc)
    except QhullError:  # all on one slanted line
        return False
    rows, columns = (slice(low, high + 1) for low, high in zip(arc.min(axis=0), arc.max(axis=0), strict=True))
    grid = np.mgrid[rows, columns].reshape(2, -1)
    normals, offsets = hull.equations[:, :2], hull.equations[:, 2:]
    within = (normals @ grid + offsets <= 0).all(axis=0)
    shared = np.count_nonzero(part[rows, columns].ravel() & within)
    between = np.count_nonzero(within) - len(arc)
    return bool(shared >= LEAST_BEND * float((extent**2).sum()) and shared >= MOSTLY_INSIDE * between)
