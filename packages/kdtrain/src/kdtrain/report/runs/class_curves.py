"""ROC and precision-recall curves of every class: those of a group's networks, averaged into one. Pure.

Scores of two networks have no common scale, so their samples are never ranked together: each network (each seed, and of
pooled folds each fold) has curves of its own, and these are averaged upright, at each false-positive rate or recall
(Fawcett 2006, An introduction to ROC analysis, algorithm 3). So the area below the mean curve is the mean of the areas:
of seeds the plain one, of folds weighted by their pairs, which is the ROC AUC of all other tables.

Legend: P points of a curve, G points of the grid that all curves of a class share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdtrain.evaluation.metrics import BoolArray, FloatArray
from kdtrain.evaluation.precision_recall import precision_recall_curve
from kdtrain.evaluation.predictions import ranked_items_at
from kdtrain.evaluation.roc import roc_curve
from kdtrain.report.runs.folds import PooledRun
from kdtrain.report.runs.groups import RunGroup
from kdtrain.report.runs.run import Run

MOST_POINTS = 120
"""Of a curve that is drawn: more cannot be told apart, and a page may have a hundred curves."""
Line = tuple[tuple[float, float], ...]
"""(x, y) in order, fractions."""
_Weighed = tuple[float, FloatArray, FloatArray]
"""A curve's weight among others, and its (P) x and (P) y."""


@dataclass(frozen=True, kw_only=True)
class ClassCurve:
    """One class against the rest, mean over the networks of a group.

    Attributes:
        roc: False-positive rate against recall.
        precision_recall: Recall against precision, in steps.
        average_precision: The area below ``precision_recall``, before points are left out.
        share: Of the class among the samples: the precision by chance.
    """

    roc: Line
    precision_recall: Line
    average_precision: float
    share: float


def class_curves(group: RunGroup) -> tuple[ClassCurve | None, ...]:
    """By class, by tissue sample; None where no sample has the class or all have."""
    return tuple(_class_curve(group, number) for number in range(len(group.runs[0].classes)))


def _class_curve(group: RunGroup, number: int) -> ClassCurve | None:
    rocs: list[_Weighed] = []
    recalls: list[_Weighed] = []
    for run in group.runs:
        blocks = _blocks(run, number)
        pairs = [float(has.sum() * (~has).sum()) for has, _ in blocks]
        found = [float(has.sum()) for has, _ in blocks]
        for (has, scores), pair, positive in zip(blocks, pairs, found, strict=True):
            roc, recall = roc_curve(has, scores), precision_recall_curve(has, scores)
            if roc is not None and recall is not None:
                rocs.append((pair / sum(pairs), roc.false_positive_rates, roc.true_positive_rates))
                recalls.append((positive, recall.recalls, recall.precisions))
    if not rocs:
        return None
    steps = _mean_steps(recalls)
    return ClassCurve(
        roc=thinned_path(_mean_line(rocs)),
        precision_recall=thinned_path(steps),
        average_precision=float(np.sum(np.diff(steps[:, 0]) * steps[1:, 1])),
        share=sum(one.label == number for one in group.runs[0].predictions) / len(group.runs[0].predictions),
    )


def _blocks(run: Run, number: int) -> list[tuple[BoolArray, FloatArray]]:
    """Whether each sample has the class, and its probability: by network that was asked."""
    items = ranked_items_at("sample", run.predictions, run.applied_temperature)
    has_N, scores_N = items.labels == number, items.probabilities[:, number]
    if not isinstance(run, PooledRun):
        return [(has_N, scores_N)]
    folds_N = run.fold_of(items.patients)
    return [(has_N[folds_N == fold], scores_N[folds_N == fold]) for fold in np.unique(folds_N)]


def _mean_line(curves: Sequence[_Weighed]) -> FloatArray:
    """(2G, 2) the mean of curves that rise from x = 0 to 1, straight between points, upright where an x comes twice."""
    grid_G = np.unique(np.concatenate([x for _, x, _ in curves]))
    weights = [weight for weight, _, _ in curves]
    lows, highs = zip(*(_ends(x, y, grid_G) for _, x, y in curves), strict=True)
    low_G, high_G = (_weighted(list(zip(weights, one, strict=True))) for one in (lows, highs))
    return _interleaved(grid_G, low_G, grid_G, high_G)


def _ends(x_P: FloatArray, y_P: FloatArray, grid_G: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A curve's lowest and highest y at each x of the grid; they differ where it goes upright."""
    x, first = np.unique(x_P, return_index=True)
    last = np.append(first[1:], len(x_P)) - 1
    low, high = y_P[first], y_P[last]
    here = np.searchsorted(x, grid_G, side="right") - 1
    after = np.minimum(here + 1, len(x) - 1)
    width = np.where(after > here, x[after] - x[here], 1.0)
    between = high[here] + (grid_G - x[here]) / width * (low[after] - high[here])
    on = x[here] == grid_G
    return np.where(on, low[here], between), np.where(on, high[here], between)


def _mean_steps(curves: Sequence[_Weighed]) -> FloatArray:
    """(2G, 2) the mean of curves that are level up to each recall: the first x is 0, and y stands before its step."""
    grid_G = np.unique(np.concatenate([x for _, x, _ in curves]))
    grid_G = grid_G[grid_G > 0]
    level_G = _weighted([(weight, y[np.searchsorted(x, grid_G, side="left")]) for weight, x, y in curves])
    return _interleaved(np.append(0.0, grid_G[:-1]), level_G, grid_G, level_G)


def _weighted(values: Sequence[tuple[float, FloatArray]]) -> FloatArray:
    mean: FloatArray = np.average(
        [one for _, one in values], axis=0, weights=[weight for weight, _ in values]
    )
    return mean


def _interleaved(x_G: FloatArray, y_G: FloatArray, next_x_G: FloatArray, next_y_G: FloatArray) -> FloatArray:
    return np.stack([np.stack([x_G, y_G], axis=1), np.stack([next_x_G, next_y_G], axis=1)], axis=1).reshape(
        -1, 2
    )


def thinned_path(points: FloatArray, at_most: int = MOST_POINTS) -> Line:
    """A path without the points that lie on a level or upright line, and then as many as asked for, evenly along it."""
    kept = _corners(points)
    if len(kept) > at_most:
        length = np.append(0.0, np.cumsum(np.abs(np.diff(kept, axis=0)).sum(axis=1)))
        marks = np.linspace(0.0, length[-1], at_most)
        kept = kept[np.unique(np.searchsorted(length, marks).clip(0, len(kept) - 1))]
    return tuple((float(x), float(y)) for x, y in kept)


def _corners(points: FloatArray) -> FloatArray:
    moved = np.append(True, (np.diff(points, axis=0) != 0).any(axis=1))
    points = points[moved]
    if len(points) < 3:
        return points
    before, after = np.diff(points, axis=0)[:-1], np.diff(points, axis=0)[1:]
    straight = ((before == 0) & (after == 0)).any(axis=1)
    corners: FloatArray = points[np.concatenate([[True], ~straight, [True]])]
    return corners
