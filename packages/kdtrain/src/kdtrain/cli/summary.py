"""The last screen of a phase and of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from kdtrain.cli.measured import print_levels
from kdtrain.cli.probabilities import probability_lines
from kdtrain.evaluation.subject import Evaluation
from kdtrain.phases.cache_plan import CachePlan
from kdtrain.phases.cache_teacher import CacheSummary
from kdtrain.sweep.display import duration
from kdtrain.text import plural
from kdtrain.training.loop import Summary
from kdtrain.training.run_folder import MODEL_FILE


def print_summary(summary: Summary, console: Console) -> None:
    """Say how a run ended."""
    metric = "" if summary.metric is None else f" ({summary.metric:.4f})"
    lines = [
        f"{plural(summary.epochs, 'epoch')}, {plural(summary.steps, 'step')}, {summary.seconds:,.0f} s",
        *_throughput(summary.stats),
        f"chosen: step {summary.chosen_step:,}, by {summary.chosen_by}{metric}",
        f"network  {summary.folder / MODEL_FILE}",
        f"next     kdtrain evaluate {summary.folder} --shards DIR{' --probe' * summary.feature_network}",
    ]
    if summary.feature_network:
        lines.append(f"or       kdtrain finetune --student {summary.folder} --shards DIR --out RUN")
    for line in lines:
        console.print(Text(line))


def print_cache_summary(summary: CacheSummary, console: Console) -> None:
    """Say what a teacher cache holds and what it takes."""
    each = summary.bytes / max(summary.samples, 1) / 1e6
    share = (
        f", {summary.bytes / summary.source_bytes:.1%} of the teacher's shards"
        if summary.source_bytes
        else ""
    )
    lines = [
        f"{summary.written} of {plural(summary.shards, 'shard')} written, {summary.seconds:,.0f} s",
        *_throughput(
            {
                "samples_per_s": summary.stats.samples_per_s,
                "megapixels_per_s": summary.stats.megapixels_per_s,
                "wait_share": summary.stats.wait_share,
            }
        ),
        f"{plural(summary.samples, 'sample')}, {plural(summary.views, 'view')}",
        f"{summary.bytes / 1e6:,.1f} MB, {each:.3g} MB a sample{share}",
        f"cache    {summary.folder}",
        f"next     kdtrain distill --teacher-cache {summary.folder} --shards DIR --magnification M --out RUN",
    ]
    for line in lines:
        console.print(Text(line))


def print_cache_plan(plan: CachePlan, console: Console) -> None:
    """Say what a teacher cache will take."""
    lines = [
        *([plan.teacher] if plan.teacher else []),
        f"{plural(plan.samples, 'sample')}, {plural(plan.views, 'view')}",
        f"{plan.bytes / 1e9:,.3g} GB, {plan.bytes / max(plan.samples, 1) / 1e6:.3g} MB a sample",
        f"{duration(plan.seconds)} of computing with one process here: a view of {plan.region}, "
        f"{plan.size[0]} x {plan.size[1]} px for the student, took {plan.region_s:.3g} s, others by their pixels",
        "nothing was written",
    ]
    for line in lines:
        console.print(Text(line))


def _throughput(stats: Mapping[str, float]) -> list[str]:
    if not stats["samples_per_s"]:  # finished before: nothing was read
        return []
    speed = f"{stats['samples_per_s']:.1f} samples/s, {stats['megapixels_per_s']:.1f} megapixels/s"
    return [f"{speed}, {stats['wait_share']:.0%} of the time waiting for data"]


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Show the metrics of an evaluation."""
    metrics = evaluation.metrics
    print_levels(metrics, f"{_who(evaluation)} on {evaluation.split}", console)
    probe, cost = metrics.get("probe"), metrics["cost"]
    if probe is not None and probe["unconverged_folds"]:
        stopped = f"{probe['unconverged_folds']} of {plural(probe['folds'], 'fold')}"
        console.print(Text(f"{stopped}: the regression was stopped before it converged", style="yellow"))
    if probe is None:
        for line in probability_lines(metrics, evaluation.run):
            console.print(Text(line, style="yellow" if line.startswith("warning") else ""))
    console.print(
        Text(
            f"{cost['gflops_mean']:.3g} GFLOPs a forward pass, on average over {cost['images']:,} images "
            f"({cost['convention']})"
        )
    )
    names = ("metrics.json", "predictions.csv") if probe is None else ("probe.json", "probe.csv")
    console.print(Text(f"look at  {evaluation.folder / names[0]} and {names[1]} beside it"))


def _who(evaluation: Evaluation) -> str:
    """The network, or the probe of its features."""
    probe, name = evaluation.metrics.get("probe"), evaluation.run.name
    if probe is None:
        return name
    return f"linear probe of {name}, cross-validated by patient in {plural(probe['folds'], 'fold')},"
