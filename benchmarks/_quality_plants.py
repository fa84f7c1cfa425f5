"""Synthetic slides with a planted amount of blur, ink, folds or bubbles, for ``quality.py``.

Plants are drawn on level 0 of a sharp slide, 0.5 µm per pixel, and absorb or scatter as the thing does: blur averages
light, ink absorbs like a stain, a fold is tissue twice. A bubble is air between coverslip and tissue: light that meets
its bent edge misses the lens, so its rim is a dark line without colour, 15 to 40 µm wide; within, the tissue is washed
out or pushed aside, and glass shows. The truth of the last three is a mask at an eighth of the resolution.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from _ink_cases import INKS
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from slideprep.synthetic.slide import MPP, SlideSize, render_slide

CLASSES = ("normal", "inflamed", "atypical")
SIZE = SlideSize(pieces=(1, 1), piece_px=(1400, 1800))
COARSE = 8
GLASS = 245.0

BLUR_UM = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3)
STRENGTHS = (0.6, 1.0, 1.5)
RIMS_UM, RIM_OD = (15.0, 40.0), 1.5
WASHED_OUT = (0.9, 1.0)

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


def clean_slide(seed: int) -> Pixels:
    """Level 0 of a sharp slide with one piece of tissue."""
    return render_slide(class_name=CLASSES[seed % len(CLASSES)], seed=seed, size=SIZE)


def stained(pixels: Pixels, strength: float) -> Pixels:
    """The same tissue, stained more or less strongly."""
    return _light(_density(pixels) * np.float32(strength))


def blurred(pixels: Pixels, sigma_um: float) -> Pixels:
    """Out of focus by a Gaussian of so many micrometres."""
    if not sigma_um:
        return pixels
    planes = [ndimage.gaussian_filter(pixels[..., c].astype(np.float32), sigma_um / MPP) for c in range(3)]
    return np.rint(np.stack(planes, axis=2)).astype(np.uint8)


def inked(pixels: Pixels, share: float, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Under strokes of one pen of 0.25 mm until so much of the tissue's box is."""
    ink = np.array(INKS[str(rng.choice(sorted(INKS)))], dtype=np.float32) * np.float32(np.log(10))
    box = _tissue_box(pixels)
    mask = _grown(pixels.shape[:2], box, share, lambda draw: _stroke(draw, box, rng, 250 / MPP / COARSE))
    amount = _fine(ndimage.gaussian_filter(mask.astype(np.float32), 1.0), pixels.shape[:2])
    return _light(_density(pixels) + amount[..., None] * ink), mask


def folded(pixels: Pixels, share: float, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Double along bands of 100 µm until so much of the tissue is."""
    density, tissue, box = _density(pixels), tissue_of(pixels), _tissue_box(pixels)
    mask = _grown(
        pixels.shape[:2], box, share, lambda draw: _stroke(draw, box, rng, 100 / MPP / COARSE), within=tissue
    )
    twice = 1 + _fine(ndimage.gaussian_filter(mask.astype(np.float32), 1.0), pixels.shape[:2])
    return _light(density * twice[..., None]), mask & tissue


def bubbled(pixels: Pixels, share: float, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """With bubbles of 0.2 to 0.5 mm until so much of the tissue's box is inside them."""
    box = _tissue_box(pixels)
    mask = _grown(pixels.shape[:2], box, share, lambda draw: _disc(draw, box, rng))
    rim_px, washed_out = rng.uniform(*RIMS_UM) / MPP / COARSE, rng.choice(WASHED_OUT)
    rim = ndimage.binary_dilation(mask, iterations=round(rim_px)) & ~mask
    amount, dark = (
        _fine(ndimage.gaussian_filter(part.astype(np.float32), 1.0), pixels.shape[:2]) for part in (mask, rim)
    )
    density = _density(pixels) * (1 - washed_out * amount[..., None]) + RIM_OD * dark[..., None]
    return _light(density), mask


def _density(pixels: Pixels) -> Floats:
    return -np.log(np.maximum(pixels, 1).astype(np.float32) / np.float32(GLASS))


def _light(density: Floats) -> Pixels:
    return np.clip(np.rint(GLASS * np.exp(-density)), 0, 255).astype(np.uint8)


def _fine(coarse: Floats, shape: tuple[int, int]) -> Floats:
    image = Image.fromarray(coarse).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.float32)


def tissue_of(pixels: Pixels) -> Mask:
    """Where green is a tenth darker than glass, at an eighth of the resolution."""
    density = _density(pixels)[..., 1]
    rows, columns = (side // COARSE for side in density.shape)
    means = (
        density[: rows * COARSE, : columns * COARSE].reshape(rows, COARSE, columns, COARSE).mean(axis=(1, 3))
    )
    return np.asarray(means > 0.1)


def _tissue_box(pixels: Pixels) -> tuple[int, int, int, int]:
    """Left, top, right, bottom at an eighth of the resolution."""
    rows, columns = (np.flatnonzero(tissue_of(pixels).any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def _grown(
    shape: tuple[int, int],
    box: tuple[int, int, int, int],
    share: float,
    draw_one: Callable[[ImageDraw.ImageDraw], None],
    within: Mask | None = None,
) -> Mask:
    """Shapes, one after the other, until they take that share of the box, or of what is within."""
    left, top, right, bottom = box
    canvas = Image.new("1", (shape[1] // COARSE, shape[0] // COARSE))
    draw = ImageDraw.Draw(canvas)
    for _ in range(60):
        mask = np.array(canvas)
        part = mask[top:bottom, left:right]
        if (part.mean() if within is None else mask[within].mean()) >= share:
            break
        draw_one(draw)
    return np.array(canvas)


def _stroke(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], rng: np.random.Generator, width: float
) -> None:
    left, top, right, bottom = box
    start = rng.uniform((left, top), (right, bottom))
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 0.8) * (right - left)
    turns = angle + np.cumsum(rng.normal(0, 0.15, 8))
    steps = np.cumsum(np.stack([np.cos(turns), np.sin(turns)], axis=1) * length / 8, axis=0)
    draw.line([(x, y) for x, y in (start, *(start + steps))], fill=1, width=round(width), joint="curve")


def _disc(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], rng: np.random.Generator) -> None:
    left, top, right, bottom = box
    radius = rng.uniform(100, 250) / MPP / COARSE
    x, y = rng.uniform((left + radius + 12, top + radius + 12), (right - radius - 12, bottom - radius - 12))
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
