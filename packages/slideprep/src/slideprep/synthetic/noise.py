"""Random fields on a pixel grid: smooth noise, fractal noise, flowing fibres, scattered points.

Everything is a pure function of the generator that is passed in. Arrays are (rows, columns) float32; what one
pixel is in micrometres is the caller's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, sin

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Field = NDArray[np.float32]
"""A (rows, columns) float32 array."""


def resized(
    field: Field, shape: tuple[int, int], *, box: tuple[float, float, float, float] | None = None
) -> Field:
    """Resample a field to ``shape`` (rows, columns) by bicubic interpolation.

    Args:
        field: The field to resample.
        shape: Rows and columns of the result.
        box: The part of ``field`` to use: (left, top, right, bottom), fractional pixels allowed; all of it by
            default.
    """
    image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.array(image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC, box=box), dtype=np.float32)


def ramp(field: NDArray[np.floating]) -> Field:
    """Clip to 0..1 and ease both ends (the cubic ``3t² - 2t³``), so that edges have no crease."""
    t: Field = np.clip(field, 0, 1).astype(np.float32, copy=False)
    return t * t * (3 - 2 * t)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], cell_px: float | tuple[float, float]
) -> Field:
    """Noise of about unit variance with features ``cell_px`` wide; a pair (rows, columns) stretches it."""
    cell = (cell_px, cell_px) if isinstance(cell_px, float | int) else cell_px
    rows, columns = (ceil(side / c) + 4 for side, c in zip(shape, cell, strict=True))
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    box = (2.0, 2.0, 2.0 + shape[1] / cell[1], 2.0 + shape[0] / cell[0])
    return resized(grid, shape, box=box)


def fractal_noise(rng: np.random.Generator, shape: tuple[int, int], cell_px: float, octaves: int) -> Field:
    """Sum of ``octaves`` noises, each half as wide and half as strong as the one before."""
    total = np.zeros(shape, dtype=np.float32)
    for octave in range(octaves):
        total += smooth_noise(rng, shape, max(cell_px / 2**octave, 1.0)) * np.float32(0.5**octave)
    return total


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Coordinates that follow fibres: ``along`` runs with them, ``across`` from one to the next."""

    along: Field
    across: Field

    def texture(self, rng: np.random.Generator, *, length_px: float, width_px: float) -> Field:
        """Noise drawn out along the fibres, ``length_px`` by ``width_px``, of about unit variance."""
        tile = smooth_noise(rng, (640, 640), (width_px, length_px))
        coordinates = np.stack([self.across, self.along])
        sampled: Field = ndimage.map_coordinates(tile, coordinates, order=1, mode="mirror", output=np.float32)
        return sampled

    def angle_at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Direction of the fibres at points (x, y) of the grid, in radians from the x axis, y downwards."""
        row = np.clip(y.astype(int), 0, self.across.shape[0] - 2)
        column = np.clip(x.astype(int), 0, self.across.shape[1] - 2)
        here = self.across[row, column]
        angle: NDArray[np.float64] = np.arctan2(
            -(self.across[row, column + 1] - here), self.across[row + 1, column] - here
        ).astype(np.float64)
        return angle


def flow(rng: np.random.Generator, shape: tuple[int, int], *, wave_px: float, bend: float) -> Flow:
    """Fibres in one random main direction, bent by noise of width ``wave_px``; ``bend`` about 0.3 is wavy."""
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    along = np.float32(cos(angle)) * x + np.float32(sin(angle)) * y
    across = np.float32(-sin(angle)) * x + np.float32(cos(angle)) * y
    across += np.float32(bend * wave_px) * fractal_noise(rng, shape, wave_px, 2)
    along += np.float32(bend * wave_px) * smooth_noise(rng, shape, wave_px)
    return Flow(along=along, across=across)


def scattered_points(
    rng: np.random.Generator, shape: tuple[int, int], spacing: float, *, shake: float = 0.42
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points (x, y) on a shaken staggered grid: irregular to the eye, yet rarely on top of each other.

    Args:
        rng: Source of randomness.
        shape: Rows and columns to fill.
        spacing: Distance between the grid's nodes.
        shake: Largest displacement along each axis, relative to the spacing.
    """
    y, x = np.mgrid[0 : shape[0] : spacing, 0 : shape[1] : spacing].astype(np.float64)
    x += np.where(np.arange(x.shape[0]) % 2, spacing / 2, 0.0)[:, None]
    x += rng.uniform(-shake, shake, x.shape) * spacing
    y += rng.uniform(-shake, shake, y.shape) * spacing
    keep = (x >= 0) & (y >= 0) & (x < shape[1]) & (y < shape[0])
    return x[keep], y[keep]
