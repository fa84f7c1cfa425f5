"""Numbers that tell one stain from another, against a hand's arithmetic."""

from __future__ import annotations

from math import log10

import numpy as np
import pytest

from kdtrain.bundle import stain
from kdtrain.bundle.stain import STAIN_NUMBERS, STAIN_WORDS, stain_numbers


def image(*colours, height=4):
    """Columns of these colours."""
    return np.tile(np.array(colours, np.uint8)[None], (height, 1, 1))


def density(level):
    """Of a grey level."""
    return -log10(level / 255)


def test_a_white_image_has_no_stain():
    """Its share of tissue is 0, and there is nothing to measure."""
    assert stain_numbers(image((255, 255, 255))) == {"tissue_share": 0}


def test_density_is_that_of_the_stained_pixels_alone():
    """Of one purple and three white columns a quarter is tissue, and its density is purple's."""
    white, purple = (255, 255, 255), (100, 50, 120)
    numbers = stain_numbers(image(purple, white, white, white))
    densities = [density(level) for level in purple]
    assert numbers["tissue_share"] == 0.25
    assert [numbers[f"density_{c}"] for c in ("red", "green", "blue")] == pytest.approx(densities)
    assert [numbers[f"hue_{c}"] for c in ("red", "green", "blue")] == pytest.approx(
        [value / sum(densities) for value in densities]
    )
    assert tuple(numbers) == STAIN_NUMBERS == tuple(STAIN_WORDS)


@pytest.mark.parametrize(("level", "share"), [(180, 1), (181, 0)])
def test_tissue_begins_at_a_density_of_015(level, share):
    """Grey level 180 has density 0.1513, and 181 has 0.1489."""
    assert stain_numbers(image((level, level, level)))["tissue_share"] == share


def test_black_has_a_density():
    """Level 0 counts as level 1: no logarithm of nothing."""
    assert stain_numbers(image((0, 0, 0)))["density_red"] == pytest.approx(log10(255))


def test_a_thicker_section_keeps_its_hue():
    """Twice the density in every channel doubles the densities and leaves the hues (to the rounding of grey levels)."""
    thin = (150, 90, 170)
    thick = tuple(round(255 * (level / 255) ** 2) for level in thin)
    one, two = stain_numbers(image(thin)), stain_numbers(image(thick))
    assert two["density_green"] == pytest.approx(2 * one["density_green"], rel=0.01)
    assert two["hue_green"] == pytest.approx(one["hue_green"], rel=0.01)


def test_exchanged_channels_have_another_hue():
    """Green's share becomes red's."""
    ours, theirs = stain_numbers(image((150, 60, 140))), stain_numbers(image((60, 150, 140)))
    assert (theirs["hue_red"], theirs["hue_green"]) == (ours["hue_green"], ours["hue_red"])


def test_large_images_are_measured_in_bands(monkeypatch):
    """Rows taken a few at a time give what all of them give at once."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (37, 11, 3), dtype=np.uint8)
    whole = stain_numbers(noise)
    monkeypatch.setattr(stain, "_BAND_PIXELS", 40)
    assert stain_numbers(noise) == pytest.approx(whole)
