"""Classification metrics from confusion matrices and from ranks, for one set of items or many weightings of it.

In: labels, probabilities, and weights that say how often each bootstrap draw holds each unit. Out: Scores, whose
leading axes are those of what came in. No draw is made and no file is read here.

Legend of the array suffixes: N items, U bootstrap units (items or patients), B draws, K classes, X any leading
axes. A confusion has the true class in its rows and the predicted one in its columns.

What is undefined is NaN, and a class that no item has (absent) is left out of every macro mean: its recall is
0/0, and the other metrics, though some are defined, would speak of mistakes that recall cannot see. A class that is
there but is never predicted has precision 0, as scikit-learn has it (``zero_division=0``): leaving it out would
reward the model that gives up on a rare class. Both are reported, so that nothing is scored 0 in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CLASS_METRICS = ("accuracy", "f1", "precision", "recall", "auc")
"""Metrics that every class has, one against the rest, and that have a macro mean; the paper's, and the ROC AUC."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Every metric, as a fraction from 0 to 1; NaN where undefined."""

    per_class: dict[str, FloatArray]
    """(X, K) by the names of CLASS_METRICS."""
    macro: dict[str, FloatArray]
    """(X) by the names of CLASS_METRICS: plain means over the classes that are present."""
    plain_accuracy: FloatArray
    """(X): items whose predicted class is the true one."""
    balanced_accuracy: FloatArray
    """(X): mean recall of the classes that are present, which is the macro recall by its usual name."""
    present: BoolArray
    """(X, K): some item has this class."""
    never_predicted: BoolArray
    """(X, K): some item has this class, none was given it."""


@dataclass(frozen=True, kw_only=True)
class ClassRanks:
    """One class against the rest, ranked by its probability once, so that any weighting is a sum.

    P items have the class, Q do not; the Q are in ascending order of the class's probability. Where several networks
    scored the items, a block each, the Q stand block after block, and in ascending order within one.
    """

    positive_units: IntArray
    """(P): unit of each item of the class."""
    negative_units: IntArray
    """(Q): unit of each other item."""
    below: IntArray
    """(P): how many of the Q have a smaller probability."""
    up_to: IntArray
    """(P): how many of the Q have a smaller or the same probability."""
    block: tuple[IntArray, IntArray] | None = None
    """(P), (P): how many of the Q stand before the item's block, and to its end; None where all are one block. Of those
    before it, ``below`` and ``up_to`` count all."""


def confusion_matrix(labels_N: IntArray, predicted_N: IntArray, classes: int) -> IntArray:
    """Count items by true and predicted class.

    Returns:
        (K, K), the true class in the rows.
    """
    cells = np.bincount(labels_N * classes + predicted_N, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


def rank_classes(
    labels_N: IntArray, probabilities_NK: FloatArray, units_N: IntArray, blocks_N: IntArray | None = None
) -> list[ClassRanks]:
    """Rank the items by the probability of each class.

    Args:
        labels_N: (N) true classes.
        probabilities_NK: (N, K).
        units_N: (N) the unit, a row of the weights, that each item is drawn with.
        blocks_N: (N) the network that scored each item, where there are several: pairs are made within each alone.

    Returns:
        One ranking per class, for ``roc_auc``.
    """
    if blocks_N is not None:
        return [
            _rank_in_blocks(labels_N == number, scores_N, units_N, blocks_N)
            for number, scores_N in enumerate(probabilities_NK.T)
        ]
    ranks = []
    for number, scores_N in enumerate(probabilities_NK.T):
        positive = np.flatnonzero(labels_N == number)
        negative = np.flatnonzero(labels_N != number)
        negative = negative[np.argsort(scores_N[negative], kind="stable")]
        ranks.append(
            ClassRanks(
                positive_units=units_N[positive],
                negative_units=units_N[negative],
                below=np.searchsorted(scores_N[negative], scores_N[positive], side="left"),
                up_to=np.searchsorted(scores_N[negative], scores_N[positive], side="right"),
            )
        )
    return ranks


def _rank_in_blocks(
    has_N: BoolArray, scores_N: FloatArray, units_N: IntArray, blocks_N: IntArray
) -> ClassRanks:
    positive, negative = np.flatnonzero(has_N), np.flatnonzero(~has_N)
    negative = negative[np.lexsort((scores_N[negative], blocks_N[negative]))]
    ordered_blocks = blocks_N[negative]
    start = np.searchsorted(ordered_blocks, blocks_N[positive], side="left")
    end = np.searchsorted(ordered_blocks, blocks_N[positive], side="right")
    below, up_to = start.copy(), start.copy()
    for place, (item, first, last) in enumerate(zip(positive, start, end, strict=True)):
        own = scores_N[negative[first:last]]
        below[place] += np.searchsorted(own, scores_N[item], side="left")
        up_to[place] += np.searchsorted(own, scores_N[item], side="right")
    return ClassRanks(
        positive_units=units_N[positive],
        negative_units=units_N[negative],
        below=below,
        up_to=up_to,
        block=(start, end),
    )


def roc_auc(ranks: Sequence[ClassRanks], weights_UB: FloatArray) -> FloatArray:
    """Area under the ROC curve of each class against the rest, for each weighting.

    It is the share of pairs (an item of the class, another item) in which the first has the higher probability, ties
    counting half: the Mann-Whitney statistic. Whole weights mean exactly that many copies of the item. Where several
    networks scored the items, pairs are of one network's: the mean of each network's area, weighted by its pairs.

    Args:
        ranks: From ``rank_classes``.
        weights_UB: (U, B) weight of each unit in each draw.

    Returns:
        (B, K); NaN where a draw has no item of the class, or no other.
    """
    return np.stack([_class_auc(rank, weights_UB) for rank in ranks], axis=-1)


def _class_auc(rank: ClassRanks, weights_UB: FloatArray) -> FloatArray:
    units, draws = weights_UB.shape
    if rank.block is not None:
        return _class_auc_in_blocks(rank, weights_UB)
    # Units are fewer than items: a table of who beats whom is worth its making, where there are draws enough for it.
    if 4 * units <= len(rank.positive_units) + len(rank.negative_units) and units <= 4 * draws:
        return _class_auc_by_unit(rank, weights_UB)
    positive_PB = weights_UB[rank.positive_units]
    beaten_QB = np.zeros((len(rank.negative_units) + 1, draws))
    np.cumsum(weights_UB[rank.negative_units], axis=0, out=beaten_QB[1:])
    wins_B = np.einsum("pb,pb->b", positive_PB, beaten_QB[rank.below])
    wins_B += np.einsum("pb,pb->b", positive_PB, beaten_QB[rank.up_to])
    return _ratio(0.5 * wins_B, positive_PB.sum(axis=0) * beaten_QB[-1])


def _class_auc_in_blocks(rank: ClassRanks, weights_UB: FloatArray) -> FloatArray:
    assert rank.block is not None
    start, end = rank.block
    positive_PB = weights_UB[rank.positive_units]
    beaten_QB = np.zeros((len(rank.negative_units) + 1, weights_UB.shape[1]))
    np.cumsum(weights_UB[rank.negative_units], axis=0, out=beaten_QB[1:])
    both_PB = beaten_QB[rank.below] + beaten_QB[rank.up_to] - 2 * beaten_QB[start]
    wins_B = np.einsum("pb,pb->b", positive_PB, both_PB)
    pairs_B = np.einsum("pb,pb->b", positive_PB, beaten_QB[end] - beaten_QB[start])
    return _ratio(0.5 * wins_B, pairs_B)


def _class_auc_by_unit(rank: ClassRanks, weights_UB: FloatArray) -> FloatArray:
    """ROC AUC from how often each unit beats each other: all sums are of halves, so exact for whole weights."""
    negative_QU = np.eye(len(weights_UB))[rank.negative_units]
    beaten_QU = np.vstack([np.zeros(len(weights_UB)), np.cumsum(negative_QU, axis=0)])
    positive_PU = np.eye(len(weights_UB))[rank.positive_units]
    wins_UU = positive_PU.T @ (beaten_QU[rank.below] + beaten_QU[rank.up_to])
    wins_B = np.einsum("ub,ub->b", weights_UB, wins_UU @ weights_UB)
    pairs_B = (positive_PU.sum(axis=0) @ weights_UB) * (beaten_QU[-1] @ weights_UB)
    return _ratio(0.5 * wins_B, pairs_B)


def scores_from(confusion_XKK: FloatArray | IntArray, auc_XK: FloatArray) -> Scores:
    """Every metric from confusions and areas with the same leading axes.

    One-vs-rest accuracy is (TP + TN) / N with TN = N - TP - FP - FN.

    Args:
        confusion_XKK: (X, K, K) counts or weights.
        auc_XK: (X, K) from ``roc_auc``.
    """
    confusion_XKK = confusion_XKK.astype(np.float64)
    hits_XK = np.diagonal(confusion_XKK, axis1=-2, axis2=-1)
    true_XK, predicted_XK = confusion_XKK.sum(axis=-1), confusion_XKK.sum(axis=-2)
    total_X1 = true_XK.sum(axis=-1, keepdims=True)
    present = true_XK > 0
    per_class = {
        "accuracy": _ratio(total_X1 - true_XK - predicted_XK + 2 * hits_XK, total_X1),
        "f1": _ratio(2 * hits_XK, true_XK + predicted_XK),
        "precision": np.where(predicted_XK > 0, _ratio(hits_XK, predicted_XK), 0.0),
        "recall": _ratio(hits_XK, true_XK),
        "auc": auc_XK,
    }
    per_class = {name: np.where(present, values, np.nan) for name, values in per_class.items()}
    macro = {name: _mean_of_defined(values) for name, values in per_class.items()}
    return Scores(
        per_class=per_class,
        macro=macro,
        plain_accuracy=_ratio(hits_XK.sum(axis=-1), total_X1[..., 0]),
        balanced_accuracy=macro["recall"],
        present=present,
        never_predicted=present & (predicted_XK == 0),
    )


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    whole = np.broadcast_to(whole, part.shape)
    ratio: FloatArray = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return ratio


def _mean_of_defined(values_XK: FloatArray) -> FloatArray:
    defined = ~np.isnan(values_XK)
    return _ratio(np.where(defined, values_XK, 0.0).sum(axis=-1), defined.sum(axis=-1).astype(np.float64))
