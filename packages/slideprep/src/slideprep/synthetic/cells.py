"""Nuclei and red blood cells: small pictures drawn once, then stamped wherever a cell lies.

A stamp is a square patch of stain at 20x (:data:`STAMP_MPP` µm per pixel); its library holds many variants in
many orientations, so that neighbours look alike but not equal. Stamping takes the larger of what is there and
the stamp: overlapping nuclei stay separate to the eye.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from slideprep.synthetic.noise import Field, ramp
from slideprep.synthetic.recipe import NucleusRecipe

STAMP_MPP = 0.5
"""Micrometres per pixel of a stamp: the scan's own resolution."""

ORIENTATIONS = 24
VARIANTS = 14

Points = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Cells of one kind: centres (x, y) in µm from the piece's top left, directions in radians."""

    x_um: Points
    y_um: Points
    angle: Points


def stamp_library(rng: np.random.Generator, recipe: NucleusRecipe, focus_um: float) -> Field:
    """Stamps of one kind of nucleus, (orientations * variants, side, side), orientation the slow index."""
    size = np.clip(1 + recipe.size_spread * rng.standard_normal(VARIANTS), 0.6, 1.8)
    reach_um = recipe.length_um * float(size.max()) * (1 + 2 * recipe.irregularity) + 2 * focus_um
    half = int(np.ceil(reach_um / STAMP_MPP)) + 1
    side = 2 * half + 1
    radius_um, theta = _oriented_grid(half, recipe, size)
    depth_um = 1 - radius_um / _outline(rng, recipe, theta)
    depth_um *= (size * recipe.width_um)[None, :, None, None]
    body = ramp((depth_um / (2 * focus_um) + 0.5).astype(np.float32))
    chromatin = _chromatin(rng, recipe, depth_um, side)
    return (recipe.hematoxylin * body * chromatin).reshape(-1, side, side).astype(np.float32)


def _oriented_grid(half: int, recipe: NucleusRecipe, size: Points) -> tuple[Points, Points]:
    """Elliptic radius and polar angle in each nucleus' own frame: (orientation, variant, y, x)."""
    y, x = np.mgrid[-half : half + 1, -half : half + 1] * STAMP_MPP
    turn = (np.arange(ORIENTATIONS) * np.pi / ORIENTATIONS)[:, None, None, None]
    u = (np.cos(turn) * x + np.sin(turn) * y) / (recipe.length_um * size[:, None, None])
    v = (-np.sin(turn) * x + np.cos(turn) * y) / (recipe.width_um * size[:, None, None])
    return np.hypot(u, v), np.arctan2(v, u)


def _outline(rng: np.random.Generator, recipe: NucleusRecipe, theta: Points) -> Points:
    outline = np.ones_like(theta)
    for bumps in (2, 3, 5):
        phase = rng.uniform(0, 2 * np.pi, (1, VARIANTS, 1, 1))
        strength = recipe.irregularity * rng.uniform(0.3, 1.3, (1, VARIANTS, 1, 1))
        outline += strength * np.cos(bumps * theta + phase)
    return outline


def _chromatin(rng: np.random.Generator, recipe: NucleusRecipe, depth_um: Points, side: int) -> Field:
    """Relative stain inside the nucleus: clumps, a dark rim, and nucleoli where the nucleus is vesicular."""
    grain = rng.standard_normal((VARIANTS, side, side), dtype=np.float32)
    clumps = ndimage.gaussian_filter(grain, (0, 1.1, 1.1)) * 3.2
    rim = np.exp(-(((depth_um - 0.7) / 0.6) ** 2))
    spots = np.clip(ndimage.gaussian_filter(grain[::-1], (0, 1.5, 1.5)) * 6 - 1.6, 0, 1)
    open_centre = recipe.vesicular * (0.62 - 0.55 * rim - 0.8 * spots[None])
    return np.asarray(np.clip(1 + 0.16 * clumps[None] - open_centre, 0.15, 1.4), dtype=np.float32)


def disc_library(rng: np.random.Generator, radius_um: float, focus_um: float) -> Field:
    """Stamps of red blood cells, paler in the middle, (orientations * variants, side, side)."""
    round_cell = NucleusRecipe(
        length_um=radius_um * 1.05,
        width_um=radius_um * 0.9,
        size_spread=0.06,
        irregularity=0.04,
        hematoxylin=1.0,
        vesicular=0.25,
    )
    return stamp_library(rng, round_cell, focus_um)


def stamp(
    canvas: Field,
    library: Field,
    cells: Cells,
    rng: np.random.Generator,
    *,
    wanted: NDArray[np.bool_] | None = None,
) -> None:
    """Stamp cells onto a canvas of 20x pixels, in place; what would cross the border is left out.

    Args:
        canvas: (rows, columns) stain at 20x.
        library: Stamps, orientation the slow index.
        cells: Where they lie.
        rng: Chooses each cell's variant; drawn for all cells, so that those wanted look the same whatever is left out.
        wanted: Which cells to stamp; all by default.
    """
    side = library.shape[1]
    left = np.rint(cells.x_um / STAMP_MPP).astype(int) - side // 2
    top = np.rint(cells.y_um / STAMP_MPP).astype(int) - side // 2
    turn = np.rint(cells.angle / np.pi * ORIENTATIONS).astype(int) % ORIENTATIONS
    index = turn * VARIANTS + rng.integers(VARIANTS, size=len(turn))
    fits = (left >= 0) & (top >= 0) & (left + side <= canvas.shape[1]) & (top + side <= canvas.shape[0])
    if wanted is not None:
        fits &= wanted
    for x, y, i in zip(left[fits].tolist(), top[fits].tolist(), index[fits].tolist(), strict=True):
        window = canvas[y : y + side, x : x + side]
        np.maximum(window, library[i], out=window)
