"""Truths about sharing whole patients out over splits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slideprep.labels.apportion import apportion

WEIGHTS = (14, 3, 3)


@pytest.mark.parametrize(
    ("size", "row"),
    [
        (0, [0, 0, 0]),
        (1, [1, 0, 0]),
        (2, [1, 1, 0]),
        (3, [1, 1, 1]),
        (4, [2, 1, 1]),
        (5, [3, 1, 1]),
        (6, [4, 1, 1]),
        (7, [5, 1, 1]),
        (10, [7, 2, 1]),
        (100, [70, 15, 15]),
    ],
)
def test_one_class_fills_its_columns_in_order_and_then_keeps_the_fractions(size: int, row: list[int]) -> None:
    """70/15/15: a small class reaches one column after the other, a larger one rounds to the nearest."""
    assert apportion([size], WEIGHTS, 3) == [row]


def test_rounding_does_not_add_up_over_classes() -> None:
    """Ten classes of 30 have 45 in each small split, where each alone would round 4.5 the same way."""
    table = apportion([30] * 10, WEIGHTS, 3)
    assert [sum(column) for column in zip(*table, strict=True)] == [210, 45, 45]


def test_a_column_of_weight_zero_stays_empty() -> None:
    """A split that is switched off receives nobody, however small the class."""
    assert apportion([1, 2, 50], (4, 1, 0), 3) == [[1, 0, 0], [1, 1, 0], [40, 10, 0]]


def test_exact_totals_are_met_where_nothing_is_covered_by_force() -> None:
    """235 and 34 of 269 patients in five classes come out as asked for, whatever the classes' sizes."""
    table = apportion([100, 80, 50, 36, 3], (235, 34, 0, 0), 0)
    assert [sum(column) for column in zip(*table, strict=True)] == [235, 34, 0, 0]


def test_totals_are_the_nearest_even_where_one_row_cannot_move_alone() -> None:
    """39 patients at 4:1:7:5 are 9.2, 2.3, 16.1 and 11.5: 9, 2, 16, 12, found by a chain of two moves."""
    table = apportion([1, 10, 18, 10], (4, 1, 7, 5), 0)
    assert [sum(column) for column in zip(*table, strict=True)] == [9, 2, 16, 12]


sizes_and_weights = st.integers(2, 4).flatmap(
    lambda columns: st.tuples(
        st.lists(st.integers(0, 60), max_size=9),
        st.lists(st.integers(0, 12), min_size=columns, max_size=columns).filter(
            lambda weights: sum(weights) > 0
        ),
    )
)


@given(sizes_and_weights)
def test_cells_and_totals_round_to_a_neighbouring_number(case: tuple[list[int], list[int]]) -> None:
    """Without coverage every cell and every total is within less than one of its exact share."""
    sizes, weights = case
    table = apportion(sizes, weights, 0)
    whole = sum(weights)
    assert [sum(row) for row in table] == sizes
    for size, row in zip(sizes, table, strict=True):
        assert all(
            abs(cell * whole - size * weight) < whole for cell, weight in zip(row, weights, strict=True)
        )
    for column, weight in enumerate(weights):
        assert abs(sum(row[column] for row in table) * whole - sum(sizes) * weight) < whole


@given(sizes_and_weights)
def test_coverage_fills_the_first_columns_of_every_row(case: tuple[list[int], list[int]]) -> None:
    """A row of n reaches the first n columns; its cells still sum to n and none is negative."""
    sizes, weights = case
    for size, row in zip(sizes, apportion(sizes, weights, len(weights)), strict=True):
        assert sum(row) == size
        assert min(row) >= 0
        assert all(row[column] for column in [c for c, weight in enumerate(weights) if weight][:size])
