"""The output stride that "auto" takes, by the sizes of the training images alone."""

from __future__ import annotations

import pytest

from kdtrain.model.output_stride import ChosenStride, cells_of, median_shorter_side, stride_for


@pytest.mark.parametrize(
    ("sizes", "stride", "px", "cells"),
    [
        pytest.param([(3000, 2000)], 32, 2000, 63, id="the paper's tissues keep 32"),
        pytest.param([(225, 300)], 32, 225, 8, id="225 px leave 8 cells of 32"),
        pytest.param([(224, 300)], 16, 224, 14, id="224 px leave 7 cells of 32"),
        pytest.param([(97, 66)], 8, 66, 9, id="66 px leave 5 cells of 16"),
        pytest.param([(40, 33)], 4, 33, 9, id="33 px leave 5 cells of 8"),
        pytest.param([(16, 12)], 4, 12, 3, id="the smallest there is"),
        pytest.param(
            [(500, 20), (66, 97), (300, 400)], 8, 66, 9, id="the median of shorter sides 20, 66, 300"
        ),
    ],
)
def test_auto_leaves_8_cells(sizes: list[tuple[int, int]], stride: int, px: int, cells: int) -> None:
    """The largest stride that leaves 8 cells on the shorter side of the median image."""
    assert stride_for(sizes) == ChosenStride(output_stride=stride, shorter_side_px=px, cells=cells)


def test_the_median_of_an_even_number_is_an_image() -> None:
    """Of four images the second, so that no size is taken that no image has."""
    assert median_shorter_side([(10, 90), (20, 90), (90, 30), (40, 90)]) == 20


def test_cells_are_rounded_up() -> None:
    """33 px are 5 cells of 8 px, 32 px are 4."""
    assert (cells_of(33, 8), cells_of(32, 8)) == (5, 4)
