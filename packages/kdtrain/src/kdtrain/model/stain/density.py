"""Grey levels in, optical densities out; which pixels are tissue; and the scale at which a stain is estimated.

Optical density is -log10(grey level / 255) of a channel: 0 for white, and proportional to the amount of a dye (the law
of Beer and Lambert). Tissue is where its mean over red, green and blue is above 0.15: what lies below holds no stain
(Macenko et al. 2009, "A method for normalizing histology slides for quantitative analysis", beta in section 2.1).

A stain is estimated on the image averaged down to 1.25x, whatever its magnification. An image at 10x has more contrast
than the same field at 2.5x, and what is measured of it is another number; of one field at one scale it is nearly the
same, so that teacher and student see a sample in one stain.

Shapes: images (H, W, 3) uint8, RGB; densities (..., 3); N pixels of tissue.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

TISSUE_DENSITY = 0.15
"""Mean optical density over red, green and blue above which a pixel holds stain."""
ESTIMATE_AT = 1.25
"""Magnification of the image that a stain is estimated on; a finer one is averaged down to it."""
LEAST_ESTIMATED_PX = 1024
"""Pixels that averaging leaves, unless the image has fewer: of a tile of 224 px at 20x it would leave 196."""
LEAST_COLOUR = 0.1
"""Of a pixel that a stain is estimated by: what its densest channel is denser than its thinnest, as a share of the
density of all three. Haematoxylin has 0.25 and eosin 0.8; black ink has less, and a few of its pixels, denser than any
tissue, would be the percentile that an image is scaled by."""
LEAST_TISSUE_PX = 64
"""Of the averaged image: of fewer, percentiles are single pixels, and the image is left as it is."""

_DENSITY = -np.log10(np.maximum(np.arange(256), 1) / 255)
_DENSITY32 = _DENSITY.astype(np.float32)
"""By grey level; black counts as level 1, which has a logarithm."""


def densities(image_HWC: Pixels) -> Floats:
    """Optical densities of (..., 3) uint8 RGB, the same shape."""
    return _DENSITY32[image_HWC]


def is_stained(density_HWC: Floats) -> NDArray[np.bool_]:
    """Which pixels hold stain: (...) of (..., 3) densities."""
    return np.asarray(density_HWC.sum(axis=-1) > 3 * TISSUE_DENSITY)


def is_coloured(density_HWC: Floats) -> NDArray[np.bool_]:
    """Which pixels are of a dye and not grey: (...) of (..., 3) densities."""
    span_HW = density_HWC.max(axis=-1) - density_HWC.min(axis=-1)
    return np.asarray(span_HW >= LEAST_COLOUR * density_HWC.sum(axis=-1))


def averaged_down(image_HWC: Pixels, magnification: float) -> Pixels:
    """The image at the scale of an estimate: means of the pixels under each of its own.

    Args:
        image_HWC: (H, W, 3) uint8.
        magnification: Of the image.
    """
    height, width, _ = image_HWC.shape
    factor = min(magnification / ESTIMATE_AT, (height * width / LEAST_ESTIMATED_PX) ** 0.5)
    if factor <= 1:
        return image_HWC
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    return np.asarray(Image.fromarray(image_HWC).resize(size, Image.Resampling.BOX))


def tissue_of(image_HWC: Pixels, magnification: float) -> Pixels | None:
    """Coloured tissue (N, 3) uint8 of the averaged image; None where there is too little to estimate a stain by.

    Args:
        image_HWC: (H, W, 3) uint8.
        magnification: Of the image.
    """
    small_HWC = averaged_down(np.ascontiguousarray(image_HWC), magnification)
    density_HWC = densities(small_HWC)
    tissue_NC = small_HWC[is_stained(density_HWC) & is_coloured(density_HWC)]
    return tissue_NC if len(tissue_NC) >= LEAST_TISSUE_PX else None


def exact_densities(levels_NC: Pixels) -> Doubles:
    """As densities, in float64: what estimates are made of."""
    return _DENSITY[levels_NC]
