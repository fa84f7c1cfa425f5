"""Labels and probabilities in, precision-recall curves out: how much of what each threshold takes is right. Pure.

A curve has one point for each probability that occurs, at which items with that probability or more count as the class:
ties come together. Between two points the precision is that of the next one to the right, never a straight line between
both, which no threshold reaches (Davis and Goadrich 2006, The relationship between precision-recall and ROC curves); so
the area below is the average precision: the sum of each precision times the recall that it adds, as in scikit-learn.
Legend: N items, P points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdtrain.evaluation.metrics import BoolArray, FloatArray


@dataclass(frozen=True, kw_only=True)
class PrecisionRecallCurve:
    """One class against the rest.

    Attributes:
        thresholds: (P) descending.
        recalls: (P) share of the class's items that reach it; ascending to 1.
        precisions: (P) share of the class among the items that reach it.
    """

    thresholds: FloatArray
    recalls: FloatArray
    precisions: FloatArray

    @property
    def average_precision(self) -> float:
        """The area below; by chance it is the share of the class among the items."""
        return float(np.sum(np.diff(self.recalls, prepend=0.0) * self.precisions))


def precision_recall_curve(has_N: BoolArray, scores_N: FloatArray) -> PrecisionRecallCurve | None:
    """The curve of one class; None where no item has it or all have, so that nothing is told apart.

    Args:
        has_N: (N) whether the item has the class.
        scores_N: (N) its probability of the class.
    """
    positives = int(has_N.sum())
    if not positives or positives == len(has_N):
        return None
    thresholds, place_N = np.unique(-scores_N, return_inverse=True)
    found_P = np.cumsum(np.bincount(place_N, weights=has_N, minlength=len(thresholds)))
    taken_P = np.cumsum(np.bincount(place_N, minlength=len(thresholds)))
    return PrecisionRecallCurve(
        thresholds=-thresholds, recalls=found_P / positives, precisions=found_P / taken_P
    )
