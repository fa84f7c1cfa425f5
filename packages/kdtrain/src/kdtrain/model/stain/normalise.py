"""An image and a target in, the image in the target's stain out: what training, evaluation and prediction all call.

8-bit grey levels go in and come out, so that a network sees a normalised image as if it had been stored so. An image is
estimated by itself, whole: it is a region of tissue with the glass around it. What has too little tissue is left as it
is, and said to be. The arithmetic adds in one order whatever the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kdtrain.model.stain.density import TISSUE_DENSITY, Doubles, Floats, Pixels, densities, exact_densities
from kdtrain.model.stain.macenko import MacenkoStain, density_map
from kdtrain.model.stain.reinhard import LMS_OF_RGB, ReinhardStain, log_lms_map
from kdtrain.model.stain.target import StainTarget, stain_of

_BAND_PIXELS = 1 << 18
"""Pixels in work at a time: few enough for the processor's cache, and an image of 100 megapixels needs no gigabytes."""
_LEVELS = np.arange(256, dtype=np.uint8)
_LN_10 = np.float32(np.log(10))


class Normalised(NamedTuple):
    """What became of an image.

    Attributes:
        image_HWC: (H, W, 3) uint8.
        left: Whether it was left as it is.
    """

    image_HWC: Pixels
    left: bool


def normalise(image_HWC: Pixels, target: StainTarget, magnification: float) -> Normalised:
    """Bring an image into the target's stain.

    Args:
        image_HWC: (H, W, 3) uint8, RGB; not changed.
        target: The stain.
        magnification: Of the image.
    """
    stain = stain_of(image_HWC, target.method, magnification)
    if stain is None:
        return Normalised(image_HWC, left=True)
    if isinstance(stain, MacenkoStain):
        assert isinstance(target.stain, MacenkoStain)
        recolour = _by_density(density_map(stain, target.stain))
    else:
        assert isinstance(target.stain, ReinhardStain)
        recolour = _by_log_lms(*log_lms_map(stain, target.stain))
    out_HWC = np.empty_like(image_HWC)
    rows = max(1, _BAND_PIXELS // image_HWC.shape[1])
    for top in range(0, len(image_HWC), rows):
        band_CHW = np.ascontiguousarray(image_HWC[top : top + rows].transpose(2, 0, 1))
        levels_CHW = np.clip(np.rint(recolour(band_CHW)), 0, 255)
        out_HWC[top : top + rows] = levels_CHW.transpose(1, 2, 0)
    return Normalised(out_HWC, left=False)


def _by_density(matrix_CC: Doubles) -> Callable[[Pixels], Floats]:
    """Densities times a matrix. What is brighter than white comes out white."""
    tables = _tables(exact_densities(_LEVELS), matrix_CC)
    return lambda image_CHW: _power_of_10(-np.maximum(_looked_up(tables, image_CHW), 0)) * np.float32(255)


def _by_log_lms(matrix_CC: Doubles, offset_C: Doubles) -> Callable[[Pixels], Floats]:
    """Logarithms of LMS times a matrix, plus an offset.

    Glass has no stain to shift, and a line where it begins would be an edge that no tissue has: below the density of
    tissue an image moves by as much less as it is thinner, so that white stays white.
    """
    tables = _tables(np.maximum(_LEVELS, 1) / 255, LMS_OF_RGB.T)
    rgb_of_lms = np.linalg.inv(LMS_OF_RGB).T.astype(np.float32)
    matrix, offset_C11 = matrix_CC.astype(np.float32), offset_C.astype(np.float32)[:, None, None]

    def recolour(image_CHW: Pixels) -> Floats:
        # Through the natural logarithm, which NumPy computes eight at a time.
        logs_CHW = np.asarray(np.log(_looked_up(tables, image_CHW)) / _LN_10, np.float32)
        lms_CHW = _power_of_10(np.minimum(_times(logs_CHW, matrix) + offset_C11, 1))
        moved_CHW = _times(lms_CHW, rgb_of_lms) * np.float32(255)
        density_HW = densities(image_CHW).mean(axis=0)
        share_HW = np.minimum(density_HW / np.float32(TISSUE_DENSITY), 1)
        return np.asarray(image_CHW + share_HW * (moved_CHW - image_CHW), np.float32)

    return recolour


def _tables(values_of_level: Doubles, matrix_CC: Doubles) -> Floats:
    """What a channel's grey level adds to each output, (input C, output C, 256): looked up in place of multiplied."""
    return (matrix_CC[:, :, None] * values_of_level).astype(np.float32)


def _looked_up(tables: Floats, image_CHW: Pixels) -> Floats:
    red, green, blue = image_CHW
    return np.stack([of_r[red] + of_g[green] + of_b[blue] for of_r, of_g, of_b in tables.transpose(1, 0, 2)])


def _times(values_CHW: Floats, matrix_CC: Floats) -> Floats:
    """Row vectors times a matrix, channel by channel."""
    red, green, blue = values_CHW
    return np.stack([red * r + green * g + blue * b for r, g, b in matrix_CC.T])


def _power_of_10(exponents: Floats) -> Floats:
    return np.asarray(np.exp(exponents * _LN_10))
