"""From stains to light: Beer and Lambert's law, stain vectors, and the glass that everything lies on.

Stain is a concentration per pixel; its optical density (base 10) in red, green and blue is the concentration
times the stain's vector, densities of stains add, and the light that passes is ``glass * 10 ** -density``.
The vectors are near those of Ruifrok and Johnston (2001) as scanners see them, with each slide's own
deviation as in Macenko et al. (2009).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slideprep.synthetic.noise import Field, smooth_noise

HEMATOXYLIN = np.array([0.62, 0.70, 0.34])
EOSIN = np.array([0.17, 0.88, 0.44])

_GRAIN = 512


@dataclass(frozen=True, kw_only=True)
class Stains:
    """One slide's stain vectors: optical density in red, green and blue per unit of stain, float32."""

    hematoxylin: NDArray[np.float32]
    eosin: NDArray[np.float32]


def draw_stains(rng: np.random.Generator) -> Stains:
    """Draw a slide's stain vectors around the usual ones, each of unit length."""

    def shaken(vector: NDArray[np.float64], spread: float) -> NDArray[np.float32]:
        moved = np.clip(vector + rng.normal(0, spread, 3), 0.03, None)
        return np.asarray(moved / np.linalg.norm(moved), dtype=np.float32)

    return Stains(hematoxylin=shaken(HEMATOXYLIN, 0.05), eosin=shaken(EOSIN, 0.045))


@dataclass(frozen=True, kw_only=True)
class Glass:
    """The light that reaches the camera where nothing lies on the slide, and the camera's grain."""

    light: NDArray[np.float32]
    """(32, 32, 3): bright in the middle, slightly tinted; stretched over the whole slide."""
    grain: NDArray[np.int8]
    """(512, 512, 3) grey levels, repeated over the slide."""

    def image(self, slide_px: tuple[int, int]) -> NDArray[np.uint8]:
        """The bare slide without grain, (rows, columns, 3) uint8."""
        low = Image.fromarray(np.rint(self.light).astype(np.uint8))
        return np.array(low.resize((slide_px[1], slide_px[0]), Image.Resampling.BICUBIC))

    def add_grain(self, pixels: NDArray[np.uint8]) -> None:
        """Add the camera's grain in place, band by band: no second picture of the slide's size is needed."""
        wide = np.tile(self.grain, (1, -(-pixels.shape[1] // _GRAIN), 1))[:, : pixels.shape[1]]
        for top in range(0, pixels.shape[0], _GRAIN):
            band = pixels[top : top + _GRAIN]
            np.add(band, wide[: len(band)], out=band, casting="unsafe")


def draw_glass(rng: np.random.Generator) -> Glass:
    """Draw a slide's background: about 243 with a tint, darker by a few grey levels towards the corners."""
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    centre_y, centre_x = rng.uniform(-0.3, 0.3, 2)
    vignette = rng.uniform(2, 6) * ((y - centre_y) ** 2 + (x - centre_x) ** 2)
    tint = rng.uniform(-2.5, 2.5, 3)
    uneven = smooth_noise(rng, (32, 32), 8.0)[..., None] * rng.uniform(0.5, 1.5)
    light = 243 + tint - vignette[..., None] + uneven
    grain = np.clip(np.rint(rng.normal(0, 1.2, (_GRAIN, _GRAIN, 3))), -4, 4)
    return Glass(light=light.astype(np.float32), grain=grain.astype(np.int8))


def transmitted(
    light: NDArray[np.uint8], hematoxylin: Field, eosin: Field, stains: Stains
) -> NDArray[np.uint8]:
    """Light through stained tissue: (rows, columns, 3) uint8, 4 grey levels off 0 and 255 for the grain."""
    pixels = np.empty((*hematoxylin.shape, 3), dtype=np.uint8)
    for channel in range(3):
        density = hematoxylin * stains.hematoxylin[channel] + eosin * stains.eosin[channel]
        density *= np.float32(-np.log(10))
        passed = np.exp(density, out=density)
        passed *= light[..., channel]
        pixels[..., channel] = np.clip(passed + np.float32(0.5), 4, 251)
    return pixels
