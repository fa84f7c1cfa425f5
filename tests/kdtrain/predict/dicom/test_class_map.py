"""Feature maps to a map of the slide: whose every value is a cell's, at the cell's place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fixtures.predictions import REGION
from kdtrain.bundle.runtime import Inference
from kdtrain.evaluation.temperature import softmax
from kdtrain.predict.dicom.class_map import (
    Grid,
    RegionCells,
    cell_probabilities,
    class_map,
    grid_of,
    labels_of,
    tissue_cells,
)


def cells(values: list[list[float]], *, stride: int = 32, **region: float) -> RegionCells:
    """A region of two classes, the second's probabilities given; 64 x 64 image pixels are 512 x 512 of level 0."""
    second = np.array(values, np.float32)
    one = replace(REGION, **region)  # type: ignore[arg-type]
    return RegionCells(
        region=one,
        probabilities_hwK=np.stack([1 - second, second], -1),
        tissue_hw=np.ones_like(second, bool),
        stride_px=stride,
    )


def test_a_regions_logits_are_the_mean_of_its_cells_logits() -> None:
    """So the map says of places what the network says of the region: by hand, 2 cells of 1 channel and 2 classes."""
    features_BCHW = np.array([[[[1.0, 3.0]]]], np.float32)
    weights_KC = np.array([[2.0], [-1.0]], np.float32)
    logits_BK = np.array([[2 * 2 + 0.5, -2.0]], np.float32)  # the mean feature is 2, biases are 0.5 and 0
    asked = Inference(softmax(logits_BK.astype(np.float64)).astype(np.float32), logits_BK, features_BCHW)
    found = cell_probabilities(asked, weights_KC, 1.0)
    assert found.shape == (1, 2, 2)
    cell_logits = np.array([[2.5, -1.0], [6.5, -3.0]])
    np.testing.assert_allclose(cell_logits.mean(axis=0), logits_BK[0])
    np.testing.assert_allclose(found[0], softmax(cell_logits), rtol=1e-6)
    np.testing.assert_allclose(
        cell_probabilities(asked, weights_KC, 2.0)[0], softmax(cell_logits / 2), rtol=1e-6
    )


def test_no_probability_is_nought() -> None:
    """Nought says that the network was not asked, and a sure network's softmax is nought in float32."""
    sure = np.array([[[[500.0]], [[0.0]]]], np.float32)
    found = cell_probabilities(
        Inference(sure[:, :, 0, 0], sure[:, :, 0, 0], sure), np.eye(2, dtype=np.float32), 1.0
    )
    assert found[0, 0, 0] == 1
    assert 0 < found[0, 0, 1] < 1e-37


@pytest.mark.parametrize(
    ("stride", "width", "step"),
    [(32, 512, 64), (8, 512, 16), (32, 500, 32), (1, 16, 1), (32, 64 * 0.9, 4)],
)
def test_the_grid_is_the_coarsest_power_of_two_that_is_a_quarter_of_a_cell(
    stride: int, width: float, step: int
) -> None:
    """A cell of 256 level-0 pixels gets map pixels of 64, of 250 those of 32, and below a pixel there is nothing."""
    made = grid_of(1000, 700, [cells([[0.5]], stride=stride, width=width)])
    assert (made.step_l0, made.columns, made.rows) == (step, -(-1000 // step), -(-700 // step))


def test_a_huge_slides_map_has_larger_pixels() -> None:
    """The number of them is bounded, whatever the cells."""
    assert grid_of(1000, 1000, [cells([[0.5]])], max_pixels=100).step_l0 == 128


def test_every_pixel_has_the_value_of_the_cell_whose_centre_is_nearest() -> None:
    """Nothing is interpolated, and outside there is nought.

    Cells are centred on image pixels 0.5 and 32.5, level-0 pixels 4 and 260, so the border is at 132: pixels of 64
    whose centres are 32 and 96 show the first, those at 160 and beyond the second.
    """
    grid = Grid(width_l0=640, height_l0=576, step_l0=64)
    second = class_map(grid, [cells([[0.1, 0.2], [0.3, 0.4]])])[..., 1]
    row = [0.1, 0.1, *[0.2] * 6, 0, 0]
    below = [0.3, 0.3, *[0.4] * 6, 0, 0]
    np.testing.assert_allclose(second, [row] * 2 + [below] * 6 + [[0] * 10], rtol=1e-6)


def test_regions_lie_where_they_lie() -> None:
    """Two regions, one of another scale and beginning between map pixels: each pixel whose centre is inside is its."""
    grid = Grid(width_l0=256, height_l0=64, step_l0=16)
    left = cells([[0.9]], x=0, y=0, width=32, height=64)
    right = cells([[0.6]], x=100, y=20, width=90, height=30)
    second = class_map(grid, [left, right])[..., 1]
    assert np.flatnonzero(second[0]).tolist() == [0, 1]
    # Centres of columns 6 to 11 are 104 to 184, of rows 1 and 2 are 24 and 40.
    assert np.argwhere(np.isclose(second, 0.6)).tolist() == [[r, c] for r in (1, 2) for c in range(6, 12)]


def test_where_regions_overlap_their_mean_stands() -> None:
    """Neither hides the other, and elsewhere each keeps its value to the last bit."""
    grid = Grid(width_l0=48, height_l0=16, step_l0=16)
    made = class_map(
        grid, [cells([[0.5]], x=0, width=32, height=16), cells([[0.75]], x=16, width=32, height=16)]
    )
    assert made[0, :, 1].tolist() == [0.5, 0.625, 0.75]


def test_a_region_smaller_than_a_pixel_has_one() -> None:
    """Else the answer about it would be nowhere."""
    made = class_map(
        Grid(width_l0=128, height_l0=128, step_l0=64), [cells([[0.75]], x=70, y=3, width=8, height=8)]
    )
    assert np.argwhere(made.any(axis=-1)).tolist() == [[0, 1]]


def test_labels_are_the_most_probable_classes_counted_from_one() -> None:
    """The first of equals; 0 where no region lies, and on glass, of which the probabilities are there all the same."""
    grid = Grid(width_l0=1024, height_l0=256, step_l0=256)
    one = cells([[0.8, 0.8]], height=256)
    one = replace(one, tissue_hw=np.array([[True, False]]))
    other = cells([[0.5]], x=512, width=256, height=256)
    made = class_map(grid, [one, other])
    np.testing.assert_allclose(made[0, :, 1], [0.8, 0.8, 0.5, 0], rtol=1e-6)
    assert labels_of(grid, [one, other], made).tolist() == [[2, 0, 1, 0]]


@pytest.mark.parametrize(
    ("stride", "expected"),
    [
        # One block of 8 px, from 24 to 32, of four. Cells of 16 px: -7.5 to 8.5, 8.5 to 24.5, 24.5 to 40.5.
        (16, [False, True]),
        # Cells of 4 px: ..., 18.5 to 22.5, 22.5 to 26.5, 26.5 to 30.5.
        (4, [False] * 6 + [True, True]),
    ],
)
def test_a_cell_that_touches_a_block_of_tissue_holds_tissue(stride: int, expected: list[bool]) -> None:
    """In favour of tissue: a label too many is seen on the slide, one too few is not."""
    blocks = np.array([[False, False, False, True]])
    found = tissue_cells(blocks, stride_px=stride, rows=1, columns=len(expected))
    assert found.tolist() == [expected]
    assert tissue_cells(blocks.T, stride_px=stride, rows=len(expected), columns=1).T.tolist() == [expected]


def test_a_region_without_any_tissue_is_tissue_all_over() -> None:
    """A stain that the rule does not see is no reason to say nothing."""
    assert tissue_cells(np.zeros((2, 2), bool), stride_px=8, rows=2, columns=2).all()
