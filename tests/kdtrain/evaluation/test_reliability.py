"""Calibration error, Brier score, log-loss against scikit-learn, hand counts and slow draws; what chance explains."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from kdtrain.evaluation.bootstrap import Outcomes
from kdtrain.evaluation.reliability import (
    BINS,
    Chance,
    bin_items,
    chance,
    measure,
    measure_draws,
    measure_intervals,
    reflected,
)


def _outcomes(said: list[list[float]], labels: list[int], units: list[int] | None = None) -> Outcomes:
    return Outcomes(
        labels=np.array(labels, dtype=np.int64),
        probabilities=np.array(said, dtype=np.float64).reshape(len(labels), -1),
        unit_of=np.array(range(len(labels)) if units is None else units, dtype=np.int64),
    )


def _random(size: int = 90, classes: int = 3, per_unit: int = 3) -> Outcomes:
    generator = np.random.default_rng(1)
    return Outcomes(
        labels=generator.integers(0, classes, size),
        probabilities=generator.dirichlet(np.ones(classes), size),
        unit_of=np.arange(size) // per_unit,
    )


FOUR = _outcomes([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]], [0, 1, 1, 1])
"""Said 90 % twice and right once; said 60 % twice and right twice: 40 points off in each bin."""


def test_four_samples_by_hand() -> None:
    """ECE (2 * 0.4 + 2 * 0.4) / 4, Brier (0.02 + 1.62 + 0.32 + 0.32) / 4, log-loss of 0.9, 0.1, 0.6 and 0.6."""
    found = measure(FOUR)
    assert float(found["ece"]) == pytest.approx(0.4)
    assert float(found["brier"]) == pytest.approx(0.57)
    assert float(found["log_loss"]) == pytest.approx(-np.log([0.9, 0.1, 0.6, 0.6]).mean())


@pytest.mark.parametrize("classes", [2, 4])
def test_brier_score_and_log_loss_are_scikit_learns(classes: int) -> None:
    """Brier score as the sum over the classes of scikit-learn's of each: its own of two classes counts one of them."""
    outcomes = _random(classes=classes)
    found = measure(outcomes)
    each = [
        brier_score_loss(outcomes.labels == number, outcomes.probabilities[:, number])
        for number in range(classes)
    ]
    assert float(found["brier"]) == pytest.approx(sum(each))
    expected = log_loss(outcomes.labels, outcomes.probabilities, labels=range(classes))
    assert float(found["log_loss"]) == pytest.approx(expected)


def test_the_bins_hold_their_upper_end() -> None:
    """In 15 bins 60 % and 1 are last of the 9th and the 15th; empty ones are NaN."""
    bins = bin_items(_outcomes([[0.6, 0.4], [1.0, 0.0], [0.601, 0.399]], [0, 0, 1]))
    assert np.flatnonzero(bins.count).tolist() == [8, 9, 14]
    assert bins.right[[8, 9, 14]].tolist() == [1, 0, 1]
    assert np.isnan(bins.confidence[0])


def test_every_draw_is_that_of_a_slow_loop() -> None:
    """Draw by draw, by patient: the measures of resampled tables, for two models over the same draws."""
    first = _random()
    second = Outcomes(labels=first.labels, probabilities=first.probabilities[:, ::-1], unit_of=first.unit_of)
    generator = np.random.default_rng(5)
    drawn = measure_draws([first, second], iterations=20, seed=5)
    for number, units in enumerate(generator.integers(0, first.units, size=(20, first.units))):
        rows = np.concatenate([np.flatnonzero(first.unit_of == unit) for unit in units])
        for model, draws in zip((first, second), drawn, strict=True):
            slow = measure(
                Outcomes(
                    labels=model.labels[rows],
                    probabilities=model.probabilities[rows],
                    unit_of=np.arange(len(rows)),
                )
            )
            for name, value in slow.items():
                assert draws[name][number] == pytest.approx(float(value), abs=1e-12)


def test_one_unit_has_no_draws_and_no_items_no_number() -> None:
    """One patient says nothing of others; of nothing, nothing is measured."""
    alone = _outcomes([[0.9, 0.1], [0.4, 0.6]], [0, 1], [0, 0])
    assert len(measure_draws([alone], iterations=50, seed=0)[0]["ece"]) == 0
    nothing = Outcomes(
        labels=np.empty(0, np.int64), probabilities=np.empty((0, 2)), unit_of=np.empty(0, np.int64)
    )
    assert all(np.isnan(float(value)) for value in measure(nothing).values())
    assert chance(nothing) is None


def test_chance_is_the_error_of_a_network_that_says_the_truth() -> None:
    """One sample said 80 %: 20 % off in 4 of 5 cases, 80 % off in the fifth, 32 % on average; of 400 it is 1.6 %."""
    one = chance(_outcomes([[0.8, 0.2]], [0]))
    assert one is not None
    assert one.mean == pytest.approx(0.32, abs=0.03)
    assert one.high == pytest.approx(0.8)
    many = chance(_outcomes([[0.8, 0.2]] * 400, [0] * 400))
    assert many is not None
    # sqrt(2 / pi) * sqrt(0.8 * 0.2 / 400), the mean of a normal number's absolute value.
    assert many.mean == pytest.approx(0.016, abs=0.002)


def test_a_reflected_interval_takes_off_what_draws_add() -> None:
    """Draws 2 above the value end up 2 below it, as far from it as before, but not below the least."""
    draws = np.linspace(11, 13, 101)
    found = reflected(10.0, draws)
    assert (found.low, found.high) == pytest.approx((7.05, 8.95))
    held = reflected(10.0, draws, least=8.0)
    assert (held.low, held.high) == pytest.approx((8.0, 8.95))
    assert reflected(1.0, np.empty(0)).low is None


def test_an_ece_that_chance_explains_begins_at_0() -> None:
    """Below what 97.5 % of honest networks show, 0 is in the interval; above it, it may not be."""
    values = {name: np.array(0.3) for name in ("ece", "brier", "log_loss")}
    draws = {name: np.linspace(0.28, 0.36, 100) for name in values}
    honest = measure_intervals(values, draws, Chance(mean=0.2, high=0.31))
    assert honest["ece"].low == 0
    assert honest["ece"].high == pytest.approx(0.318, abs=1e-3)
    wrong = measure_intervals(values, draws, Chance(mean=0.1, high=0.2))
    assert wrong["ece"].low == pytest.approx(0.242, abs=1e-3)
    assert wrong["brier"].low == pytest.approx(0.282, abs=1e-3)


def test_the_interval_holds_what_percentiles_miss() -> None:
    """Of 30 honest networks on 40 patients nearly all intervals hold an ECE of 0, and no percentile interval does."""
    generator = np.random.default_rng(0)
    held = by_percentile = 0
    for number in range(30):
        said = generator.uniform(0.5, 1, 120)
        outcomes = Outcomes(
            labels=(generator.random(120) > said).astype(np.int64),
            probabilities=np.column_stack([said, 1 - said]),
            unit_of=np.arange(120) // 3,
        )
        draws = measure_draws([outcomes], iterations=200, seed=number)[0]
        bounds = measure_intervals(measure(outcomes), draws, chance(outcomes))["ece"]
        held += bounds.low == 0
        by_percentile += float(np.quantile(draws["ece"], 0.025)) < 0.01
    assert held >= 27
    assert by_percentile == 0
    assert BINS == 15
