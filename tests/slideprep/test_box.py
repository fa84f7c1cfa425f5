"""Boxes are half-open and say where they overlap."""

from __future__ import annotations

import pytest

from slideprep.units import Box


def test_a_box_ends_before_its_right_and_bottom() -> None:
    """A box at (2, 3) of 4 x 5 pixels ends before column 6 and row 8 and has 20 pixels."""
    box = Box(x=2, y=3, width=4, height=5)
    assert (box.right, box.bottom, box.area_px) == (6, 8, 20)


@pytest.mark.parametrize(
    ("other", "common"),
    [
        (Box(x=2, y=2, width=9, height=9), Box(x=2, y=2, width=2, height=2)),
        (Box(x=1, y=1, width=1, height=1), Box(x=1, y=1, width=1, height=1)),
        (Box(x=4, y=0, width=1, height=4), None),
        (Box(x=0, y=9, width=4, height=4), None),
    ],
)
def test_intersection_is_the_common_part(other: Box, common: Box | None) -> None:
    """Boxes that only touch have nothing in common; otherwise both ways give the same common part."""
    box = Box(x=0, y=0, width=4, height=4)
    assert box.intersection(other) == common
    assert other.intersection(box) == common


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (-1, 4)])
def test_there_is_no_empty_box(size: tuple[int, int]) -> None:
    """A box without pixels is a mistake of ours, found where it is made."""
    with pytest.raises(AssertionError, match="empty"):
        Box(x=0, y=0, width=size[0], height=size[1])
