"""Labels and probabilities in, ROC curves out: what each threshold finds of a class, and what it takes for it. Pure.

A curve begins at (0, 0), above all probabilities, and has one point for each probability that occurs, at which items
with that probability or more count as the class; so the trapezium between two points is the share of ties, and the
area below is the ROC AUC of :mod:`kdtrain.evaluation.metrics` (Fawcett 2006, An introduction to ROC analysis, algorithm
1). Legend: N items, P points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kdtrain.evaluation.metrics import BoolArray, FloatArray
from kdtrain.evaluation.predictions import LEVELS, Prediction, ranked_items_at
from kdtrain.text import csv_text

ROC_FILE = "roc.csv"
_HEADER = ("level", "class", "threshold", "false_positive_rate", "true_positive_rate")


@dataclass(frozen=True, kw_only=True)
class RocCurve:
    """One class against the rest.

    Attributes:
        thresholds: (P) descending; the first is infinite, which nothing reaches.
        false_positive_rates: (P) share of the other items that reach it; ascending from 0 to 1.
        true_positive_rates: (P) share of the class's items that reach it; likewise.
    """

    thresholds: FloatArray
    false_positive_rates: FloatArray
    true_positive_rates: FloatArray


def roc_curve(has_N: BoolArray, scores_N: FloatArray) -> RocCurve | None:
    """The curve of one class; None where no item has it or all have, so that a rate is undefined.

    Args:
        has_N: (N) whether the item has the class.
        scores_N: (N) its probability of the class.
    """
    positives, negatives = int(has_N.sum()), int((~has_N).sum())
    if not positives or not negatives:
        return None
    thresholds, place_N = np.unique(-scores_N, return_inverse=True)
    found_P = np.cumsum(np.bincount(place_N, weights=has_N, minlength=len(thresholds)))
    taken_P = np.cumsum(np.bincount(place_N, weights=~has_N, minlength=len(thresholds)))
    return RocCurve(
        thresholds=np.concatenate([[np.inf], -thresholds]),
        false_positive_rates=np.concatenate([[0.0], taken_P / negatives]),
        true_positive_rates=np.concatenate([[0.0], found_P / positives]),
    )


def roc_csv(predictions: Sequence[Prediction], classes: Sequence[str], temperature: float | None) -> bytes:
    """roc.csv: the curves of all classes at every level, of the probabilities that their AUC is of.

    Args:
        predictions: From ``check_predictions``.
        classes: Names, in the order of labels and probabilities.
        temperature: Of a network that was calibrated.
    """
    return csv_text([_HEADER, *_rows(predictions, classes, temperature)]).encode()


def _rows(
    predictions: Sequence[Prediction], classes: Sequence[str], temperature: float | None
) -> Iterator[list[object]]:
    for level in LEVELS:
        items = ranked_items_at(level, predictions, temperature)
        for number, name in enumerate(classes):
            curve = roc_curve(items.labels == number, items.probabilities[:, number])
            if curve is None:
                continue
            points = (curve.thresholds, curve.false_positive_rates, curve.true_positive_rates)
            for threshold, false, true in zip(*(values.tolist() for values in points), strict=True):
                # The first threshold is above all that occurs: a table has no infinity.
                yield [level, name, "" if threshold == np.inf else threshold, false, true]
