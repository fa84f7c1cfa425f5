"""Numbers of groups with intervals: every run scored on the same bootstrap draws, seeds averaged draw by draw.

In: groups of runs on the same samples. Out: for each group and metric the mean over its seeds, its interval, and the
difference between two groups with its paired interval. A draw holds the same patients for every run, so that what
makes a draw easy or hard cancels out of a difference. The draws are those of ``kdtrain evaluate`` and ``kdtrain
compare`` with the same seed, and so are the numbers of a single run.

The intervals are about the patients: would another set of patients give the same? What another seed would give is told
by the spread over seeds, which is reported beside them and not mixed in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kdtrain.evaluation.bootstrap import Interval, Outcomes, Unit, bootstrap, interval, score
from kdtrain.evaluation.metrics import CLASS_METRICS, FloatArray, Scores
from kdtrain.evaluation.notes import LevelCounts
from kdtrain.evaluation.predictions import Level, LevelItems, ranked_items_at
from kdtrain.evaluation.record import level_counts, outcomes_of
from kdtrain.report.runs.folds import PooledRun
from kdtrain.report.runs.groups import RunGroup
from kdtrain.report.runs.run import Run

METRICS: Mapping[str, str] = {
    "accuracy": "Accuracy",
    "f1": "F1-score",
    "precision": "Precision",
    "recall": "Recall (balanced accuracy)",
    "auc": "ROC AUC",
    "plain_accuracy": "Plain accuracy",
}
"""Names in tables. The first four are the paper's (section 4.4): one against the rest, then the mean over classes; so
defined, recall and balanced accuracy are the same number. Plain accuracy is the share of samples that are right."""


OF_CLASS: Mapping[str, str] = {
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1-score",
    "auc": "ROC AUC",
}
"""Names in tables of single classes. The accuracy of one class against the rest is left out: of a rare class it is high
for a network that never answers it."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its interval, as fractions; None where undefined.

    Attributes:
        value: The mean over the seeds.
        low: Lower end of the 95 % interval of that mean.
        high: Upper end.
        by_seed: Every seed's own number, NaN where undefined.
    """

    value: float | None
    low: float | None
    high: float | None
    by_seed: tuple[float, ...]

    @property
    def leaves_out_zero(self) -> bool:
        """Whether the interval of a difference lies on one side of 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, kw_only=True)
class GroupScores:
    """The metrics of a group, by the names of METRICS: S seeds, B draws.

    Attributes:
        seeds: (S).
        counts: What was scored, and how far its intervals may be trusted.
        values: (S) of every seed.
        draws: (B) of the mean over the seeds; B is 0 where there are fewer than two units. NaN where undefined.
        intervals: (S) of every seed by itself.
        of_class: By the names of OF_CLASS, of each class.
    """

    seeds: tuple[int, ...]
    counts: LevelCounts
    values: Mapping[str, FloatArray]
    draws: Mapping[str, FloatArray]
    intervals: Mapping[str, tuple[Interval, ...]]
    of_class: Mapping[str, tuple[Estimate, ...]]

    @property
    def n(self) -> int:
        """Items scored."""
        return self.counts.n

    @property
    def units(self) -> int:
        """Bootstrap units among them."""
        return self.counts.units


def score_group(group: RunGroup, level: Level, *, unit: Unit, iterations: int, seed: int) -> GroupScores:
    """Score the runs of a group at a level.

    Args:
        group: Its runs.
        level: What is counted.
        unit: What the bootstrap draws.
        iterations: Draws.
        seed: Seed of the draws: the same for groups that are to be compared.
    """
    items = [ranked_items_at(level, run.predictions, run.applied_temperature) for run in group.runs]
    outcomes = [
        _by_network(run, one, outcomes_of(one, unit)) for run, one in zip(group.runs, items, strict=True)
    ]
    scored = [score(one) for one in outcomes]
    values = [_metrics(one) for one in scored]
    drawn = bootstrap(outcomes, iterations=iterations, seed=seed)
    draws = [_metrics(scores) for scores in drawn]
    first = group.runs[0]
    there = {one.label for one in first.predictions}
    return GroupScores(
        seeds=group.seeds,
        counts=level_counts(items[0], outcomes[0], drawn[0], there, first.classes, level=level, unit=unit),
        values={name: np.array([float(one[name]) for one in values]) for name in METRICS},
        draws={name: np.mean([one[name] for one in draws], axis=0) for name in METRICS},
        intervals={name: tuple(interval(one[name]) for one in draws) for name in METRICS},
        of_class={name: tuple(_of_class(name, scored, drawn)) for name in OF_CLASS},
    )


def _of_class(name: str, scored: Sequence[Scores], drawn: Sequence[Scores]) -> Iterator[Estimate]:
    """Class by class: the draws are many, and only their ends are kept."""
    values_SK = np.array([one.per_class[name] for one in scored])
    draws_BK = np.mean([one.per_class[name] for one in drawn], axis=0)
    for number, values_S in enumerate(values_SK.T):
        yield _estimate(values_S, values_S.mean(), draws_BK[:, number])


def _by_network(run: Run, items: LevelItems, outcomes: Outcomes) -> Outcomes:
    """Of pooled folds, with the network that scored each item."""
    return replace(outcomes, blocks=run.fold_of(items.patients)) if isinstance(run, PooledRun) else outcomes


def estimate(scores: GroupScores, metric: str) -> Estimate:
    """A metric of a group."""
    return _estimate(scores.values[metric], scores.values[metric].mean(), scores.draws[metric])


def difference(scores: GroupScores, reference: GroupScores, metric: str) -> Estimate:
    """A metric of a group minus that of a reference: the seeds' means, paired on the draws.

    Seed by seed it is against the same seed where both have the same seeds, and else against the reference's mean.
    """
    own, other = scores.values[metric], reference.values[metric]
    by_seed = own - (other if scores.seeds == reference.seeds else other.mean())
    return _estimate(by_seed, own.mean() - other.mean(), scores.draws[metric] - reference.draws[metric])


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation of seeds (of a sample: divided by their number less one); None for fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _estimate(values: FloatArray, mean: float, draws: FloatArray) -> Estimate:
    bounds = interval(draws)
    value = None if math.isnan(mean) else float(mean)
    return Estimate(value=value, low=bounds.low, high=bounds.high, by_seed=tuple(values.tolist()))


def _metrics(scores: Scores) -> dict[str, FloatArray]:
    return {**{name: scores.macro[name] for name in CLASS_METRICS}, "plain_accuracy": scores.plain_accuracy}
