"""A number with its interval as metrics.json has it, and those of a level's probabilities. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

from kdtrain.evaluation.bootstrap import Interval, Outcomes
from kdtrain.evaluation.reliability import (
    MEASURES,
    Measures,
    chance,
    measure,
    measure_draws,
    measure_intervals,
)


class EstimateRecord(TypedDict):
    """A metric and its interval."""

    value: float | None
    low: float | None
    """Null where there are fewer than two units, of the class or, for a mean over classes, of any class that is there:
    one patient says nothing about others."""
    high: float | None
    undefined_draws: int
    """Draws that the interval leaves out because the metric is undefined there."""


class ChanceRecord(TypedDict):
    """The ECE that a network would show on these items whose probabilities are all true."""

    mean: float
    high: float
    """97.5 % of such networks stay below."""


class ProbabilitiesRecord(TypedDict):
    """How far a level's probabilities may be believed; of the first three less is better."""

    ece: EstimateRecord
    """Expected calibration error, 15 bins of the probability of the predicted class; its interval is reflected, and
    begins at 0 where chance alone would explain the value."""
    brier: EstimateRecord
    """Summed over the classes, 0 to 2."""
    log_loss: EstimateRecord
    """In nats."""
    ece_by_chance: ChanceRecord | None
    """Null where there is no item."""


def estimate_record(value: float, bounds: Interval) -> EstimateRecord:
    """A metric with its interval."""
    return {
        "value": null_if_nan(value),
        "low": bounds.low,
        "high": bounds.high,
        "undefined_draws": bounds.undefined_draws,
    }


def null_if_nan(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value


def probabilities_records(
    models: Sequence[Outcomes], *, iterations: int, seed: int
) -> list[ProbabilitiesRecord]:
    """The measures of every model with their intervals, over the same draws.

    Args:
        models: Outcomes of the same units.
        iterations: Bootstrap draws.
        seed: Seed of the draws.
    """
    drawn = measure_draws(models, iterations=iterations, seed=seed)
    return [_record(outcomes, draws) for outcomes, draws in zip(models, drawn, strict=True)]


def _record(outcomes: Outcomes, draws: Measures) -> ProbabilitiesRecord:
    values, by_chance = measure(outcomes), chance(outcomes)
    bounds = measure_intervals(values, draws, by_chance)
    found = {name: estimate_record(float(values[name]), bounds[name]) for name in MEASURES}
    return {
        "ece": found["ece"],
        "brier": found["brier"],
        "log_loss": found["log_loss"],
        "ece_by_chance": None if by_chance is None else {"mean": by_chance.mean, "high": by_chance.high},
    }
