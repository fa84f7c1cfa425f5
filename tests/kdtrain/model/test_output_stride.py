"""The output stride that "auto" takes, by the sizes of the training images alone."""

from __future__ import annotations

import pytest

from kdtrain.model.output_stride import cells_of, median_shorter_side, stride_for


@pytest.mark.parametrize(
    ("px", "stride"),
    [
        pytest.param(2000, 32, id="the paper's tissues keep 32"),
        pytest.param(225, 32, id="225 px leave 8 cells of 32"),
        pytest.param(224, 16, id="224 px leave 7 cells of 32"),
        pytest.param(66, 8, id="66 px leave 5 cells of 16"),
        pytest.param(33, 4, id="33 px leave 5 cells of 8"),
        pytest.param(12, 4, id="the smallest there is"),
    ],
)
def test_auto_leaves_8_cells(px: int, stride: int) -> None:
    """The largest stride that leaves 8 cells on the shorter side, else the smallest."""
    assert stride_for(px) == stride


def test_the_median_is_of_shorter_sides() -> None:
    """Of 20, 66 and 300."""
    assert median_shorter_side([(500, 20), (66, 97), (300, 400)]) == 66


def test_the_median_of_an_even_number_is_an_image() -> None:
    """Of four images the second, so that no size is taken that no image has."""
    assert median_shorter_side([(10, 90), (20, 90), (90, 30), (40, 90)]) == 20


def test_cells_are_rounded_up() -> None:
    """33 px are 5 cells of 8 px, 32 px are 4."""
    assert (cells_of(33, 8), cells_of(32, 8)) == (5, 4)
