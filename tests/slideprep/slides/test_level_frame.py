"""Which pyramid level is fine enough, and how its pixels lie on level 0."""

from __future__ import annotations

from fractions import Fraction

import pytest

from slideprep.slides.level_frame import LEVEL_0, coarsest_frame
from slideprep.slides.reader import levels_from_sizes

PYRAMID = levels_from_sizes([(10_000, 8_001), (2_500, 2_000), (625, 500)])
"""4 and 16 times, rounded down as scanners do: 8001 / 4 is 2000.25."""


@pytest.mark.parametrize(
    ("factor", "level"), [(1, 0), (3, 0), (4, 1), (8, 1), (Fraction(159, 10), 1), (16, 2), (64, 2)]
)
def test_the_coarsest_level_that_need_not_be_enlarged(factor: int, level: int) -> None:
    """A level is used up to the magnification at which one of its pixels is one of the image's."""
    assert coarsest_frame(PYRAMID, Fraction(factor)).index == level


def test_a_slide_without_a_pyramid_has_level_0() -> None:
    """There is nothing else to read."""
    assert coarsest_frame(PYRAMID[:1], Fraction(32)) == LEVEL_0


@pytest.mark.parametrize("size", [(10_000, 8_001), (2_220, 2_967), (333, 1_001)])
@pytest.mark.parametrize("times", [2, 3, 4, 5, 16, 32])
@pytest.mark.parametrize("rounded_up", [False, True])
def test_a_rounded_size_is_a_whole_downsample(size: tuple[int, int], times: int, rounded_up: bool) -> None:
    """A size rounded down or up to whole pixels still says by how much the slide was reduced, exactly."""
    small = [-(-side // times) if rounded_up else side // times for side in size]
    frame = coarsest_frame(levels_from_sizes([size, (small[0], small[1])]), Fraction(100))
    assert (frame.downsample_x, frame.downsample_y) == (times, times)
    assert frame.factor(Fraction(96)) == Fraction(96, times)


def test_another_downsample_is_taken_as_the_sizes_say() -> None:
    """300 px of 1000 are 10 / 3 level-0 pixels each; the sides' own quotients place a pixel, their mean reduces."""
    frame = coarsest_frame(levels_from_sizes([(1000, 900), (300, 271)]), Fraction(5))
    assert (frame.downsample_x, frame.downsample_y) == (Fraction(10, 3), Fraction(900, 271))
    assert frame.coarsest == Fraction(10, 3)
    assert frame.factor(Fraction(5)) == Fraction(10) / (Fraction(10, 3) + Fraction(900, 271))


def test_a_level_of_one_side_too_coarse_is_not_used() -> None:
    """Both sides must be fine enough, or one would be enlarged."""
    levels = levels_from_sizes([(1000, 900), (300, 271)])
    assert coarsest_frame(levels, Fraction(333, 100)).index == 0
    assert coarsest_frame(levels, Fraction(334, 100)).index == 1


@pytest.mark.parametrize("other", [(500, 225), (250, 100), (500, 440)])
def test_a_level_that_is_not_the_whole_slide_is_passed_over(other: tuple[int, int]) -> None:
    """Sides that were reduced unalike, by more than rounding explains, would shift and stretch every region."""
    levels = levels_from_sizes([(1000, 900), other, (125, 112)])
    assert coarsest_frame(levels, Fraction(7)) == LEVEL_0
    assert coarsest_frame(levels, Fraction(8)).index == 2
