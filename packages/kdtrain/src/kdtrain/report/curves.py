"""A run's log as curves: the loss and the validation metric of every epoch, few enough points to draw."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdtrain.run_folder import LOG_FILE

MAX_POINTS = 200
"""Of a curve: more cannot be told apart on a page, and dozens of curves must stay small."""
Curve = tuple[tuple[float, float], ...]
"""(epoch, from 1; value) in order."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What a run's log says of its course.

    Attributes:
        training: Mean over the logged steps of each epoch of the training loss.
        validation: The metric that chose the checkpoint, after each epoch; empty where nothing was validated.
    """

    training: Curve
    validation: Curve


def read_curves(run: Path, *, metric: str) -> Curves:
    """Read a run's log; none of it is needed for anything but drawing, so a damaged line is passed over.

    Args:
        run: The run's folder.
        metric: Of the validation, as ``select_by`` names it.
    """
    entries = list(_entries(run / LOG_FILE))
    losses: dict[int, list[float]] = {}
    for entry in entries:
        if entry.get("kind") == "step":
            losses.setdefault(entry["epoch"], []).append(entry["loss"])
    training = [(epoch + 1.0, math.fsum(values) / len(values)) for epoch, values in sorted(losses.items())]
    validation = [
        (entry["epoch"] + 1.0, entry[metric])
        for entry in entries
        if entry.get("kind") == "validation" and metric in entry
    ]
    return Curves(training=thinned(training), validation=thinned(validation))


def thinned(points: Sequence[tuple[float, float]], at_most: int = MAX_POINTS) -> Curve:
    """At most so many points: neighbours are averaged, so that no peak is picked or lost by chance."""
    width = max(1, math.ceil(len(points) / at_most))
    return tuple(_mean(points[start : start + width]) for start in range(0, len(points), width))


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    xs, ys = zip(*points, strict=True)
    return math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)


def _entries(path: Path) -> Iterable[Mapping[str, Any]]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        yield entry
