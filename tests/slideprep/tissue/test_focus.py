"""The focus measure: fine against coarse structure, whatever the stain and however little the tissue."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from slideprep.tissue.focus import BLOCK, focus_of, structure_of

LIGHT, DARK = 200, 100
CONTRAST = (np.log(LIGHT / DARK) / 2) ** 2
"""Mean square by which two densities differ from their mean."""

Green = npt.NDArray[np.uint8]


def stripes(width: int, *, side: int = 64) -> Green:
    """Light and dark stripes of ``width`` pixels."""
    columns = np.arange(side) // width % 2
    return np.broadcast_to(np.where(columns == 0, LIGHT, DARK).astype(np.uint8), (side, side)).copy()


def texture(density: float = 1.0, *, blur: float = 0.0, side: int = 256) -> Green:
    """Structure of all sizes, as much stained as asked for, out of focus by a Gaussian of so many pixels."""
    rng = np.random.default_rng(5)
    noise = sum(
        np.kron(rng.standard_normal((side // size, side // size)), np.ones((size, size)))
        for size in (1, 2, 4, 8, 16)
    )
    light = 245 * np.exp(-density * (0.4 + 0.06 * noise))
    return np.rint(ndimage.gaussian_filter(light, blur) if blur else light).clip(1, 255).astype(np.uint8)


def focus(green: Green, *, square_px: int = 1) -> float | None:
    """The measure of an image that is all tissue."""
    structure = structure_of(green, square_px=square_px)
    return focus_of(structure, np.ones(structure.fine.shape, dtype=bool))


def test_stripes_are_structure_of_their_own_width() -> None:
    """Stripes of 1 px are fine structure alone, stripes of 8 px coarse alone, each as strong as its contrast."""
    fine, coarse = structure_of(stripes(1), square_px=1), structure_of(stripes(8), square_px=1)
    assert fine.fine.shape == (4, 4)
    assert np.allclose(fine.fine, CONTRAST, rtol=1e-5)
    assert np.allclose(fine.coarse, 0, atol=1e-10)
    assert np.allclose(coarse.coarse, CONTRAST, rtol=1e-5)
    assert np.allclose(coarse.fine, 0, atol=1e-10)


def test_larger_squares_are_the_same_at_a_higher_resolution() -> None:
    """An image enlarged twice has the focus that it had, where the finest squares are two pixels wide."""
    small = texture()
    large = np.kron(small, np.ones((2, 2), dtype=np.uint8))
    assert focus(large, square_px=2) == pytest.approx(focus(small), rel=1e-5)


def test_more_blur_is_less_focus() -> None:
    """The measure falls with every step of a growing blur."""
    found = [focus(texture(blur=blur)) or 0.0 for blur in (0, 0.5, 1, 2, 4)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 3 * found[-1]


@pytest.mark.parametrize("density", [0.5, 1.6])
def test_a_stain_changes_no_focus(density: float) -> None:
    """Half or one and a half times the stain changes the measure by less than 5 %."""
    assert focus(texture(density)) == pytest.approx(focus(texture()), rel=0.05)


def test_only_tissue_counts() -> None:
    """Blocks of glass, however noisy, change nothing; nothing but glass has no focus."""
    green = np.concatenate(
        [texture(), np.random.default_rng(0).integers(240, 246, (256, 256), dtype=np.uint8)]
    )
    structure = structure_of(green, square_px=1)
    tissue = np.arange(512 // BLOCK)[:, None] < 256 // BLOCK
    tissue = np.broadcast_to(tissue, structure.fine.shape)
    assert focus_of(structure, tissue) == pytest.approx(focus(texture()), rel=1e-6)
    assert focus_of(structure, np.zeros_like(tissue)) is None
    assert focus(np.full((64, 64), 245, np.uint8)) is None


def test_what_is_no_whole_block_is_passed_over() -> None:
    """40 x 70 pixels hold 2 x 4 blocks; 15 rows hold none."""
    assert structure_of(np.zeros((40, 70), np.uint8), square_px=1).fine.shape == (2, 4)
    assert structure_of(np.zeros((15, 70), np.uint8), square_px=1).fine.shape == (0, 4)
