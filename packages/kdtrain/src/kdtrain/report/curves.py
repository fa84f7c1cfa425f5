"""A run's log as curves: the loss and the validation metric of every epoch, few enough points to draw."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdtrain.training.run_folder import LOG_FILE

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
        last_step: The last optimizer step that the log has; 0 where it has none.
    """

    training: Curve
    validation: Curve
    last_step: int


def read_curves(run: Path, *, metric: str) -> Curves:
    """Read a run's log; none of it is needed for anything but drawing, so a damaged line is passed over.

    Args:
        run: The run's folder.
        metric: Of the validation, as ``select_by`` names it.
    """
    steps, validations = (
        _entries(run / LOG_FILE, "step", "loss"),
        _entries(run / LOG_FILE, "validation", metric),
    )
    losses: dict[int, list[float]] = {}
    for entry in steps:
        losses.setdefault(entry["epoch"], []).append(entry["loss"])
    training = [(epoch + 1.0, math.fsum(values) / len(values)) for epoch, values in sorted(losses.items())]
    validation = [(entry["epoch"] + 1.0, entry[metric]) for entry in validations]
    return Curves(
        training=thinned(training),
        validation=thinned(validation),
        last_step=max((entry["step"] for entry in (*steps, *validations)), default=0),
    )


def thinned(points: Sequence[tuple[float, float]], at_most: int = MAX_POINTS) -> Curve:
    """At most so many points: neighbours are averaged, so that no peak is picked or lost by chance."""
    width = max(1, math.ceil(len(points) / at_most))
    return tuple(_mean(points[start : start + width]) for start in range(0, len(points), width))


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    xs, ys = zip(*points, strict=True)
    return math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)


def _entries(path: Path, kind: str, metric: str) -> list[Mapping[str, Any]]:
    """Lines of a kind that are whole: with step and epoch, and a number as the metric."""
    if not path.exists():
        return []
    found: list[Mapping[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("kind") == kind and _whole(entry, metric):
            found.append(entry)
    return found


def _whole(entry: Mapping[str, Any], metric: str) -> bool:
    counts = all(isinstance(entry.get(key), int) for key in ("step", "epoch"))
    return counts and isinstance(entry.get(metric), float | int)
