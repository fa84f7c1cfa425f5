"""The table of an evaluation at the terminal, and what a bundle's images from elsewhere are like; no PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdtrain.bundle.shift import shift_lines
from kdtrain.cli.probabilities import probability_lines, probability_rows
from kdtrain.evaluation.notes import LevelCounts, level_notes
from kdtrain.evaluation.record import VALIDATION_PAGE
from kdtrain.text import visible

_ROWS = (
    ("accuracy", "Accuracy"),
    ("f1", "F1"),
    ("precision", "Precision"),
    ("recall", "Recall"),
    ("auc", "AUC"),
)


def print_levels(metrics: Mapping[str, Any], title: str, console: Console) -> None:
    """The table of all levels, and what its averages leave out.

    Args:
        metrics: Of a metrics.json, or a probe.json.
        title: What was measured on what.
        console: Where.
    """
    levels = metrics["levels"]
    table = Table(title=Text(f"{visible(title)}: %{_with_intervals(levels)}"), title_justify="left")
    table.add_column("macro average")
    for level, record in levels.items():
        table.add_column(f"{level}s ({record['n']:,})", justify="right")
    for name, words in _ROWS:
        table.add_row(words, *(_estimate(record["macro"][name]) for record in levels.values()))
    table.add_row(
        "Balanced accuracy", *(_estimate(record["balanced_accuracy"]) for record in levels.values())
    )
    table.add_section()
    for words, cells in probability_rows(levels):
        table.add_row(words, *cells)
    console.print(table)
    for level, record in levels.items():
        for sentence in _notes(level, record, metrics["bootstrap"]):
            console.print(Text(f"{level}s: {visible(sentence)}", style="yellow"))


def print_validation(metrics: Mapping[str, Any], folder: Path | None, console: Console) -> None:
    """What was measured of a bundle on others' labels: metrics, confusion, probabilities, and how the images differ.

    Args:
        metrics: From :func:`kdtrain.bundle.validation.validate`.
        folder: Where its files are; None where none were written.
        console: Where.
    """
    bundle = metrics["bundle"]
    told = " (trained on synthetic slides)" if bundle["synthetic"] else ""
    print_levels(metrics, f"{bundle['name']}{told} on {metrics['split']}", console)
    console.print(_confusion(metrics))
    for line in probability_lines(metrics, None):
        console.print(Text(visible(line), style="yellow" if line.startswith("warning") else ""))
    if metrics["shift"] is not None:
        for line in shift_lines(metrics["shift"]):
            console.print(Text(visible(line), style="yellow" if metrics["shift"]["outside"] else ""))
    if folder is not None:
        console.print(Text(visible(f"page     {folder / VALIDATION_PAGE}")))
        console.print(
            Text(visible(f"look at  {folder / 'metrics.json'}, predictions.csv and roc.csv beside it"))
        )


def _confusion(metrics: Mapping[str, Any]) -> Table:
    """Slides by true class and by what they were taken for."""
    table = Table(
        title="slides: true class in the rows, predicted class in the columns", title_justify="left"
    )
    table.add_column("")
    classes = metrics["classes"]
    for name in classes:
        table.add_column(Text(visible(name)), justify="right")
    for name, row in zip(classes, metrics["levels"]["slide"]["confusion"], strict=True):
        table.add_row(Text(visible(name)), *map(str, row))
    return table


def _with_intervals(levels: Mapping[str, Mapping[str, Any]]) -> str:
    """Only where there is one."""
    estimates = [
        one for record in levels.values() for one in (record["plain_accuracy"], *record["macro"].values())
    ]
    return " with 95 % intervals" if any(one["low"] is not None for one in estimates) else ""


def _notes(level: str, record: Mapping[str, Any], bootstrap: Mapping[str, Any]) -> Iterator[str]:
    """What the averages leave out or punish, and what has no interval."""
    yield from level_notes(
        LevelCounts.of(record, level=level, unit=bootstrap["unit"], iterations=bootstrap["iterations"])
    )
    if record["never_predicted"]:
        yield f"{', '.join(record['never_predicted'])} never predicted; counted with precision 0"


def _estimate(estimate: Mapping[str, float | None]) -> str:
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    if value is None:
        return "-"
    interval = "" if low is None or high is None else f" ({low * 100:.1f}-{high * 100:.1f})"
    return f"{value * 100:.1f}{interval}"
