"""Overview -> tissue, by our own detector: faint tissue in; ink, edges and padding out.

In: an overview at about :data:`OVERVIEW_MPP`, (rows, columns, 3) uint8 RGB, and its pixel size in µm. Out: a
mask of overview pixels, and boxes in level-0 pixels. All settings are in µm, mm² or absorbance (natural log of
glass over intensity: 0.02 is 2 % darker than the glass at that place), so they mean the same on every scanner.

Steps: padding -> model of the glass -> absorbance -> stain signal -> two thresholds tied to the noise of the
glass -> ink and edges out -> gaps closed, unstained and small pieces out, holes filled. Tuned on H&E; it
finds other stains too, but blue and green ones can be taken for ink: set ``reject_pen`` to false for those.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from slideprep.errors import TissueError, UsageError
from slideprep.tissue.artefacts import closed, dilated, edge_mask
from slideprep.tissue.background import Background, FloatArray, absorbance, find_padding, fit_background
from slideprep.tissue.boxes import (
    EIGHT_CONNECTED,
    BoolArray,
    ByteArray,
    box_from_slices,
    checked_overview,
    filled,
    without_shared_tissue,
    without_small_components,
)
from slideprep.tissue.ink import LabelArray, find_strokes
from slideprep.tissue.left_out import DUST_MM2, LeftOut, pieces_of, sized
from slideprep.tissue.under_ink import UnderInk, hidden_tissue, look_under, reaching_over
from slideprep.units import Box

OVERVIEW_MPP = 16.0
"""Pixel size of the overview to hand over: the paper's lowest magnification (0.625x), 5 megapixels for a
whole glass slide; boxes are no finer than that, and need not be."""

MIN_COLOUR = 0.2
"""Share of the absorbance that differs between channels: under it, dust and bubbles; stains have over 0.3."""


SURE_TISSUE = 0.1
"""Stain signal of what counts as tissue around an ink-coloured spot: more than the blurred rim of a stroke."""


MOST_RINGS, INK_RINGS = 2.0, 1.0
"""Signals whose halos are looked for: more takes no more light away, and ink hides no pale tissue beside it."""


@dataclass(frozen=True, kw_only=True)
class AutoTissue:
    """Settings of the detector.

    Attributes:
        smoothing_um: Standard deviation of the Gaussian that averages noise and nuclei away, µm.
        faint: Stain signal from which a pixel may be tissue, where it touches a clear one.
        clear: Stain signal from which a pixel is tissue by itself.
        halo: What has less than this part of the strongest signal nearby is blur or JPEG ringing.
        halo_um: How far such a halo reaches along x and y, µm: most of a JPEG block.
        speck_mm2: Smaller specks are dropped before gaps are closed, mm².
        close_um: Gaps up to this wide inside tissue are closed, µm (fat cells are about 100 µm wide).
        merge_um: Pieces closer than this, along x and y, become one region, µm.
        min_area_mm2: Smaller pieces are dropped, mm².
        max_shared_tissue: Regions whose boxes share more than this part of either one's tissue become one.
        fill_holes: Whether glass enclosed by tissue, such as a lumen, becomes tissue.
        reject_pen: Whether green, blue, red and black ink is left out.
        pen_margin_um: Width of the margin around ink that is left out with it, µm.
        reject_edges: Whether long thin lines are left out.
        edge_width_um: Largest width of such a line, µm.
        edge_length_um: Smallest length of such a line, µm.
    """

    smoothing_um: float = 16.0
    faint: float = 0.02
    clear: float = 0.03
    halo: float = 0.08
    halo_um: float = 200.0
    speck_mm2: float = 0.002
    close_um: float = 128.0
    merge_um: float = 128.0
    min_area_mm2: float = 0.05
    max_shared_tissue: float = 0.05
    fill_holes: bool = True
    reject_pen: bool = True
    pen_margin_um: float = 64.0
    reject_edges: bool = True
    edge_width_um: float = 128.0
    edge_length_um: float = 1000.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isfinite(value) and value >= 0):
                raise UsageError(f"tissue setting {field.name} must be a number from 0 and is {value}")
        if self.faint > self.clear:
            raise UsageError(
                f"tissue setting faint ({self.faint:g}) must not exceed clear ({self.clear:g}): faint "
                "tissue is kept only beside clear tissue"
            )


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
    faint, clear = _thresholds(signal, background, settings)
    od[:, padding], signal[padding] = 0.0, 0.0
    grey = _is_grey(planes)
    notes = [] if background.found or padding.all() else ["no glass seen: taken to be filled with tissue"]
    strokes = np.zeros(signal.shape, dtype=np.int32)
    if settings.reject_pen and not grey:
        strokes = _strokes(od, signal > max(clear, SURE_TISSUE), mpp_overview, settings)
    inked = bool(strokes.any())
    signal = _without_halo(signal, strokes, mpp_overview, settings)
    candidates, colourful, under = signal > faint, _colourful(od), None
    if inked:
        stained = signal > max(clear, SURE_TISSUE)
        under = look_under(od, strokes, stained, margin_px=_margin_px(mpp_overview, settings))
        candidates &= ~under.near | under.tissue
        colourful |= under.tissue
        ink = under.near & ~under.tissue
        notes.append(f"marker ink left out: {_area_mm2(ink, mpp_overview):.1f} mm²")
    candidates = _with_seed(candidates, signal > clear)
    pieces, left_out = _assembled(candidates, colourful, mpp_overview, settings, grey=grey)
    if under is not None:
        left_out += pieces_of(
            under.doubtful,
            px_mm2=mpp_overview**2 / 1e6,
            rule="under marker ink, from which it is hardly told",
        )
    mask, hidden, small, specks = _large_enough(pieces, under, mpp_overview, settings)
    if hidden.any():
        notes.append(
            f"tissue may go on under ink: {_area_mm2(hidden, mpp_overview):.2f} mm² of it are kept with what is beside"
        )
    return AutoResult(
        mask=mask, hidden=hidden, notes=tuple(notes), left_out=(*left_out, *small), specks=specks
    )


def stain_signal(od: FloatArray) -> FloatArray:
    """Absorbance that differs between channels, plus half of what is common to all of them.

    Stains colour, shadows and dirt do not.

    Args:
        od: Absorbance, (3, rows, columns) float32.

    Returns:
        (rows, columns) float32.
    """
    least = od.min(axis=0)
    signal: FloatArray = od.max(axis=0) - least
    signal += np.float32(0.5) * np.maximum(least, 0)
    return signal


def _without_halo(signal: FloatArray, strokes: LabelArray, mpp: float, settings: AutoTissue) -> FloatArray:
    """The signal, 0 where it is weak next to a much stronger one: compressed overviews ring around dark tissue.

    They ring by light, of which ink takes hardly more than dark tissue does.
    """
    reach_px = round(settings.halo_um / mpp)
    light = np.minimum(signal, np.where(strokes, np.float32(INK_RINGS), np.float32(MOST_RINGS)))
    strongest = ndimage.maximum_filter(light, 2 * reach_px + 1)
    return np.where(signal < settings.halo * strongest, np.float32(0), signal)


def _thresholds(signal: FloatArray, background: Background, settings: AutoTissue) -> tuple[float, float]:
    """The settings, raised where the glass itself is noisier, but at most fourfold."""
    glass = signal[background.pixels]
    if len(glass) == 0:
        return settings.faint, settings.clear
    middle = float(np.median(glass))
    noise = 1.4826 * float(np.median(np.abs(glass - middle)))
    faint = min(max(settings.faint, middle + 4 * noise), 4 * settings.faint)
    clear = min(max(settings.clear, middle + 8 * noise), 4 * settings.clear)
    return faint, max(faint, clear)


def _is_grey(planes: ByteArray) -> bool:
    """Whether the file has no colour at all; rules about colour are then off."""
    return bool((planes[0] == planes[1]).all() and (planes[1] == planes[2]).all())


def _strokes(od: FloatArray, stained: BoolArray, mpp: float, settings: AutoTissue) -> LabelArray:
    return find_strokes(
        od,
        stained,
        min_px=max(4, _px_from_mm2(0.01, mpp)),
        margin_px=_margin_px(mpp, settings),
        ring_px=max(1, round(128 / mpp)),
        edge_px=(settings.edge_width_um / mpp, settings.edge_length_um / mpp),
    )


def _margin_px(mpp: float, settings: AutoTissue) -> int:
    return max(1, round(settings.pen_margin_um / mpp))


def _colourful(od: FloatArray) -> BoolArray:
    most = od.max(axis=0)
    colourful: BoolArray = (most - od.min(axis=0)) > MIN_COLOUR * most
    return colourful


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
        hidden = hidden_tissue(pieces, under, least_px=least_px, small_px=small_px)
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
