"""Comparing one place of two levels, on arrays that a person can check."""

from __future__ import annotations

import numpy as np
import pytest

from slideprep.slides.readers.level_patterns import contrasting_places, reduced_cells, same_pattern

SIDE, SHIFT = 16, 3


def _bars(width: int, *, step: int = 4, dark: int = 100, bright: int = 200) -> np.ndarray:
    """(width, width, 3) float32: upright bars, ``step`` pixels dark, ``step`` bright."""
    bars = np.where(np.arange(width) // step % 2 == 0, dark, bright)
    return np.broadcast_to(bars[None, :, None], (width, width, 3)).astype(np.float32)


AROUND = _bars(SIDE + 2 * SHIFT)
PATCH = AROUND[SHIFT:-SHIFT, SHIFT:-SHIFT]


@pytest.mark.parametrize(
    ("patch", "same"),
    [
        (PATCH, True),
        (AROUND[:SIDE, :SIDE], True),
        (PATCH * 0.5 + 60, True),
        (np.rot90(PATCH), False),
        (_bars(SIDE, step=8), False),
        (np.full_like(PATCH, 150), False),
        (PATCH - (100, 0, 0), False),
    ],
    ids=["itself", "off by 3 px", "half the contrast", "turned", "other bars", "bare", "another colour"],
)
def test_patterns(patch: np.ndarray, same: bool) -> None:
    """Bars that lie off a little or have less contrast are the same; another direction, width or colour is not."""
    assert same_pattern(patch.astype(np.float32), AROUND) is same


def test_bare_places_prove_nothing_unless_their_colours_differ() -> None:
    """Glass beside glass tells nothing; black beside white is another picture."""
    glass = np.full((SIDE, SIDE, 3), 240, np.float32)
    around = np.full((SIDE + 2 * SHIFT, SIDE + 2 * SHIFT, 3), 236, np.float32)
    assert same_pattern(glass, around) is None
    assert same_pattern(glass * 0, around) is False


def test_cells_are_means_of_the_area_they_cover() -> None:
    """Cells of 1.5 px take one pixel and half of the next; a cell beyond the edge takes the last pixel."""
    cells = reduced_cells(0, 1.5, 3, 4, None)
    expected = [[2 / 3, 1 / 3, 0, 0], [0, 1 / 3, 2 / 3, 0], [0, 0, 0, 1]]
    assert np.allclose(cells.weights, expected)


@pytest.mark.parametrize(("phase", "chosen"), [(0.0, [4, 8]), (0.5, [6, 10])])
def test_cells_of_one_pixel(phase: float, chosen: list[int]) -> None:
    """A level of every fourth pixel takes the first, or the middle one, of each four."""
    cells = reduced_cells(4, 4, 2, 100, phase)
    assert (cells.first + cells.weights.argmax(axis=1)).tolist() == chosen
    assert cells.weights.sum(axis=1).tolist() == [1, 1]


def test_places_come_from_all_parts_of_a_level() -> None:
    """The place of the strongest pattern in each ninth of a picture comes first; bare ninths give none."""
    image = np.full((144, 144, 3), 240, np.uint8)
    image[4:12, 4:12] = 0
    image[132:140, 132:140] = 100
    assert contrasting_places(image) == [(17 / 18, 17 / 18), (1 / 18, 1 / 18)]
