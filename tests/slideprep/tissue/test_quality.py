"""Ink, folds and bubbles in a small picture of a region."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from fixtures.painted import EOSIN, HAEMATOXYLIN, disc, glass, inked, stain, stroke
from slideprep.tissue.quality import Disturbances, disturbances

SHAPE = (120, 160)
TISSUE = disc(60, 80, 50, SHAPE)
BAND = stroke((20, 60), (100, 95), 6, SHAPE)

Picture = npt.NDArray[np.float64]
MIXED = tuple((e + h) / 2 for e, h in zip(EOSIN, HAEMATOXYLIN, strict=True))


def region(strength: float = 1.0) -> Picture:
    """A round piece of tissue of 1.6 mm on glass, stained by so much."""
    picture = glass(SHAPE)
    stain(picture, TISSUE, tuple(strength * part for part in MIXED))  # type: ignore[arg-type]
    return picture


def looked_at(picture: Picture) -> Disturbances:
    """What disturbs it, with the noise of a scanner."""
    noise = np.random.default_rng(1).normal(0, 1.5, picture.shape)
    return disturbances((picture + noise).clip(0, 255).round().astype(np.uint8), mpp=16.0)


def overlap(found: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    """What both share of what either has."""
    return float((found & truth).sum() / max(1, (found | truth).sum()))


@pytest.mark.parametrize("strength", [0.5, 1.0, 1.8])
def test_nothing_disturbs_clean_tissue(strength: float) -> None:
    """Weakly, usually or heavily stained: the tissue is found, and no ink, fold or bubble."""
    found = looked_at(region(strength))
    assert overlap(found.tissue, TISSUE) > 0.9
    assert (found.ink.sum(), found.folds.sum(), found.bubbles.sum()) == (0, 0, 0)


@pytest.mark.parametrize("strength", [0.5, 1.0, 1.8])
def test_tissue_that_lies_double_is_a_fold(strength: float) -> None:
    """A band of twice the tissue is found, whatever the stain, and nothing beside it."""
    picture = region(strength)
    soft = ndimage.gaussian_filter(BAND.astype(float), 0.7)[..., None]
    picture *= np.exp(-soft * strength * np.array(MIXED))
    found = looked_at(picture)
    assert overlap(found.folds, BAND & TISSUE) > 0.5
    assert not (found.folds & ~ndimage.binary_dilation(BAND, iterations=3)).any()


def test_dark_tissue_of_another_hue_is_no_fold() -> None:
    """Bone, as dense as a fold and redder than the tissue around, is none."""
    picture = region()
    soft = ndimage.gaussian_filter(BAND.astype(float), 0.7)[..., None]
    picture *= np.exp(-soft * np.array(EOSIN) * 1.8)
    assert not looked_at(picture).folds.any()


@pytest.mark.parametrize("ink", ["blue", "green", "black"])
def test_a_stroke_of_a_marker_is_ink(ink: str) -> None:
    """A stroke across the piece is ink on the glass, in part on the tissue, and neither tissue nor fold there."""
    line = stroke((10, 10), (110, 150), 10, SHAPE)
    picture = region()
    inked(picture, line, ink)
    found = looked_at(picture)
    assert overlap(found.ink & ~TISSUE, line & ~TISSUE) > 0.6
    assert not (found.ink & ~ndimage.binary_dilation(line, iterations=3)).any()
    assert not (found.ink & found.tissue).any()
    assert not found.folds.any()


def ring(picture: Picture, absorbed: float, *, gap: bool = False) -> None:
    """A bubble of 0.6 mm amid the tissue: a dark rim without colour, light within."""
    inside, outside = disc(60, 80, 17, SHAPE), disc(60, 80, 20, SHAPE)
    picture[inside] = 232
    rim = outside & ~inside
    if gap:
        rim[50:70, 80:] = False
    picture[rim] *= np.exp(-absorbed)


def test_a_bright_patch_within_a_dark_rim_is_a_bubble() -> None:
    """What a bubble's rim encloses is found; the same patch without a rim is a hole in the tissue."""
    picture = region()
    ring(picture, 1.4)
    assert overlap(looked_at(picture).bubbles, disc(60, 80, 17, SHAPE)) > 0.6
    without = region()
    ring(without, 0.0)
    assert not looked_at(without).bubbles.any()


def test_a_rim_that_is_open_encloses_nothing() -> None:
    """A dark arc with a gap of 0.3 mm is no bubble."""
    picture = region()
    ring(picture, 1.4, gap=True)
    assert not looked_at(picture).bubbles.any()


@pytest.mark.parametrize("level", [0, 255])
def test_a_picture_of_nothing_holds_nothing(level: int) -> None:
    """All black or all white: no tissue, and no division by it."""
    found = disturbances(np.full((9, 5, 3), level, np.uint8), mpp=16.0)
    assert not any(part.any() for part in (found.tissue, found.ink, found.folds, found.bubbles))


def test_a_grey_slide_has_tissue_and_no_ink() -> None:
    """Without colour, rules of colour are off: dark is tissue."""
    grey = np.repeat(region().mean(axis=2, keepdims=True), 3, axis=2).round().astype(np.uint8)
    found = disturbances(grey, mpp=16.0)
    assert overlap(found.tissue, TISSUE) > 0.8
    assert not found.ink.any()
