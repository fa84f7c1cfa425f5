"""Rank correlation of two maps over the tissue, and what counts as tissue."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from kdtrain.predict.answers.prediction import RegionPrediction
from kdtrain.predict.explain.agreement import (
    MIN_CELLS,
    TISSUE_BLOCK_PX,
    agreement,
    agreements,
    spearman,
    tissue_blocks,
)
from kdtrain.predict.explain.heat_map import ExplainedRegion, HeatMap, Method


def _map(values: np.ndarray, *, step: float, method: Method = "occlusion", class_index: int = 0) -> HeatMap:
    return HeatMap(
        method=method,
        class_index=class_index,
        values=values.astype(np.float32),
        step_x=step,
        step_y=step,
        first_x=step / 2,
        first_y=step / 2,
    )


def test_ranks_are_correlated_as_scipy_does_it() -> None:
    """With ties, which share their mean rank."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, 40), rng.integers(0, 5, 40)
    ours = spearman(first.astype(float), second.astype(float))
    assert ours == pytest.approx(spearmanr(first, second).statistic)


def test_a_constant_map_agrees_with_nothing() -> None:
    """There is no order to compare."""
    assert spearman(np.zeros(9), np.arange(9.0)) is None


def test_order_counts_and_not_the_values() -> None:
    """A map and its cube agree wholly, a map and its negative not at all."""
    values = np.arange(16.0).reshape(4, 4)
    first = _map(values, step=16)
    for second, expected in ((values**3, 1), (-values, -1)):
        assert agreement(first, _map(second, step=16), width=64, height=64) == pytest.approx(expected)


def test_maps_of_two_resolutions_meet_at_the_coarser() -> None:
    """A fine map that is the coarse one in detail agrees with it, whatever the order of the two."""
    rng = np.random.default_rng(1)
    coarse = rng.normal(size=(4, 5))
    fine = coarse.repeat(8, axis=0).repeat(8, axis=1)
    a, b = _map(coarse, step=32), _map(fine, step=4)
    found = agreement(a, b, width=160, height=128)
    assert found is not None
    assert found > 0.9
    assert found == agreement(b, a, width=160, height=128)


def test_the_background_does_not_count() -> None:
    """Two maps that are opposite on the tissue and equal beside it disagree, although most cells are equal."""
    rng = np.random.default_rng(2)
    inside = rng.normal(size=(6, 6))  # reaches beyond the tissue: values are interpolated
    first, second = np.full((12, 12), -9.0), np.full((12, 12), -9.0)
    first[:6, :6], second[:6, :6] = inside, -inside
    tissue = np.zeros((24, 24), dtype=bool)
    tissue[:8, :8] = True
    maps = _map(first, step=16), _map(second, step=16)
    everywhere = agreement(*maps, width=192, height=192)
    on_tissue = agreement(*maps, width=192, height=192, tissue=tissue)
    assert everywhere is not None
    assert on_tissue is not None
    assert everywhere > 0
    assert on_tissue < -0.8


def test_few_cells_give_no_number() -> None:
    """Seven cells are too few, eight are enough."""
    for cells in (MIN_CELLS - 1, MIN_CELLS):
        heat_map = _map(np.arange(cells)[None], step=16)
        found = agreement(heat_map, heat_map, width=16 * cells, height=16)
        assert (found is None) == (cells < MIN_CELLS)


def test_a_region_agrees_class_by_class() -> None:
    """Only classes with both maps have a number."""
    values = np.arange(16.0).reshape(4, 4)
    prediction = RegionPrediction(
        index=0,
        key="a",
        x=0,
        y=0,
        width=64,
        height=64,
        image_width=64,
        image_height=64,
        probabilities=(0.5, 0.5),
    )
    maps = (
        _map(values, step=16, method="grad-cam"),
        _map(values, step=16, method="grad-cam", class_index=1),
        _map(-values, step=16, class_index=1),
    )
    assert agreements(ExplainedRegion(prediction=prediction, maps=maps)) == {1: pytest.approx(-1)}


def test_stained_blocks_are_tissue() -> None:
    """A pink square on white: its blocks, whole and cut off by the edge, and no others."""
    image = np.full((36, 44, 3), 250, dtype=np.uint8)
    image[16:, 24:] = (220, 130, 190)
    mask = tissue_blocks(image)
    assert mask.shape == (5, 6)
    expected = np.zeros((5, 6), dtype=bool)
    expected[2:, 3:] = True
    assert (mask == expected).all()
    assert TISSUE_BLOCK_PX == 8


def test_the_threshold_of_tissue_is_a_mean_density_of_0_15() -> None:
    """A grey of 180 has a density of 0.151, one of 181 has 0.149."""
    assert tissue_blocks(np.full((8, 8, 3), 180, np.uint8)).all()
    assert not tissue_blocks(np.full((8, 8, 3), 181, np.uint8)).any()
