"""Vectorised draws against a loop that resamples tables, and what a draw is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as reference

from kdtrain.evaluation.bootstrap import Outcomes, bootstrap, draw_counts, interval, score
from kdtrain.evaluation.metrics import CLASS_METRICS


def _outcomes(size: int, classes: int, *, seed: int, units: int | None = None) -> Outcomes:
    generator = np.random.default_rng(seed)
    return Outcomes(
        labels=np.arange(size) % classes,
        probabilities=generator.dirichlet(np.ones(classes), size).round(2),
        unit_of=np.arange(size) // (size // units) if units else np.arange(size),
    )


def _resample_slowly(outcomes: Outcomes, draws: int, seed: int) -> list[dict[str, float]]:
    """Macro metrics of every draw by indexing the table and asking scikit-learn, with the same random numbers.

    NaN where the draw lacks a class of the table.
    """
    generator = np.random.default_rng(seed)
    found = []
    for drawn in generator.integers(0, outcomes.units, size=(draws, outcomes.units)):
        chosen = np.concatenate([np.flatnonzero(outcomes.unit_of == unit) for unit in drawn])
        whole = set(outcomes.labels[chosen]) == set(outcomes.labels)
        macro = _macro(outcomes.labels[chosen], outcomes.probabilities[chosen])
        found.append(macro if whole else dict.fromkeys(macro, np.nan))
    return found


def _macro(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> dict[str, float]:
    predicted, present = probabilities.argmax(axis=1), np.unique(labels)
    precision, recall, f1, _ = reference.precision_recall_fscore_support(
        labels, predicted, labels=present, average="macro", zero_division=0
    )
    areas = [reference.roc_auc_score(labels == k, probabilities[:, k]) for k in present if len(present) > 1]
    return {
        "accuracy": float(np.mean([np.mean((labels == k) == (predicted == k)) for k in present])),
        "f1": f1,
        "precision": precision,
        "recall": recall,
        "auc": float(np.mean(areas)) if areas else np.nan,
    }


@pytest.mark.parametrize(("size", "units"), [(60, None), (60, 12), (7, None), (6, 3)])
def test_every_draw_is_that_of_a_slow_loop(size: int, units: int | None) -> None:
    """Draw by draw, by sample and by cluster, tied, macros are those of resampled tables, or NaN without a class."""
    outcomes = _outcomes(size, 3, seed=1, units=units)
    slow = _resample_slowly(outcomes, 60, seed=5)
    fast = bootstrap([outcomes], iterations=60, seed=5)[0]
    for name in CLASS_METRICS:
        np.testing.assert_allclose(fast.macro[name], [draw[name] for draw in slow], rtol=0, atol=1e-12)
    assert size > 7 or not fast.present.all()


def test_interval_is_that_of_a_slow_loop() -> None:
    """The 95 % interval of the macro F1 is the 2.5th and 97.5th percentiles of the slow draws."""
    outcomes = _outcomes(40, 3, seed=2)
    slow = [draw["f1"] for draw in _resample_slowly(outcomes, 100, seed=0)]
    found = interval(bootstrap([outcomes], iterations=100, seed=0)[0].macro["f1"])
    assert [found.low, found.high] == pytest.approx(np.percentile(slow, [2.5, 97.5]).tolist(), abs=1e-12)


def test_interval_of_an_accuracy_is_the_binomial_one() -> None:
    """80 of 100 right: the bootstrap distribution is binomial(100, 0.8) / 100, its percentiles 0.72 and 0.87."""
    labels = np.zeros(100, dtype=np.int64)
    right = np.where(np.arange(100) < 80, 0.9, 0.1)
    outcomes = Outcomes(
        labels=labels, probabilities=np.stack([right, 1 - right], axis=1), unit_of=np.arange(100)
    )
    found = interval(bootstrap([outcomes], iterations=10_000, seed=0)[0].plain_accuracy)
    assert found.low == pytest.approx(0.72, abs=0.011)
    assert found.high == pytest.approx(0.87, abs=0.011)


def test_patients_are_drawn_whole() -> None:
    """Two patients of three alike samples, one all right and one all wrong: a draw's accuracy is 0, 1/2 or 1."""
    probabilities = np.array([[0.9, 0.1]] * 3 + [[0.1, 0.9]] * 3)
    outcomes = Outcomes(
        labels=np.zeros(6, dtype=np.int64), probabilities=probabilities, unit_of=np.array([0, 0, 0, 1, 1, 1])
    )
    draws = bootstrap([outcomes], iterations=200, seed=0)[0].plain_accuracy
    assert set(draws.tolist()) == {0.0, 0.5, 1.0}


def test_alike_samples_of_a_patient_widen_the_interval() -> None:
    """Ten patients of ten identical samples: the interval by patient is about √10 times that by sample."""
    right = np.repeat(np.arange(10) < 7, 10)
    probabilities = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    widths = []
    for unit_of in (np.arange(100), np.arange(100) // 10):
        outcomes = Outcomes(
            labels=np.zeros(100, dtype=np.int64), probabilities=probabilities, unit_of=unit_of
        )
        found = interval(bootstrap([outcomes], iterations=4000, seed=0)[0].plain_accuracy)
        assert found.low is not None and found.high is not None
        widths.append(found.high - found.low)
    assert widths[1] / widths[0] == pytest.approx(10**0.5, rel=0.2)


def test_models_share_their_draws() -> None:
    """A model against itself differs by exactly 0 in every draw, and a second model does not change the first."""
    outcomes, other = _outcomes(30, 3, seed=1), _outcomes(30, 3, seed=2)
    one, again, third = bootstrap([outcomes, outcomes, other], iterations=50, seed=0)
    alone = bootstrap([outcomes], iterations=50, seed=0)[0]
    for name in CLASS_METRICS:
        np.testing.assert_array_equal(one.macro[name], again.macro[name])
        np.testing.assert_array_equal(one.macro[name], alone.macro[name])
    assert not np.array_equal(one.macro["f1"], third.macro["f1"])


def test_models_of_different_units_are_refused() -> None:
    """Outcomes of 30 and of 40 items cannot be paired."""
    with pytest.raises(ValueError, match=r"models of \[30, 40\] units cannot share draws"):
        bootstrap([_outcomes(30, 3, seed=1), _outcomes(40, 3, seed=1)], iterations=5, seed=0)


def test_draws_depend_on_the_seed_alone() -> None:
    """Counts are the same in chunks of 1, 7 and 100 draws, add up to the units, and change with the seed."""
    whole = np.concatenate(list(draw_counts(11, iterations=20, seed=3, at_once=100)), axis=1)
    assert (whole.sum(axis=0) == 11).all()
    for at_once in (1, 7):
        chunks = list(draw_counts(11, iterations=20, seed=3, at_once=at_once))
        np.testing.assert_array_equal(np.concatenate(chunks, axis=1), whole)
    other = np.concatenate(list(draw_counts(11, iterations=20, seed=4, at_once=100)), axis=1)
    assert not np.array_equal(other, whole)


def test_units_are_drawn_evenly() -> None:
    """Over 10 000 draws every unit comes up once a draw on average, with variance 1 - 1/U."""
    counts = np.concatenate(list(draw_counts(10, iterations=10_000, seed=0, at_once=1000)), axis=1)
    np.testing.assert_allclose(counts.mean(axis=1), 1, atol=0.05)
    np.testing.assert_allclose(counts.var(axis=1), 0.9, atol=0.06)


def test_draws_without_a_class_are_left_out_and_counted() -> None:
    """A class of two items in five is missing from about (3/5)^5 of draws; its recall has no value there."""
    outcomes = Outcomes(
        labels=np.array([0, 0, 0, 1, 1]), probabilities=np.tile([0.4, 0.6], (5, 1)), unit_of=np.arange(5)
    )
    draws = bootstrap([outcomes], iterations=2000, seed=0)[0]
    found = interval(draws.per_class["recall"][:, 1])
    assert found.undefined_draws == int((~draws.present[:, 1]).sum())
    assert found.undefined_draws / 2000 == pytest.approx(0.6**5, abs=0.03)
    assert (found.low, found.high) == (1, 1)


def _all_called_first(*counts: int) -> Outcomes:
    """So many items of each class, each of its own patient, all given to the first class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    said = np.tile(np.eye(len(counts))[0] * 0.5 + 0.5 / len(counts), (len(labels), 1))
    return Outcomes(labels=labels, probabilities=said, unit_of=np.arange(len(labels)))


def test_a_draw_of_one_class_alone_does_not_score_100() -> None:
    """4:2:2, all called the first: F1 is (2a / (a + 8)) / 3, a of the first drawn; at most six are, 28.6 %.

    By hand over the same draws: those that lack a class are left out, and the rest gives the percentiles.
    """
    outcomes = _all_called_first(4, 2, 2)
    drawn = outcomes.labels[np.random.default_rng(0).integers(0, 8, size=(4000, 8))]
    counts = np.stack([(drawn == k).sum(axis=1) for k in range(3)], axis=1)
    whole = counts[(counts > 0).all(axis=1), 0]
    by_hand = np.percentile(2 * whole / (whole + 8) / 3, [2.5, 97.5])
    found = interval(bootstrap([outcomes], iterations=4000, seed=0)[0].macro["f1"])
    assert [found.low, found.high] == pytest.approx(by_hand.tolist(), abs=1e-12)
    assert found.undefined_draws == 4000 - len(whole)
    assert found.high is not None and found.high <= 2 / 7 + 1e-12


def test_a_class_of_one_patient_leaves_the_means_without_interval() -> None:
    """4:1:1: no mean over classes and nothing of the two single ones has an interval; the first class and plain have.

    By hand: plain accuracy is the share of the first class in a draw of six, of four in six.
    """
    outcomes = _all_called_first(4, 1, 1)
    draws = bootstrap([outcomes], iterations=4000, seed=0)[0]
    for name in CLASS_METRICS:
        assert interval(draws.macro[name]).low is None
        assert [interval(draws.per_class[name][:, k]).low for k in (1, 2)] == [None, None]
        assert interval(draws.per_class[name][:, 0]).low is not None
    assert interval(draws.balanced_accuracy).low is None
    drawn = np.random.default_rng(0).integers(0, 6, size=(4000, 6))
    by_hand = np.percentile((drawn < 4).mean(axis=1), [2.5, 97.5])
    found = interval(draws.plain_accuracy)
    assert [found.low, found.high] == pytest.approx(by_hand.tolist(), abs=1e-12)


def test_the_area_needs_two_patients_on_either_side() -> None:
    """4:1: the first class's recall has an interval, but not its AUC, which is against one patient alone."""
    draws = bootstrap([_all_called_first(4, 1)], iterations=200, seed=0)[0]
    assert interval(draws.per_class["recall"][:, 0]).low == 1
    assert interval(draws.per_class["auc"][:, 0]).low is None


def test_patients_of_several_classes_count_for_each() -> None:
    """Three patients with a sample of both classes, one all right: every draw has both, and of 1 in 27 recall is 1."""
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    outcomes = Outcomes(labels=np.array([0, 1] * 3), probabilities=probabilities, unit_of=np.arange(6) // 2)
    assert outcomes.units_with_class.tolist() == outcomes.units_with_others.tolist() == [3, 3]
    found = interval(bootstrap([outcomes], iterations=4000, seed=0)[0].macro["recall"])
    assert (found.low, found.high, found.undefined_draws) == (0.5, 1, 0)


def test_an_area_of_one_class_is_undefined() -> None:
    """Items of one class alone, all right: recall is 1 with an interval, and the area has no value at all."""
    outcomes = _all_called_first(5, 0)
    assert float(score(outcomes).macro["recall"]) == 1
    assert np.isnan(score(outcomes).macro["auc"])
    draws = bootstrap([outcomes], iterations=50, seed=0)[0]
    assert (interval(draws.macro["recall"]).low, interval(draws.macro["auc"]).low) == (1, None)


def test_interval_of_nothing_is_none() -> None:
    """Draws that are all undefined give no bounds, and their number."""
    found = interval(np.full(7, np.nan))
    assert (found.low, found.high, found.undefined_draws) == (None, None, 7)


def test_one_unit_makes_no_draw() -> None:
    """A single patient gives no draws, so no interval of width 0."""
    outcomes = _outcomes(6, 3, seed=0, units=1)
    draws = bootstrap([outcomes], iterations=100, seed=0)[0]
    assert draws.plain_accuracy.shape == (0,)
    assert interval(draws.plain_accuracy).low is None


def test_point_score_is_the_draw_of_every_unit_once() -> None:
    """The score of 30 items in 10 units is scikit-learn's on the items themselves."""
    outcomes = _outcomes(30, 3, seed=4, units=10)
    expected = _macro(outcomes.labels, outcomes.probabilities)
    found = score(outcomes)
    assert {name: float(found.macro[name]) for name in CLASS_METRICS} == pytest.approx(expected, abs=1e-12)
