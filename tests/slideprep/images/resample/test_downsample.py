"""Truths of the resampling contract, against a float64 reference that shares no code with it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from slideprep.images.resample.downsample import band_bytes, downsample, source_box
from slideprep.images.resample.filter import Target
from slideprep.regions.pixels import kept_strip_rows

FACTORS = [Fraction(f) for f in (1, 2, 4, 8, 16, 32, 64)] + [
    Fraction("2.004008"),
    Fraction("3.3"),
    Fraction("13.6971"),
]


def reference_axis(length: int, factor: float, origin: float, count: int) -> np.ndarray:
    """Weights (outputs, sources) of Lanczos-3 by its definition, renormalised at the borders, float64."""
    centres = origin + factor * (np.arange(count) + 0.5)
    x = (np.arange(length)[None, :] + 0.5 - centres[:, None]) / factor
    kernel = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)
    return kernel / kernel.sum(axis=1, keepdims=True)


def reference(image: np.ndarray, target: Target) -> np.ndarray:
    """The target by matrix products in float64, clipped and rounded to 8 bits."""
    rows = reference_axis(image.shape[0], float(target.factor), float(target.y), target.height)
    columns = reference_axis(image.shape[1], float(target.factor), float(target.x), target.width)
    exact = np.einsum("ih,hwc,jw->ijc", rows, image.astype(np.float64), columns, optimize=True)
    return np.clip(np.rint(exact), 0, 255).astype(np.uint8)


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colour with fine grain, something like tissue in its spectrum."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = 60 * np.sin(x / 17.0 + y / 29.0) + 40 * np.sin(y / 5.0)
    image = 150 + waves[..., None] * [1.0, 0.6, 0.8] + rng.normal(0, 25, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def run(image: np.ndarray, targets: list[Target], strip_rows: int = 100) -> list[np.ndarray]:
    """Feed the region's source box in strips; collect every target's rows."""
    box = source_box(targets, slide_width=image.shape[1], slide_height=image.shape[0])
    part = image[box.y : box.bottom, box.x : box.right]
    strips = (part[top : top + strip_rows] for top in range(0, len(part), strip_rows))
    rows: list[list[np.ndarray]] = [[] for _ in targets]
    for index, block in downsample(strips, box, targets, strip_rows=strip_rows):
        rows[index].append(block)
    return [np.concatenate(blocks) for blocks in rows]


@pytest.mark.parametrize("factor", FACTORS, ids=lambda f: f"{float(f):g}")
@pytest.mark.parametrize("origin", [Fraction(256), Fraction("200.37")], ids=["whole", "fractional"])
def test_inside_a_slide_every_factor_agrees_with_float64(factor: Fraction, origin: Fraction) -> None:
    """Interior pixels: mean |difference| at most 0.1 grey levels and |bias| at most 0.02."""
    image = texture(1400, 1500)
    side = max(4, int(800 / factor))
    target = Target(factor=factor, x=origin, y=origin + 3, width=side, height=side)
    (got,) = run(image, [target])
    difference = got.astype(float) - reference(image, target)
    assert got.shape == (side, side, 3)
    assert np.abs(difference).mean() <= 0.1
    assert abs(difference.mean()) <= 0.02 or difference.size < 5000  # few pixels: one rounding is 0.02


@pytest.mark.parametrize("factor", FACTORS, ids=lambda f: f"{float(f):g}")
@pytest.mark.parametrize("origin", [0, 5], ids=["corner", "near-corner"])
def test_at_the_slide_border_taps_are_renormalised(factor: Fraction, origin: int) -> None:
    """A region that touches the slide's border equals the renormalised reference right up to it."""
    image = texture(700, 650)
    width, height = int((650 - origin) / factor), int((700 - origin) / factor)
    target = Target(factor=factor, x=Fraction(origin), y=Fraction(origin), width=width, height=height)
    (got,) = run(image, [target])
    difference = np.abs(got.astype(int) - reference(image, target).astype(int))
    assert difference.max() <= 1


@pytest.mark.parametrize("factor", FACTORS, ids=lambda f: f"{float(f):g}")
def test_white_stays_white(factor: Fraction) -> None:
    """A constant 255 image is 255 at every factor, borders included."""
    image = np.full((500, 500, 3), 255, dtype=np.uint8)
    side = int(500 / factor)
    (got,) = run(image, [Target(factor=factor, x=Fraction(0), y=Fraction(0), width=side, height=side)])
    assert (got == 255).all()


def test_factor_one_copies_pixels() -> None:
    """At the scan's own magnification the image is level 0, untouched."""
    image = texture(300, 310)
    (got,) = run(image, [Target(factor=Fraction(1), x=Fraction(20), y=Fraction(30), width=200, height=100)])
    assert np.array_equal(got, image[30:130, 20:220])


@pytest.mark.parametrize("width", [1, 2, 21, 22, 85, 86, 255, 256, 257, 300, 511, 512, 513, 600])
@pytest.mark.parametrize("x", [0, 40])
def test_regions_of_any_width(width: int, x: int) -> None:
    """Widths around those of the loops' vectors, tiles and chunks, inside a slide and at its borders."""
    image = texture(90, x + width + (300 if x else 0))
    targets = [
        Target(
            factor=Fraction(f), x=Fraction(x), y=Fraction(0), width=max(1, int(width / f)), height=int(90 / f)
        )
        for f in (1, Fraction("1.7"), 16)
        if f * 1 <= width
    ]
    for got, target in zip(run(image, targets), targets, strict=True):
        difference = np.abs(got.astype(int) - reference(image, target).astype(int))
        assert difference.max() <= 1
        assert difference.mean() <= 0.1


def test_taps_beyond_the_region_use_the_slides_own_pixels() -> None:
    """A region's border pixels are those of the larger region around it, not of a cut-out."""
    image = texture(900, 900)
    inner = Target(factor=Fraction(8), x=Fraction(320), y=Fraction(320), width=30, height=30)
    outer = Target(factor=Fraction(8), x=Fraction(0), y=Fraction(0), width=112, height=112)
    (small,), (large,) = run(image, [inner]), run(image, [outer])
    assert np.array_equal(small, large[40:70, 40:70])


@pytest.mark.parametrize("strip_rows", [1, 7, 240, 5000])
@pytest.mark.parametrize("shift", [Fraction(0), Fraction("0.25")], ids=["whole", "fractional"])
def test_the_result_does_not_depend_on_how_strips_are_cut(strip_rows: int, shift: Fraction) -> None:
    """Any strip height gives the same bytes, for all magnifications made in one pass."""
    image = texture(1300, 400)
    targets = [
        Target(factor=Fraction(f), x=64 + shift, y=64 + shift, width=256 // f, height=1088 // f)
        for f in (2, 4, 8, 16, 32)
    ]
    for got, expected in zip(run(image, targets, strip_rows), run(image, targets, 128), strict=True):
        assert np.array_equal(got, expected)


def test_the_band_bounds_memory_whatever_the_height() -> None:
    """The stated bound does not grow with the region's height, and stays under 1 GB at the widest JPEG from 40x."""
    wide = [
        Target(factor=Fraction(f), x=Fraction(0), y=Fraction(0), width=262_000 // f, height=9)
        for f in (4, 8, 16, 32, 64)
    ]
    tall = [Target(factor=t.factor, x=t.x, y=t.y, width=t.width, height=90_000) for t in wide]
    rows = kept_strip_rows(262_000)
    bound = band_bytes(wide, source_width=262_000, strip_rows=rows)
    assert bound == band_bytes(tall, source_width=262_000, strip_rows=rows)
    assert bound < 1_000_000_000
