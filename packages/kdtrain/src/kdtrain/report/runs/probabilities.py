"""How far a group's probabilities may be believed, by tissue sample: measures with intervals, bins, and abstention.

In: runs of one method on the same samples. Out: means over the seeds, on the draws of the report's other numbers. Of
runs that are calibrated, everything is of the calibrated probabilities, and the measures of those before stand beside.

Abstention: where a network answers only for the share of samples that it is surest of, how often is it right? Samples
of one probability are left out together, as if in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kdtrain.evaluation.bootstrap import Interval, Outcomes, Unit, draw_counts, interval
from kdtrain.evaluation.metrics import FloatArray, IntArray
from kdtrain.evaluation.predictions import items_at
from kdtrain.evaluation.record import outcomes_of
from kdtrain.evaluation.reliability import (
    MEASURES,
    Chance,
    chance,
    measure,
    measure_draws,
    measure_intervals,
    said_and_right,
)
from kdtrain.report.runs.groups import RunGroup
from kdtrain.report.runs.scoring import Estimate

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
"""Of the samples, that are answered."""
BAND_DRAWS = 1000
"""At most: a curve's interval needs no more, and a report has many."""
MOST_BINS, LEAST_IN_BIN = 10, 20
"""Of a reliability diagram: of as many samples each, since of a hundred most of the ECE's bins would have a handful."""
LEAST_UNITS = 5
"""In a bin, for an interval of it: of fewer, draws are too alike."""


@dataclass(frozen=True, kw_only=True)
class Belief:
    """Measures of a group, by the names of MEASURES.

    Attributes:
        estimates: With intervals.
        chance: The mean and the upper end of the ECE of networks that are right as often as they say; None of no item.
    """

    estimates: Mapping[str, Estimate]
    chance: Chance | None


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Samples of all seeds whose predicted class has about the same probability.

    Attributes:
        count: Samples, each once a seed.
        said: Mean probability of the predicted class.
        right: Share that is right.
        low: Lower end of the interval of that share; None where there are fewer than LEAST_UNITS units.
        high: Upper end.
    """

    count: int
    said: float
    right: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Probabilities:
    """What a report shows of a group's probabilities.

    Attributes:
        temperatures: Of every seed; None where it is not calibrated.
        believed: Of the probabilities that are answered.
        before: Of the softmax as it is; None where no seed is calibrated.
        bins: Of the probabilities that are answered, by rising probability.
        bins_before: The same of the softmax; none where no seed is calibrated.
        answered: Accuracy of the surest, by SHARES.
    """

    temperatures: tuple[float | None, ...]
    believed: Belief
    before: Belief | None
    bins: tuple[Bin, ...]
    bins_before: tuple[Bin, ...]
    answered: tuple[Estimate, ...]


def probabilities_of(group: RunGroup, *, unit: Unit, iterations: int, seed: int) -> Probabilities:
    """Everything about a group's probabilities.

    Args:
        group: Its runs.
        unit: What the bootstrap draws.
        iterations: Draws.
        seed: Seed of the draws.
    """
    temperatures = tuple(run.temperature for run in group.runs)
    softmax = [outcomes_of(items_at("sample", run.predictions), unit) for run in group.runs]
    said = [
        outcomes_of(items_at("sample", run.predictions, run.applied_temperature), unit) for run in group.runs
    ]
    calibrated = any(temperature is not None for temperature in temperatures)
    fewer = min(iterations, BAND_DRAWS)
    return Probabilities(
        temperatures=temperatures,
        believed=_belief(said, iterations, seed),
        before=_belief(softmax, iterations, seed) if calibrated else None,
        bins=tuple(_bins(said, fewer, seed)),
        bins_before=tuple(_bins(softmax, fewer, seed)) if calibrated else (),
        answered=tuple(_answered(said, fewer, seed)),
    )


def _belief(models: Sequence[Outcomes], iterations: int, seed: int) -> Belief:
    values = [measure(one) for one in models]
    drawn = measure_draws(models, iterations=iterations, seed=seed)
    means = {name: np.mean([one[name] for one in values], axis=0) for name in MEASURES}
    draws = {name: np.mean([one[name] for one in drawn], axis=0) for name in MEASURES}
    by_chance = [found for one in models if (found := chance(one)) is not None]
    mean_chance = (
        Chance(
            mean=float(np.mean([one.mean for one in by_chance])),
            high=float(np.mean([one.high for one in by_chance])),
        )
        if by_chance
        else None
    )
    bounds = measure_intervals(means, draws, mean_chance)
    return Belief(
        estimates={
            name: _estimate(float(means[name]), bounds[name], [float(one[name]) for one in values])
            for name in MEASURES
        },
        chance=mean_chance,
    )


def _estimate(value: float, bounds: Interval, by_seed: Sequence[float]) -> Estimate:
    return Estimate(
        value=None if np.isnan(value) else value, low=bounds.low, high=bounds.high, by_seed=tuple(by_seed)
    )


def _bins(models: Sequence[Outcomes], iterations: int, seed: int) -> Iterator[Bin]:
    """Samples of all seeds by rising probability, cut into bins of as many each; equal ones stay together."""
    pairs = [said_and_right(one) for one in models]
    said_N, right_N = (np.concatenate(values) for values in zip(*pairs, strict=True))
    unit_N = np.concatenate([one.unit_of for one in models])
    bins = min(MOST_BINS, max(1, len(said_N) // len(models) // LEAST_IN_BIN))
    edges = np.sort(said_N)[[len(said_N) * number // bins for number in range(1, bins)]]
    bin_N = np.searchsorted(np.unique(edges), said_N, side="right")
    units, draws = models[0].units, iterations if models[0].units > 1 else 0
    chunks = list(draw_counts(units, iterations=draws, seed=seed, at_once=max(1, draws)))
    drawn_BU = chunks[0].T if chunks else np.empty((0, units))
    for number in np.unique(bin_N).tolist():
        there = bin_N == number
        held_U, hits_U = (
            np.bincount(unit_N[there], weights=values, minlength=units)
            for values in (np.ones(int(there.sum())), right_N[there])
        )
        held_B = drawn_BU @ held_U
        shares_B = (drawn_BU @ hits_U)[held_B > 0] / held_B[held_B > 0]
        enough = np.count_nonzero(held_U) >= LEAST_UNITS
        bounds = interval(shares_B if enough else np.empty(0))
        yield Bin(
            count=int(there.sum()),
            said=float(said_N[there].mean()),
            right=float(right_N[there].mean()),
            low=bounds.low,
            high=bounds.high,
        )


def _answered(models: Sequence[Outcomes], iterations: int, seed: int) -> Iterator[Estimate]:
    units = models[0].units
    values_SR = np.array([_curve(*_surest_first(one), np.ones(len(one.labels))) for one in models])
    draws = iterations if units > 1 else 0
    ordered = [(*_surest_first(one), one.unit_of) for one in models]
    drawn = []
    for counts_UB in draw_counts(units, iterations=draws, seed=seed, at_once=max(1, draws)):
        for weights_U in counts_UB.T:
            curves = [
                _curve(order, right, ties, weights_U[unit_of]) for order, right, ties, unit_of in ordered
            ]
            drawn.append(np.mean(curves, axis=0))
    draws_BR = np.array(drawn).reshape(len(drawn), len(SHARES))
    for place in range(len(SHARES)):
        by_seed = values_SR[:, place]
        yield _estimate(float(by_seed.mean()), interval(draws_BR[:, place]), by_seed.tolist())


def _surest_first(outcomes: Outcomes) -> tuple[IntArray, FloatArray, IntArray]:
    """(N) items by falling probability of their predicted class, whether each is right, and where each tie ends."""
    said_N, right_N = said_and_right(outcomes)
    order_N = np.argsort(-said_N, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(said_N[order_N]) != 0, True))
    return order_N, right_N[order_N], ends


def _curve(order_N: IntArray, right_N: FloatArray, ends: IntArray, weights_N: FloatArray) -> FloatArray:
    """Accuracy of the surest items that make up each of SHARES; NaN where nothing weighs anything."""
    weighed_N = weights_N[order_N]
    answered, hits = (np.append(0.0, np.cumsum(values)[ends]) for values in (weighed_N, weighed_N * right_N))
    wanted = np.array(SHARES) * answered[-1]
    if not answered[-1]:
        return np.full(len(SHARES), np.nan)
    curve: FloatArray = np.interp(wanted, answered, hits) / wanted
    return curve
