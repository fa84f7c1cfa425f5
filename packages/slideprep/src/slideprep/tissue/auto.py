"""Overview -> tissue, by our own detector: faint tissue in; ink, edges and padding out.

In: an overview at about :data:`OVERVIEW_MPP`, (rows, columns, 3) uint8 RGB, and its pixel size in µm. Out: a
mask of overview pixels, and boxes in level-0 pixels. All settings are in µm, mm² or absorbance (natural log of
glass over intensity: 0.02 is 2 % darker than the glass at that place), so they mean the same on every scanner.

Steps: padding -> model of the glass -> absorbance -> stain signal -> two thresholds tied to the noise of the
glass -> rims of air bubbles out -> ink out, but for the tissue under it -> edges out -> gaps closed, unstained pieces
out -> what bubbles part, and ink hides -> holes filled, small pieces out. Tuned on H&E; it finds other stains too, but
blue and green ones can be taken for ink: set ``reject_pen`` to false for those.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from slideprep.errors import TissueError
from slideprep.tissue.artefacts import closed, dilated, edge_mask, px_from_um
from slideprep.tissue.background import FloatArray, absorbance, find_padding, fit_background
from slideprep.tissue.boxes import (
    EIGHT_CONNECTED,
    BoolArray,
    box_from_slices,
    checked_overview,
    filled,
    without_shared_tissue,
    without_small_components,
)
from slideprep.tissue.bubbles import dark_around, find_bubbles, joined, none_in, without_rims
from slideprep.tissue.ink import LabelArray, find_strokes
from slideprep.tissue.left_out import DUST_MM2, LeftOut, pieces_of, sized
from slideprep.tissue.settings import AutoTissue
from slideprep.tissue.stain import colourful_pixels, is_grey, stain_signal, thresholds, without_halo
from slideprep.tissue.under_ink import UnderInk, hidden_tissue, look_under, reaching_over
from slideprep.units import Box

OVERVIEW_MPP = 16.0
"""Pixel size of the overview to hand over: the paper's lowest magnification (0.625x), 5 megapixels for a
whole glass slide; boxes are no finer than that, and need not be."""

RING_UM = 128.0
"""How far around an ink-coloured spot to look for tissue."""

SURE_TISSUE = 0.1
"""Stain signal of what counts as tissue around an ink-coloured spot: more than the blurred rim of a stroke."""


@dataclass(frozen=True, kw_only=True)
class AutoResult:
    """What the detector found.

    Attributes:
        mask: (rows, columns) bool, tissue in overview pixels.
        hidden: The part of it that no one can see: ink beside a piece that may go on under it.
        notes: What a person should know, one line each; empty where all was ordinary.
        left_out: Stained pieces that a rule dropped.
        specks: Stained specks too small for that list, counted.
    """

    mask: BoolArray
    hidden: BoolArray
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    specks: int


def auto_mask(
    image: npt.NDArray[Any], *, mpp_overview: float, settings: AutoTissue | None = None
) -> AutoResult:
    """Find tissue.

    Args:
        image: The overview, (rows, columns, 3) uint8 RGB, area-averaged to about :data:`OVERVIEW_MPP`.
        mpp_overview: Microns per overview pixel.
        settings: Settings; the defaults where None.

    Raises:
        TissueError: The image is not an RGB overview, or the pixel size is not a positive number.
    """
    planes = np.ascontiguousarray(np.moveaxis(checked_overview(image), 2, 0))
    settings = settings or AutoTissue()
    if not (isfinite(mpp_overview) and mpp_overview > 0):
        raise TissueError(
            f"tissue detection needs the overview's µm per pixel and was given {mpp_overview}; pass --mpp"
        )
    padding = find_padding(planes, mpp=mpp_overview)
    background = fit_background(planes, padding, mpp=mpp_overview)
    od = absorbance(planes, background, sigma_px=settings.smoothing_um / mpp_overview)
    signal = stain_signal(od)
    faint, clear = thresholds(signal, background, settings)
    od[:, padding], signal[padding] = 0.0, 0.0
    grey = is_grey(planes)
    notes = [] if background.found or padding.all() else ["no glass seen: taken to be filled with tissue"]
    strokes = np.zeros(signal.shape, dtype=np.int32)
    if settings.reject_pen and not grey:
        strokes = marker_strokes(od, signal > max(clear, SURE_TISSUE), mpp_overview, settings)
    colourful = colourful_pixels(od)
    bubbles = none_in(signal) if grey else find_bubbles(od, mpp=mpp_overview, cut_off=False)
    strokes = without_rims(strokes, bubbles)
    signal[dark_around(bubbles, colourful, mpp=mpp_overview)] = 0
    signal = without_halo(signal, strokes, mpp_overview, settings)
    candidates, under = signal > faint, None
    if strokes.any():
        stained = signal > max(clear, SURE_TISSUE)
        under = look_under(od, strokes, stained, margin_um=settings.pen_margin_um, mpp=mpp_overview)
        candidates &= ~under.near | under.tissue
        colourful |= under.tissue
    candidates = _with_seed(candidates, signal > clear)
    pieces, lines = _assembled(candidates, colourful, mpp_overview, settings, grey=grey)
    pieces = joined(pieces, bubbles, mpp=mpp_overview)
    mask, hidden, small, specks = _large_enough(pieces, under, mpp_overview, settings)
    doubtful: list[LeftOut] = []
    if under is not None:
        notes.append(_ink_note(under, hidden, mpp_overview))
        rule = "under marker ink, from which it is hardly told"
        doubtful = pieces_of(under.doubtful, px_mm2=mpp_overview**2 / 1e6, rule=rule)
    return AutoResult(
        mask=mask, hidden=hidden, notes=tuple(notes), left_out=(*lines, *doubtful, *small), specks=specks
    )


def marker_strokes(od: FloatArray, stained: BoolArray, mpp: float, settings: AutoTissue) -> LabelArray:
    """Numbered strokes of marker ink, by the detector's settings.

    Args:
        od: Absorbance of the overview, (3, rows, columns).
        stained: Pixels that are clearly not background.
        mpp: Microns per overview pixel.
        settings: The detector's.
    """
    return find_strokes(
        od,
        stained,
        min_px=max(4, _px_from_mm2(0.01, mpp)),
        margin_px=px_from_um(settings.pen_margin_um, mpp),
        ring_px=px_from_um(RING_UM, mpp),
        edge_px=(settings.edge_width_um / mpp, settings.edge_length_um / mpp),
    )


def _ink_note(under: UnderInk, hidden: BoolArray, mpp: float) -> str:
    note = f"marker ink left out: {_area_mm2(under.near & ~under.tissue & ~hidden, mpp):.1f} mm²"
    # Without its area, so that a set's warnings are one line for many slides.
    return f"{note}; ink kept where tissue may go on under it" if hidden.any() else note


def _px_from_mm2(area_mm2: float, mpp: float) -> int:
    return round(area_mm2 * 1e6 / mpp**2)


def _area_mm2(mask: BoolArray, mpp: float) -> float:
    return float(mask.sum()) * mpp**2 / 1e6


def _with_seed(mask: BoolArray, seeds: BoolArray) -> BoolArray:
    """The 8-connected components of ``mask`` that contain a seed."""
    labels, count = ndimage.label(mask, structure=EIGHT_CONNECTED)
    keep = np.zeros(count + 1, dtype=bool)
    keep[labels[seeds]] = True
    keep[0] = False
    kept: BoolArray = keep[labels]
    return kept


def _assembled(
    mask: BoolArray, colourful: BoolArray, mpp: float, settings: AutoTissue, *, grey: bool
) -> tuple[BoolArray, list[LeftOut]]:
    """Pixels to pieces: edges out, gaps closed, unstained pieces out; and the stained lines among the edges."""
    left_out: list[LeftOut] = []
    if settings.reject_edges:
        length_px = settings.edge_length_um / mpp
        lines = edge_mask(mask, colourful, width_px=round(settings.edge_width_um / mpp), length_px=length_px)
        if lines.any():
            mask = mask & ~lines
            stained = _stained_pieces(lines, lines, colourful)
            left_out = pieces_of(
                stained, px_mm2=mpp**2 / 1e6, rule="a long thin line, as edges of coverslips are"
            )
    closing_px = round(settings.close_um / mpp / 2)
    mask = without_small_components(mask, _px_from_mm2(settings.speck_mm2, mpp))
    pieces = closed(mask, closing_px)
    return pieces if grey else _stained_pieces(pieces, mask, colourful), left_out


def _large_enough(
    pieces: BoolArray, under: UnderInk | None, mpp: float, settings: AutoTissue
) -> tuple[BoolArray, BoolArray, list[LeftOut], int]:
    """Pieces without holes and small ones, the part of them that ink may hide, which counts as size, and what goes."""
    beyond = np.zeros_like(pieces)
    if under is not None:
        least_px, small_px = (_px_from_mm2(area, mpp) for area in (DUST_MM2, settings.min_area_mm2))
        hidden = hidden_tissue(pieces, under, least_px=least_px, small_px=small_px, mpp=mpp)
        pieces, beyond = pieces | hidden.between, hidden.beyond
    if settings.fill_holes:
        pieces = filled(pieces)
    mask, small, specks = sized(pieces | beyond, settings.min_area_mm2, px_mm2=mpp**2 / 1e6)
    return mask, mask & beyond & ~pieces, small, specks


def _stained_pieces(pieces: BoolArray, mask: BoolArray, colourful: BoolArray) -> BoolArray:
    """The components of which at least half the detected pixels are coloured: dust and bubbles are not."""
    labels, count = ndimage.label(pieces, structure=EIGHT_CONNECTED)
    detected = np.bincount(labels[mask], minlength=count + 1)
    coloured = np.bincount(labels[mask & colourful], minlength=count + 1)
    keep = 2 * coloured >= np.maximum(detected, 1)
    keep[0] = False
    kept: BoolArray = keep[labels]
    return kept


def auto_regions(
    mask: BoolArray,
    *,
    mpp_overview: float,
    downsample_x: float,
    downsample_y: float,
    width_l0: int,
    height_l0: int,
    settings: AutoTissue | None = None,
    hidden: BoolArray | None = None,
) -> list[Box]:
    """Group the pieces of a mask into regions and box them, top to bottom, then left to right.

    Pieces within ``merge_um`` of each other, along both axes, are one region. Then two regions become one
    where the common part of their boxes holds over ``max_shared_tissue`` (5 %) of the tissue of either: each
    sample is a whole box, and the same tissue should not be in two samples. Below that, the boxes stay apart
    and may share a corner.

    Args:
        mask: Tissue, (rows, columns) bool, in overview pixels.
        mpp_overview: Microns per overview pixel.
        downsample_x: Level-0 pixels per overview pixel along x, exact.
        downsample_y: The same along y.
        width_l0: Width of the slide, level-0 pixels.
        height_l0: Height of the slide, level-0 pixels.
        settings: Settings; the defaults where None.
        hidden: The part of the mask that ink may hide. Boxes reach over it, but it joins none.

    Returns:
        Half-open boxes in level-0 pixels, (x, y) top left.
    """
    settings = settings or AutoTissue()
    seen = mask if hidden is None else mask & ~hidden
    near = dilated(seen, round(settings.merge_um / mpp_overview / 2))
    labels, _ = ndimage.label(near, structure=EIGHT_CONNECTED)
    labels[~seen] = 0
    pieces = ndimage.find_objects(labels)
    spans = without_shared_tissue(pieces, seen, settings.max_shared_tissue)
    if hidden is not None:
        spans = reaching_over(spans, pieces, labels, hidden)
    scale, size = (downsample_x, downsample_y), (width_l0, height_l0)
    boxes = [box_from_slices(rows, columns, downsample=scale, size_l0=size) for rows, columns in spans]
    return sorted(boxes, key=lambda box: (box.y, box.x, box.height, box.width))
