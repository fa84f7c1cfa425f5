"""Percentile bootstrap of every metric, for one model or for several over the same draws.

In: what a model said about each item, and which unit each item belongs to. Out: Scores with one leading axis, the
draws; and intervals. A unit is an item, or a patient drawn with all its items: items of one patient are alike, and
drawing them one by one gives intervals that are too narrow.

A draw of U units with replacement is a vector of counts, so its confusion is those counts times the confusions of the
units, and its ROC AUC a weighted rank sum: 10 000 draws are a few matrix products, not 10 000 resampled tables.
Memory is bounded by drawing in chunks; the draws depend on the number of units, of draws and the seed alone.

Legend: N items, U units, B draws, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from kdtrain.evaluation.metrics import (
    ClassRanks,
    FloatArray,
    IntArray,
    Scores,
    confusion_matrix,
    rank_classes,
    roc_auc,
    scores_from,
)

Unit = Literal["sample", "patient"]
"""What is drawn: the items of a level (samples, slides, patients) one by one, or patients with all their items."""
UNITS: tuple[Unit, ...] = get_args(Unit)

ITERATIONS = 10_000
"""The paper's."""
CONFIDENCE = 0.95

_CHUNK_CELLS = 1 << 18  # items times draws of a chunk: 2 MB of float64, which stays in a core's cache


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What one model said about N items."""

    labels: IntArray
    """(N) true classes, from 0."""
    probabilities: FloatArray
    """(N, K) of each class; the first highest is the predicted class."""
    unit_of: IntArray
    """(N) bootstrap unit of each item, from 0 without gaps."""

    @property
    def classes(self) -> int:
        """K."""
        return int(self.probabilities.shape[1])

    @property
    def predicted(self) -> IntArray:
        """(N): the predicted classes."""
        predicted_N: IntArray = np.argmax(self.probabilities, axis=1)
        return predicted_N

    @property
    def units(self) -> int:
        """U."""
        return int(self.unit_of.max(initial=-1)) + 1


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A percentile interval at CONFIDENCE, over the draws in which the metric is defined."""

    low: float | None
    """None where no draw defines it."""
    high: float | None
    undefined_draws: int


def score(outcomes: Outcomes) -> Scores:
    """The metrics of the items as they are; no leading axis."""
    confusion_KK = confusion_matrix(outcomes.labels, outcomes.predicted, outcomes.classes)
    ranks = rank_classes(outcomes.labels, outcomes.probabilities, outcomes.unit_of)
    auc_BK = roc_auc(ranks, np.ones((outcomes.units, 1)))
    return scores_from(confusion_KK, auc_BK[0])


def bootstrap(models: Sequence[Outcomes], *, iterations: int, seed: int) -> list[Scores]:
    """The metrics of every draw, of every model over the same draws.

    Args:
        models: Outcomes of the same units; differences of their scores are paired.
        iterations: B, the number of draws. Of fewer than two units none is made: one unit is the same in every draw,
            and an interval of no width would look like certainty.
        seed: Seed of the draws.

    Returns:
        One Scores per model, with leading axis (B), or (0) where no draw is made.

    Raises:
        ValueError: The models have different numbers of units.
    """
    if len({model.units for model in models}) != 1:
        raise ValueError(
            f"models of {[m.units for m in models]} units cannot share draws; give the same items"
        )
    units = models[0].units
    draws = iterations if units > 1 else 0
    ready = [_Prepared.of(model) for model in models]
    confusions = [np.empty((draws, model.classes, model.classes)) for model in models]
    areas = [np.empty((draws, model.classes)) for model in models]
    at_once = max(1, _CHUNK_CELLS // max(1, *(len(model.labels) for model in models)))
    start = 0
    for counts_UB in draw_counts(units, iterations=draws, seed=seed, at_once=at_once):
        chunk = slice(start, start := start + counts_UB.shape[1])
        for model, confusion_BKK, auc_BK in zip(ready, confusions, areas, strict=True):
            confusion_BKK[chunk] = model.confusion_of(counts_UB)
            auc_BK[chunk] = roc_auc(model.ranks, counts_UB)
    return [scores_from(*arrays) for arrays in zip(confusions, areas, strict=True)]


def draw_counts(units: int, *, iterations: int, seed: int, at_once: int) -> Iterator[FloatArray]:
    """How often each draw holds each unit: U units drawn with replacement, B times.

    Args:
        units: U.
        iterations: B.
        seed: Seed of NumPy's default generator; draw after draw takes U numbers from it.
        at_once: Draws in a chunk; the draws do not depend on it.

    Yields:
        (U, b) float64, the b adding up to B; each column adds up to U.
    """
    generator = np.random.default_rng(seed)
    for start in range(0, iterations, at_once):
        draws = min(at_once, iterations - start)
        drawn_bU = generator.integers(0, units, size=(draws, units))
        cells = drawn_bU * draws + np.arange(draws)[:, None]
        counts = np.bincount(cells.ravel(), minlength=units * draws)
        yield counts.reshape(units, draws).astype(np.float64)


def interval(draws_B: FloatArray) -> Interval:
    """The percentile interval of a metric, or of a difference, over its draws (B); NaN draws are counted."""
    defined = draws_B[~np.isnan(draws_B)]
    undefined = len(draws_B) - len(defined)
    if not len(defined):
        return Interval(low=None, high=None, undefined_draws=undefined)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high), undefined_draws=undefined)


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """A model's outcomes, summed up by unit."""

    cells: FloatArray  # (U, K * K): each unit's confusion, flattened
    ranks: list[ClassRanks]
    classes: int

    @classmethod
    def of(cls, outcomes: Outcomes) -> _Prepared:
        cells = outcomes.classes**2
        cell_N = outcomes.labels * outcomes.classes + outcomes.predicted
        counts = np.bincount(outcomes.unit_of * cells + cell_N, minlength=outcomes.units * cells)
        return cls(
            cells=counts.reshape(outcomes.units, cells).astype(np.float64),
            ranks=rank_classes(outcomes.labels, outcomes.probabilities, outcomes.unit_of),
            classes=outcomes.classes,
        )

    def confusion_of(self, counts_UB: FloatArray) -> FloatArray:
        return (counts_UB.T @ self.cells).reshape(-1, self.classes, self.classes)
