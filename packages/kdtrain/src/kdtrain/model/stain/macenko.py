"""Macenko's method: two stains found in an image, and its densities rewritten in two others.

Macenko et al. 2009, "A method for normalizing histology slides for quantitative analysis" (ISBI). A pixel's optical
density is a sum of its stains' vectors, each times the stain's amount (concentration). All pixels then lie in a plane,
the two singular vectors of most energy, and between the two stains in angle: the stains are the robust extremes, the
1st and the 99th percentile of the angle. To normalise is to read an image's amounts by its own stains, to scale each
stain so that its 99th percentile is the target's, and to write it by the target's stains. What lies beside the plane is
no amount of either, and is dropped. All of that is one 3 x 3 matrix on densities, so that white stays white.

Shapes: N pixels; C = 3 channels; S = 2 stains, haematoxylin first (it takes more of the red).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdtrain.model.stain.density import Doubles

PERCENTILE = 1.0
"""From either end of the angles, and from the upper end of the amounts (the paper's alpha)."""
LEAST_ANGLE_DEGREES = 5.0
"""Between the two stains: of an image in one dye alone the extremes are noise, and amounts by them are anything."""


@dataclass(frozen=True, kw_only=True)
class MacenkoStain:
    """The stains of an image or of a set.

    Attributes:
        vectors: Two unit vectors of optical density, red, green and blue; haematoxylin first.
        strongest: 99th percentile of each stain's amount.
    """

    vectors: tuple[tuple[float, ...], ...]
    strongest: tuple[float, ...]


def macenko_stain(density_NC: Doubles) -> MacenkoStain | None:
    """Find the stains.

    Args:
        density_NC: Optical densities of tissue.

    Returns:
        None where the pixels do not tell two stains apart: grey, or in one dye alone.
    """
    vectors_SC = _vectors(density_NC)
    if vectors_SC is None:
        return None
    amounts_NS = density_NC @ np.linalg.pinv(vectors_SC)
    strongest_S = np.percentile(amounts_NS, 100 - PERCENTILE, axis=0)
    if not (strongest_S > 0).all():
        return None
    return MacenkoStain(
        vectors=tuple(tuple(map(float, row)) for row in vectors_SC), strongest=tuple(map(float, strongest_S))
    )


def _vectors(density_NC: Doubles) -> Doubles | None:
    # Sums by NumPy and not by BLAS, whose order of adding depends on its threads.
    energy_CC = np.array([[(a * b).sum() for b in density_NC.T] for a in density_NC.T])
    plane_CS = np.linalg.eigh(energy_CC)[1][:, [2, 1]]
    # The first lies amid the pixels: pointed their way, all angles are within a quarter turn of it.
    plane_CS *= np.where(plane_CS.sum(axis=0) < 0, -1, 1)
    along_NS = density_NC @ plane_CS
    low, high = np.percentile(np.arctan2(along_NS[:, 1], along_NS[:, 0]), [PERCENTILE, 100 - PERCENTILE])
    if high - low < np.deg2rad(LEAST_ANGLE_DEGREES):
        return None
    ends_SC = np.array([[np.cos(angle), np.sin(angle)] for angle in (low, high)]) @ plane_CS.T
    return np.asarray(ends_SC if ends_SC[0, 0] > ends_SC[1, 0] else ends_SC[::-1])


def density_map(source: MacenkoStain, target: MacenkoStain) -> Doubles:
    """The matrix (C, C) that rewrites densities of one stain, row vectors from the left, in another."""
    scale_SS = np.diag(np.divide(target.strongest, source.strongest))
    return np.asarray(np.linalg.pinv(np.array(source.vectors)) @ scale_SS @ np.array(target.vectors))
