"""A small picture of a region in, what disturbs its tissue out: marker ink, folds, air bubbles.

In: a region at about 16 µm per pixel, as the detector ``auto`` sees a slide. Out: masks of its pixels. Every rule is
relative to the region's own glass and tissue, so that a heavy stain is no fold and yellowish glass no bubble.

- Ink: the strokes that :mod:`slideprep.tissue.ink` finds by their colour, and pixels amid tissue of a hue that no H&E
  has. Shares are of the box.
- Folds: tissue that lies double is twice as dense and as colourful, and of the same hue. Kothari, Phan and Wang tell
  folds by density and colour, "Eliminating tissue-fold artifacts in histopathological whole-slide images for improved
  image-based prediction of cancer grade", Journal of Pathology Informatics 4 (2013) 22; here they are multiples of the
  region's median. Shares are of the tissue.
- Bubbles: air under the coverslip is bright within a dark rim without colour (:mod:`slideprep.tissue.bubbles`). Shares
  are of the box.

None of them is certain. Bone, blood and dense nuclei in pale stroma can look like folds, a fold along half the tissue
moves its median, and folds narrower than :data:`NARROW_UM` are not seen. Red ink amid tissue is taken for tissue,
carbon for black ink. A bubble is missed where its rim is paler than a quarter or, under 15 µm wide, lies on heavily
stained tissue, and where a corner of the region cuts all but a straight bit of the rim off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slideprep.tissue.artefacts import dilated, eroded, px_from_um
from slideprep.tissue.auto import SURE_TISSUE, marker_strokes
from slideprep.tissue.background import FloatArray, absorbance, fit_background
from slideprep.tissue.boxes import BoolArray, without_small_components
from slideprep.tissue.bubbles import find_bubbles
from slideprep.tissue.ink import inked_pixels
from slideprep.tissue.left_out import DUST_MM2
from slideprep.tissue.padding import black_padding
from slideprep.tissue.settings import AutoTissue
from slideprep.tissue.stain import colourful_pixels, is_grey, stain_signal, thresholds
from slideprep.units import Pixels

FOLD_DENSITY, FOLD_COLOUR = 1.5, 1.3
"""A fold has at least so many times the median density of the region's tissue, and of its colour."""

FOLD_HUE = 1.35
"""Red to green, a fold absorbs as the tissue does, within this factor: bone, blood and crowded nuclei are beyond it."""

NARROW_UM = 32.0
"""What is narrower and dense are rows of nuclei, vessels and pigment."""

RIM_UM = 96.0
"""Up to this far from what is bright in a bubble, its rim is no ink."""

LEAST_OD = 0.02
"""Paler pixels have no hue."""

FEW_PIXELS, STEP = 56, 7
"""Fewer pixels of tissue have no median to speak of; every seventh tells it."""


@dataclass(frozen=True, kw_only=True)
class Disturbances:
    """What is where in a region, (rows, columns) bool each.

    Attributes:
        tissue: Stained, and not inked.
        ink: Under marker ink.
        folds: The part of ``tissue`` that lies double.
        bubbles: Bright inside a bubble.
    """

    tissue: BoolArray
    ink: BoolArray
    folds: BoolArray
    bubbles: BoolArray


def disturbances(image: Pixels, *, mpp: float) -> Disturbances:
    """Find what disturbs a region.

    Args:
        image: (rows, columns, 3) uint8.
        mpp: Microns per pixel of it.
    """
    planes = np.ascontiguousarray(np.moveaxis(image, 2, 0))
    settings = AutoTissue()
    padding = black_padding(planes)
    background = fit_background(planes, padding, mpp=mpp)
    od = absorbance(planes, background, sigma_px=settings.smoothing_um / mpp)
    od[:, padding] = 0
    signal = stain_signal(od)
    stained = signal > max(thresholds(signal, background, settings)[1], SURE_TISSUE)
    grey = is_grey(planes)
    bubbles = find_bubbles(od, mpp=mpp, cut_off=True).inside
    ink = np.zeros(stained.shape, dtype=bool) if grey else _ink(od, stained, mpp)
    if bubbles.any():
        ink &= ~dilated(bubbles, px_from_um(RIM_UM, mpp))
    tissue = stained & ~ink if grey else stained & ~ink & colourful_pixels(od)
    return Disturbances(tissue=tissue, ink=ink, folds=_folds(od, tissue, mpp), bubbles=bubbles)


def _ink(od: FloatArray, stained: BoolArray, mpp: float) -> BoolArray:
    """Strokes as the detector has them, and those amid tissue, which it keeps as tissue to be safe."""
    ink: BoolArray = marker_strokes(od, stained, mpp, AutoTissue()) > 0
    amid = inked_pixels(od) & ~ink
    return ink | without_small_components(amid, round(DUST_MM2 * 1e6 / mpp**2)) if amid.any() else ink


def _folds(od: FloatArray, tissue: BoolArray, mpp: float) -> BoolArray:
    folds = np.zeros_like(tissue)
    some = np.flatnonzero(tissue)[::STEP]
    if len(some) < FEW_PIXELS // STEP:
        return folds
    sample = od.reshape(3, -1)[:, some]
    density = od.sum(axis=0)
    dense = tissue & (density > FOLD_DENSITY * np.median(sample.sum(axis=0)))
    if not dense.any():
        return folds
    colour, hue = _colour_and_hue(sample)
    own_colour, own_hue = _colour_and_hue(od[:, dense])
    like = np.abs(own_hue - np.median(hue)) < np.log(FOLD_HUE)
    folds[dense] = like & (own_colour > FOLD_COLOUR * np.median(colour))
    radius_px = round(NARROW_UM / mpp / 2)
    return np.asarray(folds & dilated(eroded(folds, radius_px), radius_px))


def _colour_and_hue(od: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Of pixels, (3, pixels): by how much channels differ, and the logarithm of red over green."""
    red, green, _ = np.maximum(od, LEAST_OD)
    return od.max(axis=0) - od.min(axis=0), np.log(red / green)
