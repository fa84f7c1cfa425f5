"""Absorbance -> how much of it is stain, and from where on that counts.

In: absorbance, (3, rows, columns) float32 as in ``background``. Out: the stain signal, (rows, columns) float32, its
thresholds, and masks of overview pixels.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from slideprep.tissue.background import Background, FloatArray
from slideprep.tissue.boxes import BoolArray, ByteArray
from slideprep.tissue.ink import LabelArray
from slideprep.tissue.settings import AutoTissue

MIN_COLOUR = 0.2
"""Share of the absorbance that differs between channels: under it, dust and bubbles; stains have over 0.3."""

MOST_RINGS, INK_RINGS = 2.0, 1.0
"""Signals whose halos are looked for: more takes no more light away, and ink hides no pale tissue beside it."""


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


def without_halo(signal: FloatArray, strokes: LabelArray, mpp: float, settings: AutoTissue) -> FloatArray:
    """The signal, 0 where it is weak next to a much stronger one: compressed overviews ring around dark tissue.

    They ring by light, of which ink takes hardly more than dark tissue does.
    """
    reach_px = round(settings.halo_um / mpp)
    light = np.minimum(signal, np.where(strokes, np.float32(INK_RINGS), np.float32(MOST_RINGS)))
    strongest = ndimage.maximum_filter(light, 2 * reach_px + 1)
    return np.where(signal < settings.halo * strongest, np.float32(0), signal)


def thresholds(signal: FloatArray, background: Background, settings: AutoTissue) -> tuple[float, float]:
    """The settings, raised where the glass itself is noisier, but at most fourfold."""
    glass = signal[background.pixels]
    if len(glass) == 0:
        return settings.faint, settings.clear
    middle = float(np.median(glass))
    noise = 1.4826 * float(np.median(np.abs(glass - middle)))
    faint = min(max(settings.faint, middle + 4 * noise), 4 * settings.faint)
    clear = min(max(settings.clear, middle + 8 * noise), 4 * settings.clear)
    return faint, max(faint, clear)


def is_grey(planes: ByteArray) -> bool:
    """Whether the file has no colour at all; rules about colour are then off."""
    return bool((planes[0] == planes[1]).all() and (planes[1] == planes[2]).all())


def colourful_pixels(od: FloatArray) -> BoolArray:
    """Where the absorbance differs between channels as stains' does."""
    most = od.max(axis=0)
    colourful: BoolArray = (most - od.min(axis=0)) > MIN_COLOUR * most
    return colourful
