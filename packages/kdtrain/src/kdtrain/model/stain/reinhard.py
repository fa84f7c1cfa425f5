"""Reinhard's method: the mean and the spread of an image's tissue, moved to those of another.

Reinhard et al. 2001, "Color transfer between images" (IEEE Computer Graphics and Applications 21(5)): in the space
l-alpha-beta of Ruderman et al., where the three axes of natural images vary nearly by themselves, each axis is shifted
and stretched by itself, here within bounds. Its logarithms make a change of staining a shift. The statistics are those
of tissue alone: else they would say how much glass an image shows.

Shapes: N pixels; C = 3 channels; L = 3 axes l, alpha, beta.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdtrain.model.stain.density import Doubles, Pixels

LMS_OF_RGB = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
"""The paper's equation 4; columns are red, green and blue."""
LAB_OF_LMS = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
"""Equation 6, of logarithms to the base 10. Its rows are orthonormal: the inverse is the transpose."""
MOST_STRETCHED = 1.5
"""Factor of a spread at most, and its inverse at least. How much of an axis tissue fills depends on what it is: along
the axis from eosin to haematoxylin the spreads of sixty fields of one laboratory went from a quarter to four times
their median, and with the image stretched so far, fat and stroma become green and cyan."""
_LEAST_SPREAD = 1e-4
"""Of an axis: of an image in a single colour, which is shifted alone, since no factor makes a spread of it."""


@dataclass(frozen=True, kw_only=True)
class ReinhardStain:
    """The colours of tissue, of an image or of a set.

    Attributes:
        mean: Of l, alpha and beta.
        std: Standard deviations of the same.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


def reinhard_stain(levels_NC: Pixels) -> ReinhardStain:
    """Measure tissue pixels, grey levels (N, 3)."""
    logs_NC = np.log10(np.maximum(levels_NC, 1) / 255 @ LMS_OF_RGB.T)
    lab_NL = logs_NC @ LAB_OF_LMS.T
    return ReinhardStain(
        mean=tuple(map(float, lab_NL.mean(axis=0))), std=tuple(map(float, lab_NL.std(axis=0)))
    )


def log_lms_map(source: ReinhardStain, target: ReinhardStain) -> tuple[Doubles, Doubles]:
    """What moves one stain to another: logarithms of LMS, row vectors, times a matrix (C, C), plus an offset (C)."""
    spread_L = np.array(source.std)
    wanted_L = np.clip(
        np.array(target.std) / np.maximum(spread_L, _LEAST_SPREAD), 1 / MOST_STRETCHED, MOST_STRETCHED
    )
    scale_L = np.where(spread_L > _LEAST_SPREAD, wanted_L, 1.0)
    matrix_CC = LAB_OF_LMS.T @ np.diag(scale_L) @ LAB_OF_LMS
    return matrix_CC, (np.array(target.mean) - scale_L * source.mean) @ LAB_OF_LMS
