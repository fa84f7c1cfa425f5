"""Metrics against scikit-learn, against sums done by hand, and where a class is absent or never predicted."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as reference

from kdtrain.evaluation.metrics import (
    CLASS_METRICS,
    Scores,
    confusion_matrix,
    rank_classes,
    roc_auc,
    scores_from,
)


def _scores(confusion: list[list[int]]) -> Scores:
    counts = np.array(confusion)
    return scores_from(counts, np.full(counts.shape[:-1], np.nan))


def _auc(
    labels: list[int], probabilities: NDArray[np.float64], weights: list[float] | None = None
) -> list[float]:
    ranks = rank_classes(np.array(labels), probabilities, np.arange(len(labels)))
    weights_UB = np.array(weights or [1.0] * len(labels))[:, None]
    return [float(value) for value in roc_auc(ranks, weights_UB)[0]]


def test_one_vs_rest_by_hand() -> None:
    """Of ten items, class 0 has TP 3, FN 1, FP 2, TN 4: accuracy 7/10, precision 3/5, recall 3/4, F1 6/9."""
    scores = _scores([[3, 1], [2, 4]])
    assert scores.per_class["accuracy"][0] == pytest.approx(7 / 10)
    assert scores.per_class["precision"][0] == pytest.approx(3 / 5)
    assert scores.per_class["recall"][0] == pytest.approx(3 / 4)
    assert scores.per_class["f1"][0] == pytest.approx(6 / 9)


def test_one_vs_rest_accuracy_counts_the_other_classes_right() -> None:
    """Three classes: class 2 has TP 1, FN 1, FP 1 of nine, so (1 + 6)/9; the published code's N/(N+FP+FN) is 9/11."""
    scores = _scores([[3, 0, 0], [1, 2, 1], [0, 1, 1]])
    assert scores.per_class["accuracy"][2] == pytest.approx(7 / 9)
    assert scores.plain_accuracy == pytest.approx(6 / 9)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_all_metrics_agree_with_scikit_learn(classes: int) -> None:
    """On random labels and probabilities with all classes present, every metric is scikit-learn's to 1e-12."""
    generator = np.random.default_rng(classes)
    for size in (20, 200):
        labels = np.concatenate([np.arange(classes), generator.integers(0, classes, size)])
        probabilities = generator.dirichlet(np.ones(classes), len(labels)).round(1 if size == 20 else 12)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        predicted = probabilities.argmax(axis=1)
        confusion = confusion_matrix(labels, predicted, classes)
        auc = roc_auc(rank_classes(labels, probabilities, np.arange(len(labels))), np.ones((len(labels), 1)))[
            0
        ]
        scores = scores_from(confusion, auc)

        np.testing.assert_array_equal(confusion, reference.confusion_matrix(labels, predicted))
        expected = _reference_by_class(labels, predicted, probabilities, classes)
        for name in CLASS_METRICS:
            np.testing.assert_allclose(scores.per_class[name], expected[name], rtol=0, atol=1e-12)
            assert scores.macro[name] == pytest.approx(np.mean(expected[name]), abs=1e-12)
        assert scores.plain_accuracy == pytest.approx(reference.accuracy_score(labels, predicted))
        assert scores.balanced_accuracy == pytest.approx(reference.balanced_accuracy_score(labels, predicted))


def _reference_by_class(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], probabilities: NDArray[np.float64], classes: int
) -> dict[str, list[float]]:
    precision, recall, f1, _ = reference.precision_recall_fscore_support(labels, predicted, zero_division=0)
    numbers = range(classes)
    return {
        "accuracy": [reference.accuracy_score(labels == k, predicted == k) for k in numbers],
        "precision": list(precision),
        "recall": list(recall),
        "f1": list(f1),
        "auc": [reference.roc_auc_score(labels == k, probabilities[:, k]) for k in numbers],
    }


def test_macro_auc_is_scikit_learns_one_vs_rest() -> None:
    """The mean of the areas is roc_auc_score(multi_class="ovr", average="macro")."""
    generator = np.random.default_rng(0)
    labels = [0, 1, 2, *generator.integers(0, 3, 60).tolist()]
    probabilities = generator.dirichlet(np.ones(3), len(labels))
    expected = reference.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert np.mean(_auc(labels, probabilities)) == pytest.approx(expected, abs=1e-12)


def test_auc_by_hand_with_a_tie() -> None:
    """Class 1 at .9 and .5 against .5 and .1: of four pairs three are won and one tied, 3.5 / 4."""
    second = np.array([0.9, 0.5, 0.5, 0.1])
    assert _auc([1, 1, 0, 0], np.stack([1 - second, second], axis=1)) == pytest.approx([3.5 / 4, 3.5 / 4])


def test_whole_weights_are_copies() -> None:
    """Weights 2, 0, 1, 3 give the area of a table in which the items come 2, 0, 1 and 3 times."""
    second = np.array([0.9, 0.5, 0.5, 0.7])
    weights = [2, 0, 1, 3]
    labels = np.array([1, 1, 0, 0])
    expected = reference.roc_auc_score(np.repeat(labels, weights), np.repeat(second, weights))
    assert _auc(labels.tolist(), np.stack([1 - second, second], axis=1), [2.0, 0.0, 1.0, 3.0])[1] == expected


def test_units_of_many_items_weigh_like_their_items() -> None:
    """Areas from units of eight items are, to the last bit, those of the items one by one with their unit's weight."""
    generator = np.random.default_rng(0)
    labels, unit_of = generator.integers(0, 3, 80), np.repeat(np.arange(10), 8)
    probabilities = generator.dirichlet(np.ones(3), 80).round(1)
    weights_UB = generator.multinomial(10, [0.1] * 10, size=50).T.astype(np.float64)
    by_unit = roc_auc(rank_classes(labels, probabilities, unit_of), weights_UB)
    by_item = roc_auc(rank_classes(labels, probabilities, np.arange(80)), weights_UB[unit_of])
    np.testing.assert_array_equal(by_unit, by_item)


def test_auc_without_two_sides_is_undefined() -> None:
    """Where all items have class 0, no pair exists: the area of both classes is NaN, and so is the macro mean."""
    auc = np.array(_auc([0, 0], np.array([[0.9, 0.1], [0.6, 0.4]])))
    assert np.isnan(auc).all()
    assert np.isnan(scores_from(np.array([[2, 0], [0, 0]]), auc).macro["auc"])


def test_absent_class_is_left_out_of_every_macro_mean() -> None:
    """Without an item of class 2, its metrics are NaN and the macro means are over classes 0 and 1 alone."""
    scores = _scores([[3, 0, 1], [0, 4, 0], [0, 0, 0]])
    assert scores.present.tolist() == [True, True, False]
    for name in ("accuracy", "f1", "precision", "recall"):
        assert np.isnan(scores.per_class[name][2])
    assert scores.macro["recall"] == pytest.approx((3 / 4 + 1) / 2)
    assert scores.macro["accuracy"] == pytest.approx((7 / 8 + 8 / 8) / 2)
    assert scores.balanced_accuracy == scores.macro["recall"]


def test_class_never_predicted_has_precision_zero_and_is_named() -> None:
    """Class 1 is there but never predicted: precision, recall and F1 are 0 as scikit-learn's, and it is flagged."""
    scores = _scores([[3, 0], [2, 0]])
    assert scores.per_class["precision"].tolist() == [pytest.approx(3 / 5), 0]
    assert scores.per_class["f1"][1] == scores.per_class["recall"][1] == 0
    assert scores.macro["precision"] == pytest.approx(3 / 10)
    assert scores.never_predicted.tolist() == [False, True]


def test_perfect_and_inverted_predictions() -> None:
    """A diagonal confusion scores 1 everywhere, an anti-diagonal one 0."""
    perfect, inverted = _scores([[5, 0], [0, 5]]), _scores([[0, 5], [5, 0]])
    for name in ("accuracy", "f1", "precision", "recall"):
        assert perfect.macro[name] == 1
        assert inverted.macro[name] == 0


def test_leading_axes_are_independent_and_silent() -> None:
    """A stack of confusions, an empty one and one with an absent class among them, scores as they do one by one."""
    stack = np.array([[[3, 1], [2, 4]], [[0, 0], [0, 0]], [[3, 1], [0, 0]]])
    auc = np.array([[0.7, 0.7], [np.nan, np.nan], [np.nan, np.nan]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together = scores_from(stack, auc)
    for number in range(3):
        alone = scores_from(stack[number], auc[number])
        for name in CLASS_METRICS:
            np.testing.assert_array_equal(together.macro[name][number], alone.macro[name])
            np.testing.assert_array_equal(together.per_class[name][number], alone.per_class[name])
    assert np.isnan(together.plain_accuracy[1])


def test_pairs_are_of_one_network_where_several_scored_the_items():
    """One network has its single pair wrong, the other its four right: 4/5; weighted, as counted pair by pair."""
    labels = np.array([1, 0, 1, 1, 0, 0])
    scores = np.array([0.1, 0.9, 0.6, 0.5, 0.4, 0.4])
    blocks = np.array([1, 1, 2, 2, 2, 2])
    probabilities = np.stack([1 - scores, scores], axis=1)
    ranks = rank_classes(labels, probabilities, np.arange(6), blocks)
    assert roc_auc(ranks, np.ones((6, 1)))[0].tolist() == [0.8, 0.8]
    weights_UB = np.random.default_rng(0).integers(0, 4, size=(6, 50)).astype(float)
    for draw, found in zip(weights_UB.T, roc_auc(ranks, weights_UB)[:, 1], strict=True):
        pairs = [
            (i, j) for i in range(6) for j in range(6) if labels[i] > labels[j] and blocks[i] == blocks[j]
        ]
        total = sum(draw[i] * draw[j] for i, j in pairs)
        won = sum(
            draw[i] * draw[j] * ((scores[i] > scores[j]) + (scores[i] == scores[j]) / 2) for i, j in pairs
        )
        assert np.isnan(found) if not total else found == pytest.approx(won / total)


def test_one_network_in_one_block_has_the_area_of_no_blocks():
    """Forty items of three classes, with ties."""
    generator = np.random.default_rng(1)
    labels, probabilities = generator.integers(0, 3, 40), generator.integers(0, 5, (40, 3)) / 5
    weights_UB = generator.integers(0, 3, size=(40, 20)).astype(float)
    plain, blocked = (
        roc_auc(rank_classes(labels, probabilities, np.arange(40), blocks), weights_UB)
        for blocks in (None, np.zeros(40, dtype=np.int64))
    )
    np.testing.assert_allclose(blocked, plain)
