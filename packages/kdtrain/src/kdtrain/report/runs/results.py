"""The groups of a report with their scores: who is the teacher, who the baseline, what is to be compared with what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kdtrain.evaluation.bootstrap import Unit
from kdtrain.report.runs.class_curves import ClassCurve, class_curves
from kdtrain.report.runs.collect import Collection
from kdtrain.report.runs.folds import PooledRun
from kdtrain.report.runs.groups import RunGroup, group_runs
from kdtrain.report.runs.probabilities import Probabilities, probabilities_of
from kdtrain.report.runs.scoring import Estimate, GroupScores, difference, estimate, score_group


@dataclass(frozen=True, kw_only=True)
class Results:
    """What tables and figures are made of.

    Attributes:
        collection: Where it comes from.
        groups: In the order of the tables.
        samples: Scores by tissue region, as in the paper; by (method, magnification).
        patients: Scores by patient, whose probabilities are the mean over the patient's regions.
        probabilities: How far a group's probabilities may be believed, by (method, magnification).
        curves: ROC and precision-recall curves of each class, by (method, magnification).
        unit: What the bootstrap drew.
        iterations: Draws.
    """

    collection: Collection
    groups: tuple[RunGroup, ...]
    samples: Mapping[tuple[str, float], GroupScores]
    patients: Mapping[tuple[str, float], GroupScores]
    probabilities: Mapping[tuple[str, float], Probabilities]
    curves: Mapping[tuple[str, float], tuple[ClassCurve | None, ...]]
    unit: Unit
    iterations: int

    @property
    def teacher(self) -> RunGroup | None:
        """The teacher of the highest magnification, if there is one."""
        teachers = [group for group in self.groups if group.phase == "teacher"]
        return max(teachers, key=lambda group: group.magnification, default=None)

    @property
    def compared(self) -> tuple[RunGroup, ...]:
        """All but teachers."""
        return tuple(group for group in self.groups if group.phase != "teacher")

    @property
    def students(self) -> tuple[RunGroup, ...]:
        """Distilled ones, fine-tuned or not."""
        return tuple(group for group in self.groups if group.phase in {"distill", "finetune"})

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods that are compared, in the order of the columns."""
        return tuple(dict.fromkeys(group.method for group in self.compared))

    @property
    def magnifications(self) -> tuple[float, ...]:
        """Magnifications that are compared, lowest first, as in the paper's tables."""
        return tuple(sorted({group.magnification for group in self.compared}))

    @property
    def folds_said(self) -> str:
        """Where patients were tested in folds, "5 folds"; else empty."""
        counts = sorted({len(run.folds) for run in self.collection.runs if isinstance(run, PooledRun)})
        return f"{' and '.join(map(str, counts))} folds" if counts else ""

    @property
    def tested_on(self) -> str:
        """In sentences: "the split test", or what the folds make together."""
        if folds := self.folds_said:
            return f"{folds} together, each tested by networks that learnt from the others"
        return f"the split {self.collection.split}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, the same in every run."""
        return self.collection.runs[0].classes

    def group(self, method: str, magnification: float) -> RunGroup | None:
        """A method at a magnification, if it was run."""
        wanted = (method, magnification)
        return next((g for g in self.groups if (g.method, g.magnification) == wanted), None)

    def baseline(self, group: RunGroup) -> RunGroup | None:
        """The baseline to hold a group against: at its magnification the first of its shape, else the first.

        Of a baseline of another shape than the first it is that one itself.
        """
        there = [g for g in self.groups if g.phase == "baseline" and g.magnification == group.magnification]
        return next((g for g in there if g.shape == group.shape), there[0] if there else None)

    def scores(self, group: RunGroup) -> GroupScores:
        """Scores of a group, by tissue region."""
        return self.samples[group.method, group.magnification]

    def has_intervals(self, metrics: Iterable[str]) -> bool:
        """Whether one of these metrics has an interval, by tissue region; the same for all groups."""
        scores = self.scores(self.groups[0])
        return any(estimate(scores, metric).low is not None for metric in metrics)

    def difference(self, group: RunGroup, reference: RunGroup, metric: str) -> Estimate:
        """A metric of a group minus that of a reference, by tissue region."""
        return difference(self.scores(group), self.scores(reference), metric)

    def paper(self, group: RunGroup, metric: str) -> str:
        """The paper's number, "" where it has none."""
        by_magnification = self.collection.paper.get(group.method, {})
        return by_magnification.get(group.magnification, {}).get(metric, "")


def results_of(collection: Collection, *, unit: Unit, iterations: int, seed: int) -> Results:
    """Group runs and score them.

    Args:
        collection: Comparable runs.
        unit: What the bootstrap draws.
        iterations: Draws, the same for all.
        seed: Seed of the draws.

    Raises:
        UsageError: Runs of a group are not alike.
    """
    groups = group_runs(collection.runs)
    samples, patients = (
        {
            (group.method, group.magnification): score_group(
                group, level, unit=unit, iterations=iterations, seed=seed
            )
            for group in groups
        }
        for level in ("sample", "patient")
    )
    return Results(
        collection=collection,
        groups=groups,
        samples=samples,
        patients=patients,
        probabilities={
            (group.method, group.magnification): probabilities_of(
                group, unit=unit, iterations=iterations, seed=seed
            )
            for group in groups
        },
        curves={(group.method, group.magnification): class_curves(group) for group in groups},
        unit=unit,
        iterations=iterations,
    )
