"""Air bubbles on painted pictures of 16 µm per pixel: dark thin rims around something bright."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from fixtures.painted import EOSIN, Mask, disc, finished, glass, stain, stroke
from slideprep.tissue.auto import auto_mask, auto_regions
from slideprep.tissue.bubbles import find_bubbles
from slideprep.tissue.quality import disturbances
from slideprep.units import Box

MPP = 16.0
GLASS = (239, 239, 237)
SHAPE = (120, 120)
EVERYWHERE = np.ones(SHAPE, dtype=bool)
LARGE = (200, 260)


def bubble(
    picture: npt.NDArray[np.float64], row: float, column: float, radius: float, *, rim: float = 3
) -> Mask:
    """Glass in a rim of 48 µm without colour; where the glass is."""
    shape = picture.shape[:2]
    inside = disc(row, column, radius, shape)
    line = disc(row, column, radius + rim, shape) & ~inside
    picture[inside] = GLASS
    picture *= np.exp(-1.5 * ndimage.gaussian_filter(line.astype(float), 0.7))[..., None]
    return inside


def seen(picture: npt.NDArray[np.float64]) -> Mask:
    """The bubbles of a region."""
    return disturbances(finished(picture), mpp=MPP).bubbles


def boxes(picture: npt.NDArray[np.float64]) -> list[Box]:
    """The regions of a slide, in pixels of its overview."""
    found = auto_mask(finished(picture), mpp_overview=MPP)
    rows, columns = found.mask.shape
    size = {"downsample_x": 1, "downsample_y": 1, "width_l0": columns, "height_l0": rows}
    return auto_regions(found.mask, mpp_overview=MPP, hidden=found.hidden, **size)


def stained_everywhere() -> npt.NDArray[np.float64]:
    """A region full of tissue."""
    picture = glass(SHAPE)
    stain(picture, EVERYWHERE, EOSIN)
    return picture


@pytest.mark.parametrize(
    ("row", "column"), [(60, 60), (0, 60), (119, 60), (60, 4), (60, 122), (0, 0), (119, 119)]
)
def test_a_bubble_is_found_whole_or_cut_off(row: int, column: int) -> None:
    """Amid a region, at each of its sides and in its corners, what is bright is a bubble, but for its blurred edge."""
    picture = stained_everywhere()
    inside = bubble(picture, row, column, 30)
    found = seen(picture)
    assert not (found & ~inside).any()
    assert found.sum() > 0.75 * inside.sum()


def test_two_bubbles_that_flow_into_one_another_are_bubbles() -> None:
    """Their rims meet in a notch, and the region's side cuts both off."""
    picture = stained_everywhere()
    first, second = (disc(4, column, 25, SHAPE) for column in (40, 76))
    inside = first | second
    rim = ndimage.binary_dilation(inside, iterations=3) & ~inside
    picture[inside] = GLASS
    picture[rim] *= 0.2
    found = seen(picture)
    assert not (found & ~inside).any()
    assert found.sum() > 0.75 * inside.sum()


def test_glass_on_either_side_of_a_straight_line_is_no_bubble() -> None:
    """A coverslip's edge across a region of pale tissue bends around neither side."""
    picture = glass(SHAPE)
    stain(picture, disc(60, 60, 20, SHAPE), EOSIN)
    picture[stroke((0, 30), (119, 44), 4, SHAPE)] *= 0.25
    assert not seen(picture).any()


def test_dark_points_on_one_slanted_line_bend_around_nothing() -> None:
    """A corner behind a slanted line of single pixels, which has no hull, is no bubble; nor does looking at it fail."""
    od = np.full((3, 9, 15), 0.02, dtype=np.float32)
    rows, columns = np.mgrid[:9, :15]
    od[:, (columns == 6) | (columns - rows == 10)] = 1.0
    assert not find_bubbles(od, mpp=32.0, cut_off=True).inside[:, 7:].any()


def test_a_lumen_in_a_darkly_stained_wall_is_no_bubble() -> None:
    """Brown walls of 48 µm lose their colour where their edges mix with glass, but are darkest where they have it."""
    picture = stained_everywhere()
    for row, column in product((17, 51, 85), repeat=2):
        picture[disc(row, column, 9.9, SHAPE)] = (90, 60, 40)
        picture[disc(row, column, 6.9, SHAPE)] = GLASS
    mixed = ndimage.gaussian_filter(picture, (0.6, 0.6, 0))
    assert not disturbances(np.rint(mixed).astype(np.uint8), mpp=MPP).bubbles.any()


def test_the_outside_of_bubbles_is_none() -> None:
    """Two bubbles at opposite sides of a region of glass: the glass between is not in them."""
    picture = glass(SHAPE)
    inside = bubble(picture, 60, 0, 30) | bubble(picture, 60, 119, 30)
    found = seen(picture)
    assert found.any()
    assert not (found & ~inside).any()


@pytest.mark.parametrize("ends", [0, 12])
def test_an_arc_with_a_gap_encloses_nothing(ends: int) -> None:
    """A rim from one side of the region that ends before the other, or whose gap is 0.4 mm wide, encloses nothing."""
    picture = glass(SHAPE)
    inside, line = disc(0, 60, 40, SHAPE), disc(0, 60, 43, SHAPE)
    rim = line & ~inside
    rim[ends : ends + 26, 60:] = False
    picture[rim] *= 0.2
    assert not seen(picture).any()


def test_a_pen_s_ring_around_glass_is_no_bubble() -> None:
    """A line of 0.3 mm is wider than any rim."""
    picture = glass(SHAPE)
    ring = disc(60, 60, 45, SHAPE) & ~disc(60, 60, 26, SHAPE)
    picture[ring] *= 0.2
    od = -np.log(finished(picture).astype(np.float32).transpose(2, 0, 1) / 240)
    assert not find_bubbles(od, mpp=MPP, cut_off=True).inside.any()


@pytest.mark.parametrize("radius", [8, 14, 24])
@pytest.mark.parametrize("column", [130, 180, 192])
def test_a_bubble_changes_no_region(radius: int, column: int) -> None:
    """Amid a piece of tissue or over its border, its rim is no ink and nothing of the piece is cut off, nor added."""
    picture = glass(LARGE)
    stain(picture, disc(100, 130, 60, LARGE), EOSIN)
    (clean,) = boxes(picture)
    bubble(picture, 100, column, radius)
    (found,) = boxes(picture)
    assert (found.x, found.y, found.bottom) == (clean.x, clean.y, clean.bottom)
    assert clean.right - 8 <= found.right <= clean.right + 1  # it takes tissue from the border


def test_pale_tissue_in_a_bubble_stays() -> None:
    """A rim is no tissue whose halo it could be; the bubble is over a border, and the piece's box as without it."""
    picture = glass(LARGE)
    piece = disc(100, 130, 60, LARGE)
    stain(picture, piece, EOSIN)
    (clean,) = boxes(picture)
    inside = bubble(picture, 100, 178, 24)
    stain(picture, inside & piece, (0.03, 0.08, 0.05))
    (found,) = boxes(picture)
    assert abs(found.right - clean.right) <= 1


def strips(radius: int) -> list[Box]:
    """The regions of a bubble with a strip of tissue at the left and at the right of it."""
    picture = glass(LARGE)
    for side in (-1, 1):
        centre = 130 + side * (radius + 24)
        stain(picture, stroke((100 - radius, centre), (100 + radius, centre), 44, LARGE), EOSIN)
    bubble(picture, 100, 130, radius)
    return boxes(picture)


def test_tissue_on_both_sides_of_a_bubble_is_one_piece() -> None:
    """It was, until a bubble of half a millimetre pushed it aside; one of 2.4 mm says nothing of that."""
    assert [len(strips(radius)) for radius in (16, 75)] == [1, 2]


def test_a_bubble_on_bare_glass_is_nothing() -> None:
    """No region, and no ink."""
    picture = glass(LARGE)
    stain(picture, disc(100, 60, 30, LARGE), EOSIN)
    clean = boxes(picture)
    bubble(picture, 100, 180, 40)
    assert boxes(picture) == clean
    assert auto_mask(finished(picture), mpp_overview=MPP).notes == ()
