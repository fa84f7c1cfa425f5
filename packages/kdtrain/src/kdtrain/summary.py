"""The last screen of a phase and of an evaluation."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdtrain.evaluate import Evaluation
from kdtrain.run_folder import MODEL_FILE
from kdtrain.training import Summary

_COLUMNS = (
    ("accuracy", "Accuracy"),
    ("f1", "F1"),
    ("precision", "Precision"),
    ("recall", "Recall"),
    ("auc", "AUC"),
)


def print_summary(summary: Summary, console: Console) -> None:
    """Say how a run ended."""
    metric = "" if summary.metric is None else f" ({summary.metric:.4f})"
    lines = [
        f"{summary.epochs} epochs, {summary.steps:,} steps, {summary.seconds:,.0f} s",
        f"{summary.stats['samples_per_s']:.1f} samples/s, {summary.stats['megapixels_per_s']:.1f} megapixels/s, "
        f"{summary.stats['wait_share']:.0%} of the time waiting for data",
        f"chosen: step {summary.chosen_step:,}, by {summary.chosen_by}{metric}",
        f"network  {summary.folder / MODEL_FILE}",
        f"next     kdtrain evaluate {summary.folder} --shards DIR",
    ]
    for line in lines:
        console.print(Text(line))


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Show the metrics of an evaluation."""
    metrics = evaluation.metrics
    table = Table(title=f"{evaluation.run} on {evaluation.split}, macro averages in %, 95 % intervals")
    for column in ("level", "n", *(title for _, title in _COLUMNS), "Balanced acc."):
        table.add_column(column, justify="left" if column == "level" else "right")
    for level, record in metrics["levels"].items():
        cells = [_estimate(record["macro"][name]) for name, _ in _COLUMNS]
        table.add_row(level, f"{record['n']:,}", *cells, _estimate(record["balanced_accuracy"]))
    console.print(table)
    cost = metrics["cost"]
    console.print(
        Text(
            f"{cost['gflops_mean']:.3g} GFLOPs a forward pass, on average over {cost['images']:,} images "
            f"({cost['convention']})"
        )
    )
    console.print(Text(f"look at  {evaluation.folder / 'metrics.json'} and predictions.csv beside it"))


def _estimate(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return "-"
    low, high = estimate["low"], estimate["high"]
    interval = "" if low is None else f" ({low * 100:.1f}-{high * 100:.1f})"
    return f"{estimate['value'] * 100:.1f}{interval}"
