"""What a slide is seen through: stains that absorb light, strokes of a marker pen, specks of dust.

Coordinates are level-0 pixels, (x, y) top left. Ink absorbs like a stain, so it darkens tissue that it
crosses; a pen leaves streaks along its stroke and edges a little darker than its middle.

From stains to light by Beer and Lambert's law: stain is a concentration per pixel; its optical density (base 10) in
red, green and blue is the concentration times the stain's vector, densities of stains add, and the light that passes is
``glass * 10 ** -density``. The vectors are near those of Ruifrok and Johnston (2001) as scanners see them, with each
slide's own deviation as in Macenko et al. (2009).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from slideprep.synthetic.noise import Field, resized, smooth_noise
from slideprep.units import Box

INKS = {
    "blue": np.array([0.75, 0.42, 0.12], dtype=np.float32),
    "green": np.array([0.70, 0.22, 0.45], dtype=np.float32),
    "black": np.array([0.70, 0.68, 0.62], dtype=np.float32),
}
"""Optical density of one stroke in red, green and blue."""

_COARSE = 8
"""A stroke is drawn at an eighth of the resolution: pens are half a millimetre wide and soft."""

HEMATOXYLIN = np.array([0.62, 0.70, 0.34])
EOSIN = np.array([0.17, 0.88, 0.44])

SHIFTED_HEMATOXYLIN = 1.3 * np.array([0.76, 0.60, 0.25])
SHIFTED_EOSIN = 0.75 * np.array([0.07, 0.85, 0.53])
"""Of another laboratory, whose hematoxylin is bluer and denser, and its eosin more orange and paler."""

_GRAIN = 512


def draw_pen(rng: np.random.Generator, pixels: NDArray[np.uint8], pieces: list[Box]) -> None:
    """Draw one or two strokes of one ink over ``pixels`` in place, beside a piece or across its edge."""
    ink = INKS[str(rng.choice(sorted(INKS)))]
    for _ in range(int(rng.integers(1, 3))):
        around = pieces[int(rng.integers(len(pieces)))]
        width_px = rng.uniform(0.035, 0.06) * min(pixels.shape[:2])
        _stroke(rng, pixels, _path(rng, around), width_px, ink)


def _path(rng: np.random.Generator, around: Box) -> NDArray[np.float64]:
    """Points (x, y) of an arc around a piece, or of a nearly straight tick through one of its corners."""
    centre = np.array([around.x + around.width / 2, around.y + around.height / 2])
    half = np.array([around.width, around.height]) / 2
    if rng.random() < 0.6:
        start = rng.uniform(0, 2 * np.pi)
        theta = start + np.linspace(0, rng.uniform(1.0, 2.6), 40)
        wobble = 1.08 + 0.05 * np.sin(3 * theta + rng.uniform(0, 6))
        return np.asarray(centre + wobble[:, None] * np.stack([np.cos(theta), np.sin(theta)], axis=1) * half)
    corner = centre + half * rng.choice([-1, 1], 2)
    direction = rng.uniform(0, np.pi)
    t = np.linspace(-0.45, 0.45, 20)[:, None] * 2 * half.min()
    bend = np.stack([-np.sin(direction) * t[:, 0] ** 2, np.cos(direction) * t[:, 0] ** 2], axis=1)
    return np.asarray(corner + t * [np.cos(direction), np.sin(direction)] + bend * 0.15 / half.min())


def _stroke(
    rng: np.random.Generator,
    pixels: NDArray[np.uint8],
    path: NDArray[np.float64],
    width_px: float,
    ink: Field,
) -> None:
    height, width = pixels.shape[:2]
    low = np.clip(path.min(0) - width_px, 0, [width - 1, height - 1]).astype(int)
    high = np.clip(path.max(0) + width_px, low + 1, [width, height]).astype(int)
    shape = (int(high[1] - low[1]), int(high[0] - low[0]))
    coarse = (-(-shape[0] // _COARSE), -(-shape[1] // _COARSE))
    canvas = Image.new("L", (coarse[1], coarse[0]))
    points = [(float(x), float(y)) for x, y in (path - low) / _COARSE]
    ImageDraw.Draw(canvas).line(points, fill=255, width=max(2, round(width_px / _COARSE)), joint="curve")
    body = np.asarray(canvas, dtype=np.float32) / 255
    soft = ndimage.gaussian_filter(body, max(width_px / _COARSE / 10, 0.6))
    ink_density = soft * (1.15 - 0.3 * ndimage.gaussian_filter(body, max(width_px / _COARSE / 4, 1.0)))
    ink_density *= np.clip(1 + 0.25 * smooth_noise(rng, coarse, (2.5, 12.0)), 0.2, 1.6)
    density = np.clip(resized(ink_density, shape), 0, None)
    window = pixels[low[1] : high[1], low[0] : high[0]]
    for channel in range(3):
        passed = window[..., channel] * np.power(np.float32(10), -ink[channel] * density)
        window[..., channel] = np.maximum(passed, 6)


def draw_dust(rng: np.random.Generator, pixels: NDArray[np.uint8], count: int) -> None:
    """Drop dark specks of a few pixels anywhere on the slide, in place."""
    for _ in range(count):
        radius = int(rng.integers(2, 6))
        y = int(rng.integers(radius, pixels.shape[0] - radius))
        x = int(rng.integers(radius, pixels.shape[1] - radius))
        dy, dx = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        spot = np.clip(radius - np.hypot(dx, dy * rng.uniform(1, 1.8)), 0, 1) * rng.uniform(0.4, 0.8)
        window = pixels[y - radius : y + radius + 1, x - radius : x + radius + 1]
        window[...] = np.maximum(window * (1 - spot[..., None]), 6)


@dataclass(frozen=True, kw_only=True)
class Stains:
    """One slide's stain vectors: optical density in red, green and blue per unit of stain, float32."""

    hematoxylin: NDArray[np.float32]
    eosin: NDArray[np.float32]


def draw_stains(rng: np.random.Generator, shift: float = 0.0) -> Stains:
    """Draw a slide's stain vectors around the usual ones, each of unit length.

    Args:
        rng: Source of randomness; it is drawn from alike, whatever the shift.
        shift: How far the usual ones lie towards those of another laboratory: 0 not at all, 1 as far as they do, 2
            twice as far. Where they are denser or paler, so are the vectors.
    """

    def shaken(
        vector: NDArray[np.float64], shifted: NDArray[np.float64], spread: float
    ) -> NDArray[np.float32]:
        usual = vector + shift * (shifted / np.linalg.norm(shifted) - vector)
        moved = np.clip(usual + rng.normal(0, spread, 3), 0.03, None)
        strength = 1 + shift * (np.linalg.norm(shifted) - 1)
        return np.asarray(strength * moved / np.linalg.norm(moved), dtype=np.float32)

    return Stains(
        hematoxylin=shaken(HEMATOXYLIN, SHIFTED_HEMATOXYLIN, 0.05),
        eosin=shaken(EOSIN, SHIFTED_EOSIN, 0.045),
    )


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
