"""What becomes of slides that lie outside the training data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fixtures.predictions import REGION, SLIDE
from kdtrain.bundle.stain import stain_numbers
from kdtrain.bundle.training_data import Measured, TrainingData, training_data
from kdtrain.predict.answers.prediction import SlidePrediction
from kdtrain.predict.answers.slide_images import ReadRegion, SlideImages
from kdtrain.predict.task import Outside, image_mpp

PINK = np.full((64, 64, 3), (220, 120, 180), np.uint8)
READ = ReadRegion(
    index=0,
    key="a-00000000-r0000",
    x=0,
    y=0,
    width=512.0,
    height=512.0,
    image=b"",
    image_format="jpeg",
    image_width=64,
    image_height=64,
    display=None,
)
IMAGES = SlideImages(
    name="a.svs",
    fingerprint="0",
    width=512,
    height=512,
    mpp=0.5,
    objective=20.0,
    reader="openslide",
    level=0,
    fast=None,
    regions=(READ,),
    left_out=(),
    failed=(),
    warnings=(),
    overview=None,
)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    """Three pink images of 64 px, of scans at 20x, 4 µm a pixel."""
    measured = [
        Measured(
            mpp=4.0,
            level0_mpp=0.5,
            level0_objective=20.0,
            reader="openslide",
            stain=stain_numbers(PINK + np.uint8(shade)),
        )
        for shade in range(3)
    ]
    return training_data([(64, 64)] * 3, measured)


def prediction(*outside: str) -> SlidePrediction:
    """Of a slide with one region, which lies outside in so much."""
    return replace(SLIDE, regions=(replace(REGION, outside=outside),))


def test_the_pixels_of_the_networks_image_are_measured() -> None:
    """512 level-0 pixels of 0.5 µm in 64 pixels are 4 µm each; without an mpp nothing is known."""
    assert image_mpp(IMAGES) == 4.0
    assert image_mpp(replace(IMAGES, mpp=None)) is None


@pytest.mark.parametrize(
    ("mpp", "policy", "refused"),
    [
        (0.5, "auto", False),
        (0.54, "auto", False),
        (0.25, "auto", True),
        (0.25, "refuse", True),
        (0.25, "warn", False),
        (None, "auto", False),
    ],
)
def test_another_pixel_size_is_refused(
    data: TrainingData, mpp: float | None, policy: str, refused: bool
) -> None:
    """Beyond 10 % the network is not asked, unless warnings alone are wanted; what is unknown is no reason."""
    reason = Outside(data, policy).wrong_magnification(replace(IMAGES, mpp=mpp))
    assert (reason is not None) == refused
    assert reason is None or "--outside warn" in reason


def test_a_slide_like_the_training_slides_has_nothing_said_of_it(data: TrainingData) -> None:
    """Neither slide nor image lies outside."""
    outside = Outside(data, "auto")
    assert outside.of_slide(IMAGES) == ()
    assert outside.of_image(PINK, stain_numbers(PINK)) == ()


def test_another_objective_and_a_missing_mpp_are_said(data: TrainingData) -> None:
    """They are warned of; neither is refused by default."""
    odd = replace(IMAGES, mpp=None, objective=40.0)
    first, second = Outside(data, "auto").of_slide(odd)
    assert "carries no mpp" in first
    assert "scanned at 40x, the training slides at 20x" in second
    assert Outside(data, "auto").wrong_magnification(odd) is None


def test_another_stain_and_size_are_said(data: TrainingData) -> None:
    """A green image twice as large differs in size and in stain."""
    green = np.full((128, 128, 3), (60, 200, 60), np.uint8)
    said = " ".join(Outside(data, "auto").of_image(green, stain_numbers(green)))
    assert "128 x 128 px" in said
    assert "stain" in said


@pytest.mark.parametrize(("policy", "refused"), [("auto", False), ("warn", False), ("refuse", True)])
def test_a_region_outside_is_refused_only_where_that_is_asked_for(
    data: TrainingData, policy: str, refused: bool
) -> None:
    """Under refuse the reason names the region and what is odd about it."""
    outside = Outside(data, policy)
    assert outside.refusal(prediction()) is None
    reason = outside.refusal(prediction("too blue"))
    assert (reason is not None) == refused
    assert reason is None or "region 0: too blue" in reason
