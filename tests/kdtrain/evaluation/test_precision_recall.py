"""Precision-recall curves: points and areas worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from kdtrain.evaluation.precision_recall import precision_recall_curve


def test_every_probability_is_a_point() -> None:
    """Two of four items are of the class, the first and the third: precisions 1, 1/2, 2/3, 1/2; the area is 5/6."""
    curve = precision_recall_curve(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.6]))
    assert curve is not None
    assert curve.thresholds.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert curve.recalls.tolist() == [0.5, 0.5, 1, 1]
    assert curve.precisions.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])
    assert curve.average_precision == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)


def test_ties_come_together() -> None:
    """Where all have one probability there is one point, and the area is the share of the class, whatever the order."""
    curve = precision_recall_curve(np.array([True, False, False, False]), np.full(4, 0.3))
    assert curve is not None
    assert (curve.recalls.tolist(), curve.precisions.tolist()) == ([1], [0.25])
    assert curve.average_precision == 0.25


@pytest.mark.parametrize("has", [[False, False], [True, True], []])
def test_there_is_nothing_to_tell_apart(has: list[bool]) -> None:
    """Without items of the class, or without others, there is no curve."""
    assert precision_recall_curve(np.array(has, dtype=bool), np.linspace(0, 1, len(has))) is None
