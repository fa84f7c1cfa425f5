"""An image in, numbers out that tell one stain from another: how much tissue, how dark, of which hue.

Optical density, and which pixels hold stain, are those of :mod:`kdtrain.model.stain.density`. A hue is a channel's
share of the density of all three: it stays the same where a stain is only stronger or a section thicker (Beer-Lambert),
and changes where the dyes, the scanner's colours or the order of the channels do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from kdtrain.bundle.runtime import Pixels
from kdtrain.model.stain.density import densities, is_stained

__all__ = ["STAIN_NUMBERS", "STAIN_WORDS", "StainNumber", "densities", "is_stained", "stain_numbers"]

StainNumber = Literal[
    "tissue_share",
    "density_red",
    "density_green",
    "density_blue",
    "hue_red",
    "hue_green",
    "hue_blue",
]
STAIN_NUMBERS: tuple[StainNumber, ...] = get_args(StainNumber)
STAIN_WORDS: Mapping[StainNumber, str] = {
    "tissue_share": "the share of its pixels that hold stain",
    "density_red": "the optical density of its stain in red",
    "density_green": "the optical density of its stain in green",
    "density_blue": "the optical density of its stain in blue",
    "hue_red": "red's share of its stain's density",
    "hue_green": "green's share of its stain's density",
    "hue_blue": "blue's share of its stain's density",
}
"""How sentences call them."""

_BAND_PIXELS = 1 << 20
"""Pixels in work at a time: an image of 100 megapixels would otherwise need gigabytes."""


def stain_numbers(image_HWC: Pixels) -> dict[StainNumber, float]:
    """Measure an image.

    Args:
        image_HWC: (H, W, 3) uint8, RGB.

    Returns:
        All STAIN_NUMBERS; without tissue, ``tissue_share`` alone, which is then 0.
    """
    height, width, _ = image_HWC.shape
    rows = max(1, _BAND_PIXELS // width)
    sums, tissue_pixels = np.zeros(3), 0
    for top in range(0, height, rows):
        density_HWC = densities(image_HWC[top : top + rows])
        stained_NC = density_HWC[is_stained(density_HWC)]
        sums += stained_NC.sum(axis=0, dtype=np.float64)
        tissue_pixels += len(stained_NC)
    share = tissue_pixels / (height * width)
    if not tissue_pixels:
        return {"tissue_share": share}
    mean_C = sums / tissue_pixels
    hues = sums / sums.sum()
    return dict(zip(STAIN_NUMBERS, (share, *map(float, mean_C), *map(float, hues)), strict=True))
