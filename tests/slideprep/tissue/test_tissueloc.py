"""The published algorithm against an independent reading of it with scikit-image, and masks to boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from fixtures.real_data import DATA
from slideprep.errors import TissueError
from slideprep.tissue.boxes import regions_from_mask, without_small_components
from slideprep.tissue.tissueloc import tissueloc_level, tissueloc_mask
from slideprep.units import Box

SVS = DATA / "slides" / "CMU-1-Small-Region.svs"

Mask = npt.NDArray[np.bool_]


def published(image: npt.NDArray[np.uint8], **options: Any) -> Mask:
    """The steps of tissueloc 2.1.0 in the libraries it uses, except for the contours it draws last."""
    filters = pytest.importorskip("skimage.filters")
    measure = pytest.importorskip("skimage.measure")
    grey = np.dot(image, [0.299, 0.587, 0.114])
    smooth = filters.gaussian(grey, sigma=options.get("sigma", 13))
    smooth = smooth / np.amax(smooth)
    filled = ndimage.binary_fill_holes(smooth < options.get("threshold", 0.80))
    labels = measure.label(filled, connectivity=2)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return areas[labels] >= max(options.get("min_component_px", 10_000), 1)


def overview(seed: int, *, cast: tuple[int, int, int] = (240, 238, 232)) -> npt.NDArray[np.uint8]:
    """Dark blobs of many sizes, some with holes, some touching the border, with noise: 500 x 700."""
    draw = np.random.default_rng(seed)
    rows, columns = np.mgrid[:500, :700]
    picture = np.ones((500, 700, 3)) * cast
    for _ in range(9):
        row, column, radius = draw.integers(500), draw.integers(700), draw.integers(20, 110)
        distance = np.hypot(rows - row, columns - column)
        picture[(distance < radius) & (distance > draw.integers(0, radius))] = draw.integers(60, 220, 3)
    return np.clip(picture + draw.normal(scale=6, size=picture.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_tissueloc_equals_the_published_steps(seed: int) -> None:
    """On synthetic overviews the mask is the published one, pixel for pixel, and not trivial."""
    image = overview(seed)
    mask = tissueloc_mask(image)
    np.testing.assert_array_equal(mask, published(image))
    assert 0.02 < mask.mean() < 0.9


@pytest.mark.parametrize("options", [{"sigma": 4.5}, {"threshold": 0.93}, {"min_component_px": 2500}])
def test_tissueloc_options_mean_what_the_tool_means(options: dict[str, Any]) -> None:
    """Each number of the algorithm is an option with the published meaning, and changes the result."""
    image = overview(11)
    mask = tissueloc_mask(image, **options)
    np.testing.assert_array_equal(mask, published(image, **options))
    assert (mask != tissueloc_mask(image)).any()


def test_tissueloc_on_the_real_slide() -> None:
    """On the real slide's overview (every second pixel) the mask is the published one, pixel for pixel."""
    openslide = pytest.importorskip("openslide")
    if not SVS.exists():
        pytest.skip(f"{SVS.name} is not in the data folder")
    slide = openslide.OpenSlide(str(SVS))
    image = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))[::2, ::2]
    mask = tissueloc_mask(image)
    np.testing.assert_array_equal(mask, published(image))
    assert 0.2 < mask.mean() < 0.7


def test_tissueloc_fills_holes_on_request() -> None:
    """Glass inside a ring becomes tissue, unless told otherwise."""
    image = np.full((300, 300, 3), 240, dtype=np.uint8)
    image[50:250, 50:250] = 90
    image[90:210, 90:210] = 240
    assert tissueloc_mask(image)[150, 150]
    assert not tissueloc_mask(image, fill_holes=False)[150, 150]


@pytest.mark.parametrize("value", [0, 255])
def test_tissueloc_finds_nothing_in_one_colour(value: int) -> None:
    """An all-black or all-white overview has nothing darker than its maximum."""
    assert not tissueloc_mask(np.full((200, 200, 3), value, dtype=np.uint8)).any()


def test_small_components_go_by_exact_area() -> None:
    """A component of exactly the limit stays, one pixel fewer goes; diagonal neighbours count as one."""
    mask = np.zeros((5, 12), dtype=bool)
    mask[1, 1] = mask[2, 2] = mask[3, 3] = True
    mask[2, 8] = mask[2, 9] = True
    kept = without_small_components(mask, 3)
    assert kept.sum() == 3
    assert kept[1, 1]
    assert not kept[2, 8]


@pytest.mark.parametrize(
    ("sizes", "level"),
    [
        ([(50000, 40000), (12500, 10000), (3125, 2500), (1562, 1250)], 3),
        ([(50000, 40000), (2048, 1638), (2047, 1638), (500, 400)], 2),
        ([(1000, 900)], 0),
        ([(30000, 20000), (7500, 5000)], 1),
    ],
)
def test_tissueloc_level(sizes: list[tuple[int, int]], level: int) -> None:
    """The first level with both sides under 2048 px, 2048 itself excluded; the last where there is none."""
    assert tissueloc_level(sizes) == level


def test_regions_by_hand() -> None:
    """Starts round down, ends round up, the slide's border clips; top to bottom, then left to right."""
    mask = np.zeros((10, 10), dtype=bool)
    mask[1:3, 6:8] = True
    mask[1:4, 1:3] = True
    mask[8:10, 9] = True
    boxes = regions_from_mask(mask, downsample_x=2.5, downsample_y=3.3, width_l0=24, height_l0=33)
    assert boxes == [
        Box(x=2, y=3, width=6, height=11),
        Box(x=15, y=3, width=5, height=7),
        Box(x=22, y=26, width=2, height=7),
    ]


def test_regions_join_diagonal_neighbours() -> None:
    """Two pixels that touch at a corner are one region."""
    mask = np.eye(2, dtype=bool)
    boxes = regions_from_mask(mask, downsample_x=4, downsample_y=4, width_l0=8, height_l0=8)
    assert boxes == [Box(x=0, y=0, width=8, height=8)]


def test_regions_of_an_overhanging_pixel() -> None:
    """Where the overview overhangs the slide, the box is the slide's last column, never empty."""
    mask = np.zeros((1, 4), dtype=bool)
    mask[0, 3] = True
    boxes = regions_from_mask(mask, downsample_x=10, downsample_y=10, width_l0=30, height_l0=10)
    assert boxes == [Box(x=29, y=0, width=1, height=10)]


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), dtype=np.uint8),
        np.zeros((4, 4, 4), dtype=np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_refuses_what_is_no_overview(image: npt.NDArray[Any]) -> None:
    """Grey, RGBA, float and empty images are refused with their shape."""
    with pytest.raises(TissueError, match="RGB overview"):
        tissueloc_mask(image)


@pytest.mark.parametrize(
    "options", [{"sigma": -1.0}, {"threshold": 0.0}, {"threshold": 1.5}, {"min_component_px": -1}]
)
def test_refuses_numbers_out_of_range(options: dict[str, Any]) -> None:
    """Numbers without a meaning are refused with what was given."""
    with pytest.raises(TissueError, match="was given"):
        tissueloc_mask(np.zeros((4, 4, 3), dtype=np.uint8), **options)
