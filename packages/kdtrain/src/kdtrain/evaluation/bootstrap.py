"""Percentile bootstrap of every metric, for one model or for several over the same draws.

In: what a model said about each item, and which unit each item belongs to. Out: Scores with one leading axis, the
draws; and intervals. A unit is an item, or a patient drawn with all its items: items of one patient are alike, and
drawing them one by one gives intervals that are too narrow.

A draw of U units with replacement is a vector of counts, so its confusion is those counts times the confusions of the
units, and its ROC AUC a weighted rank sum: 10 000 draws are a few matrix products, not 10 000 resampled tables.
Memory is bounded by drawing in chunks; the draws depend on the number of units, of draws and the seed alone.

Units are drawn from all of them, not class by class, so a draw may lack a class that the items have. A mean over the
classes would there be of fewer classes, and 100 % where only the easy one is left: it counts as undefined, and the
interval is over the draws that have all classes, with the others counted. Drawing class by class (Davison and Hinkley
1997, Bootstrap Methods and their Application, chapter 3) would lose no class, but it holds the class counts fixed, and
each class's variance falls short by a factor of (n - 1) / n: ``benchmarks/intervals.py`` measures both. Patients of
several classes could not be drawn so at all; drawn whole they are clusters (Field and Welsh 2007, Bootstrapping
clustered data).

Of a class with fewer than two units nothing can be said of others of its class, however many units there are in all:
its metrics, and the means over classes, have no interval.

Legend: N items, U units, B draws, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from kdtrain.evaluation.metrics import (
    BoolArray,
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

LEAST_UNITS = 2
"""Of a class, for an interval: one unit is the same in every draw that has it."""

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
    blocks: IntArray | None = None
    """(N) which network scored each item; None where one scored all. See :func:`roc_auc`."""

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

    @property
    def units_with_class(self) -> IntArray:
        """(K): units that have an item of each class; a unit of several classes counts for each."""
        return self._units_having(self.labels[:, None] == np.arange(self.classes))

    @property
    def units_with_others(self) -> IntArray:
        """(K): units that have an item of any other class."""
        return self._units_having(self.labels[:, None] != np.arange(self.classes))

    def _units_having(self, items_NK: BoolArray) -> IntArray:
        units_UK = np.zeros((self.units, self.classes), dtype=bool)
        np.logical_or.at(units_UK, self.unit_of, items_NK)
        units_K: IntArray = units_UK.sum(axis=0, dtype=np.int64)
        return units_K


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A percentile interval at CONFIDENCE, over the draws in which the metric is defined."""

    low: float | None
    """None where no draw defines it, as with a class of a single unit."""
    high: float | None
    undefined_draws: int


def score(outcomes: Outcomes) -> Scores:
    """The metrics of the items as they are; no leading axis."""
    confusion_KK = confusion_matrix(outcomes.labels, outcomes.predicted, outcomes.classes)
    ranks = rank_classes(outcomes.labels, outcomes.probabilities, outcomes.unit_of, outcomes.blocks)
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
        One Scores per model, with leading axis (B), or (0) where no draw is made. NaN where undefined: the means over
        classes in draws that lack a class, and all that hangs on a class of fewer than LEAST_UNITS units.

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
    scores = [scores_from(*arrays) for arrays in zip(confusions, areas, strict=True)]
    return [_defined(*pair) for pair in zip(scores, models, strict=True)]


def _defined(draws: Scores, outcomes: Outcomes) -> Scores:
    """The scores of draws, less what says nothing of other units: see the head of this file."""
    with_class_K = outcomes.units_with_class
    there_K = with_class_K > 0
    enough_K = with_class_K >= LEAST_UNITS
    told_apart_K = enough_K & (outcomes.units_with_others >= LEAST_UNITS)
    per_class = {
        name: np.where(told_apart_K if name == "auc" else enough_K, values, np.nan)
        for name, values in draws.per_class.items()
    }
    whole_B = (draws.present | ~there_K).all(axis=-1) & enough_K[there_K].all()
    macro = {name: np.where(whole_B, values, np.nan) for name, values in draws.macro.items()}
    return replace(draws, per_class=per_class, macro=macro, balanced_accuracy=macro["recall"])


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
            ranks=rank_classes(outcomes.labels, outcomes.probabilities, outcomes.unit_of, outcomes.blocks),
            classes=outcomes.classes,
        )

    def confusion_of(self, counts_UB: FloatArray) -> FloatArray:
        return (counts_UB.T @ self.cells).reshape(-1, self.classes, self.classes)
