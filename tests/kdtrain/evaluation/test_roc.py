"""ROC curves: points that can be counted, and the area that the metrics have."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from kdtrain.evaluation.metrics import rank_classes, roc_auc
from kdtrain.evaluation.predictions import Prediction
from kdtrain.evaluation.roc import roc_csv, roc_curve


def test_points_are_counted_at_every_probability() -> None:
    """Of 0.9+ 0.5+ 0.5- 0.1-: nothing, then half the class, then all of it and half the others, then everything."""
    curve = roc_curve(np.array([True, True, False, False]), np.array([0.9, 0.5, 0.5, 0.1]))
    assert curve is not None
    assert curve.thresholds.tolist() == [np.inf, 0.9, 0.5, 0.1]
    assert curve.true_positive_rates.tolist() == [0, 0.5, 1, 1]
    assert curve.false_positive_rates.tolist() == [0, 0, 0.5, 1]


def test_the_area_below_is_the_auc_of_the_metrics() -> None:
    """Trapezia below the curve add up to the Mann-Whitney statistic, ties included."""
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 60), rng.integers(0, 9, 60) / 8
    curve = roc_curve(labels == 1, scores)
    ranks = rank_classes(labels, np.stack([1 - scores, scores], axis=1), np.arange(60))
    assert curve is not None
    area = np.trapezoid(curve.true_positive_rates, curve.false_positive_rates)
    assert area == pytest.approx(roc_auc(ranks, np.ones((60, 1)))[0, 1], abs=1e-12)


@pytest.mark.parametrize("has", [[True, True], [False, False]], ids=["all", "none"])
def test_a_class_of_all_items_or_none_has_no_curve(has: list[bool]) -> None:
    """A rate over no items is undefined."""
    assert roc_curve(np.array(has), np.array([0.2, 0.8])) is None


def test_the_table_has_every_level_and_no_infinity() -> None:
    """Two slides of one sample each: three points a class and level, the first without a threshold."""
    said = [
        Prediction(key=key, slide=key, patient=key, label=label, probabilities=(p, 1 - p))
        for key, label, p in (("a", 0, 0.7), ("b", 1, 0.4))
    ]
    found = list(csv.DictReader(io.StringIO(roc_csv(said, ("x", "y"), None).decode())))
    assert [row["threshold"] for row in found if row["level"] == "slide" and row["class"] == "x"] == [
        "",
        "0.7",
        "0.4",
    ]
    assert len(found) == 3 * 2 * 3
