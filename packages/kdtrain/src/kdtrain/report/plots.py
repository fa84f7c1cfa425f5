"""The figures: accuracy against cost, the resizes of the ablation, the course of every training, confusion matrices."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from kdtrain.evaluation.metrics import confusion_matrix
from kdtrain.evaluation.predictions import items_at
from kdtrain.report.model import Chart, Confusion, Paragraph, Point, Series
from kdtrain.report.runs.groups import RunGroup
from kdtrain.report.runs.results import Results
from kdtrain.report.runs.run import Curve, Run, metric_of
from kdtrain.report.runs.scoring import METRICS, estimate
from kdtrain.report.tables.cells import times100
from kdtrain.shards.models import magnification_name

_HOW_TO_READ = (
    "A loss of a phase is what it makes small: of a student its distance to the teacher, else of its answers to the "
    "labels. Where the validation loss rises while the training loss still falls, the network begins to learn its "
    "training samples by heart."
)


def accuracy_chart(results: Results) -> Chart:
    """The paper's figure 3: accuracy against the computation of a forward pass, a line per method."""
    methods = dict.fromkeys(group.method for group in results.groups)
    return Chart(
        name="accuracy-against-cost",
        title="Accuracy against cost",
        caption="Accuracy of every method against the computation of a forward pass, averaged over the images"
        f"{_whiskers(results, 'accuracy')}. The paper's lines are not drawn: it prints no GFLOPS.",
        kind="lines",
        x_title="GFLOPs per image",
        y_title="Accuracy, %",
        x_log=True,
        series=tuple(
            _series(
                results, [g for g in results.groups if g.method == method], "accuracy", lambda g: g.gflops
            )
            for method in methods
        ),
        in_paper="Figure 3",
    )


def resize_charts(results: Results) -> tuple[Chart, ...]:
    """The paper's supplementary figure 1, accuracy and F1 of the resizes; none where all students have the same."""
    students = [group for group in results.groups if group.phase == "distill"]
    resizes = {group.method: str(group.runs[0].settings["resize"]) for group in students}
    if len(set(resizes.values())) < 2:
        return ()
    said = "; ".join(f"{method}: {resize}" for method, resize in resizes.items())
    return tuple(
        Chart(
            name=f"{metric}-by-resize",
            title=f"{METRICS[metric]} by resize",
            caption=f"On the split {results.collection.split}, by magnification{_whiskers(results, metric)}. How "
            f"the teacher's feature map is resized to the student's (--resize): {said}.",
            kind="bars",
            x_title="Magnification",
            y_title=f"{METRICS[metric]}, %",
            series=tuple(
                _series(
                    results, [g for g in students if g.method == method], metric, lambda g: g.magnification
                )
                for method in resizes
            ),
            in_paper="Supplementary figure 1",
        )
        for metric in ("accuracy", "f1")
    )


def _whiskers(results: Results, metric: str) -> str:
    return "; the whiskers are 95 % intervals" * results.has_intervals([metric])


def curve_charts(results: Results) -> tuple[Paragraph | Chart, ...]:
    """Per method and magnification both losses in one figure, a line per seed; and what else chose the checkpoint."""
    charts = []
    names = group_names(results.groups)
    for group, name in zip(results.groups, names, strict=True):
        record = group.runs[0].record
        metric = metric_of(record).replace("_", " ")
        validated_on = record["shard_set"].get("validate_on")
        charts.append(_losses(group, name, validated_on))
        if metric != "loss":
            on = f"on {validated_on} after each epoch, which chose the weights that were kept"
            charts.append(_curves(group, name, f"validation {metric}", on, lambda run: run.curves.validation))
    drawn = tuple(chart for chart in charts if any(series.points for series in chart.series))
    return (Paragraph(text=_HOW_TO_READ), *drawn) if drawn else ()


def confusions(results: Results) -> tuple[Confusion, ...]:
    """A confusion matrix per method and magnification, summed over the seeds."""
    names = group_names(results.groups)
    return tuple(_confusion(results, *pair) for pair in zip(results.groups, names, strict=True))


def group_names(groups: Sequence[RunGroup]) -> list[str]:
    """Names for files and anchors, each once: "KD (aux1) at 1.25x" is "kd-aux1-at-1-25x"."""
    names: list[str] = []
    for group in groups:
        name = _slug(group.title)
        # Labels may differ in nothing but signs.
        names.append(name if name not in names else f"{name}-{len(names)}")
    return names


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _series(
    results: Results, groups: Sequence[RunGroup], metric: str, x_of: Callable[[RunGroup], float]
) -> Series:
    points = []
    for group in groups:
        found = estimate(results.scores(group), metric)
        if found.value is None:
            continue
        points.append(
            Point(
                x=x_of(group),
                y=100 * found.value,
                low=times100(found.low),
                high=times100(found.high),
                label=magnification_name(group.magnification),
            )
        )
    points.sort(key=lambda point: point.x)
    return Series(label=groups[0].method, points=tuple(points), reference=groups[0].phase == "teacher")


_TRAINING, _VALIDATION, _KEPT = "training", "validation", "kept"


def _losses(group: RunGroup, name: str, validated_on: object) -> Chart:
    """All seeds of a kind look alike: their kind is what is to be told apart."""
    validated = any(run.curves.validation_loss for run in group.runs)
    lines = [_of_seed(group, run, _TRAINING, run.curves.training) for run in group.runs]
    lines += [_of_seed(group, run, _VALIDATION, run.curves.validation_loss) for run in group.runs]
    kept = tuple(
        Point(x=x, y=_short(y))
        for run in group.runs
        for x, y in run.curves.validation_loss
        if x == run.curves.kept_epoch
    )
    after = f", and validation loss, on {validated_on} after each epoch, without augmentation" * validated
    return Chart(
        name=f"curve-{name}-loss",
        title=f"{group.title}: training{' and validation' * validated} loss",
        caption=f"Training loss, mean of each epoch{after}."
        + " Marked: the weights that were kept." * bool(kept),
        kind="lines",
        x_title="Epoch",
        y_title="Loss",
        series=(
            *(line for line in lines if line.points),
            *[Series(label=_KEPT, points=kept, joined=False)] * bool(kept),
        ),
    )


def _of_seed(group: RunGroup, run: Run, kind: str, curve: Curve) -> Series:
    first = run is group.runs[0]
    return Series(
        label=kind if first else f"{kind}, seed {run.seed}",
        points=tuple(Point(x=x, y=_short(y)) for x, y in curve),
        looks_as="" if first else kind,
        listed=first,
    )


def _short(value: float) -> float:
    """Six digits keep the downloads of dozens of curves small; the run's log has them all."""
    return float(f"{value:.6g}")


def _curves(group: RunGroup, name: str, what: str, how: str, curve_of: Callable[[Run], Curve]) -> Chart:
    return Chart(
        name=f"curve-{name}-{_slug(what)}",
        title=f"{group.title}: {what}",
        caption=f"{what.capitalize()}, {how}.",
        kind="lines",
        x_title="Epoch",
        y_title=what.capitalize(),
        series=tuple(
            Series(
                label=f"seed {run.seed}",
                points=tuple(Point(x=x, y=_short(y)) for x, y in curve_of(run)),
            )
            for run in group.runs
        ),
    )


def _confusion(results: Results, group: RunGroup, name: str) -> Confusion:
    classes = results.classes
    total = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for run in group.runs:
        items = items_at("sample", run.predictions)
        total += confusion_matrix(items.labels, items.probabilities.argmax(axis=1), len(classes))
    n, seeds = results.scores(group).n, len(group.runs)
    summed = f", summed over {seeds} seeds" if seeds > 1 else ""
    return Confusion(
        name=f"confusion-{name}",
        title=f"{group.title}: confusion",
        caption=f"Tissue samples of the split {results.collection.split}, {n:,} in all{summed}: true class in the "
        "rows, predicted class in the columns.",
        classes=classes,
        counts=tuple(tuple(row) for row in total.tolist()),
    )
