"""What a logger is told: a run's settings once, then numbers at steps, under the same names whichever it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

_SECRET = re.compile(r"(?<=//)[^/@\s]+@")
"""Name and password of an address."""
_MOST_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """A run as loggers know it.

    Attributes:
        folder: The run's; its name is the run's name elsewhere.
        project: What the run is filed under, where a logger files runs.
        settings: What decides the weights (``PhaseConfig.record``): without paths, addresses or keys.
        say: Shows a person a sentence.
    """

    folder: Path
    project: str = "kdtrain"
    settings: Mapping[str, Any] = field(default_factory=dict)
    say: Callable[[str], None] = lambda sentence: None


class Logger(Protocol):
    """Where numbers go. Any method may raise what it likes: :mod:`kdtrain.training.loggers.guarded` listens."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take numbers of an optimizer step; those of a step that a resumed run repeats may come again."""

    def close(self, *, failed: bool) -> None:
        """Hand over what is buffered; the run has ended, or failed."""


def metrics_of(entry: Mapping[str, Any]) -> tuple[int, dict[str, float]]:
    """A line of the log as (step, metrics): "step/loss", "validation/balanced_accuracy".

    Texts, truth values and what is null have no curve and are left out.
    """
    numbers = {
        name: float(value)
        for name, value in entry.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    step = int(numbers.pop("step"))
    return step, {f"{entry['kind']}/{name}": value for name, value in numbers.items()}


def reason_of(error: Exception) -> str:
    """An error's first line, short, without name and password of an address."""
    lines = _SECRET.sub("", str(error)).strip().splitlines() or [type(error).__name__]
    return lines[0][:_MOST_CHARACTERS]
