"""The record of an evaluation: its numbers on a table done by hand, its levels, and its files."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as reference

from kdtrain.evaluation.metrics import CLASS_METRICS
from kdtrain.evaluation.predictions import Prediction, PredictionsError, read_predictions_csv
from kdtrain.evaluation.record import LevelRecord, evaluate_predictions, evaluation_folder, write_evaluation

CLASSES = ("A", "B", "C")


def _prediction(number: int, *, label: int, probabilities: tuple[float, ...], patient: int = 0) -> Prediction:
    return Prediction(
        key=f"k{number:03}",
        slide=f"s{number // 2:03}",
        patient=f"p{patient}",
        label=label,
        probabilities=probabilities,
    )


def _random_predictions(size: int = 60) -> list[Prediction]:
    """Slides of two samples, patients of six with one class each."""
    generator = np.random.default_rng(0)
    return [
        _prediction(
            number,
            label=number // 6 % 3,
            patient=number // 6,
            probabilities=tuple(generator.dirichlet(np.ones(3)).tolist()),
        )
        for number in range(size)
    ]


def _values(level: LevelRecord) -> dict[str, float | None]:
    return {name: level["macro"][name]["value"] for name in CLASS_METRICS}


def test_record_by_hand() -> None:
    """Four samples, three right, class C absent: the confusion, the counts and plain accuracy 3/4 are as by hand."""
    sure_a, sure_b = (0.8, 0.1, 0.1), (0.1, 0.8, 0.1)
    predictions = [
        _prediction(0, label=0, probabilities=sure_a, patient=1),
        _prediction(1, label=0, probabilities=sure_a, patient=1),
        _prediction(2, label=1, probabilities=sure_b, patient=2),
        _prediction(3, label=1, probabilities=sure_a, patient=2),
    ]
    sample = evaluate_predictions(predictions, CLASSES, iterations=50)["levels"]["sample"]
    assert (sample["n"], sample["units"]) == (4, 2)
    assert sample["confusion"] == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert sample["class_counts"] == {"A": 2, "B": 2, "C": 0}
    assert sample["absent_classes"] == ["C"]
    assert sample["plain_accuracy"]["value"] == 3 / 4
    assert sample["macro"]["precision"]["value"] == pytest.approx((2 / 3 + 1) / 2)
    assert sample["per_class"]["C"]["recall"] == {
        "value": None,
        "low": None,
        "high": None,
        "undefined_draws": 50,
    }


def test_levels_are_those_of_mean_probabilities() -> None:
    """By slide and by patient, macro F1 is scikit-learn's on the argmax of the mean probabilities."""
    predictions = _random_predictions()
    levels = evaluate_predictions(predictions, CLASSES, iterations=10)["levels"]
    probabilities = np.array([one.probabilities for one in predictions])
    labels = np.array([one.label for one in predictions])
    for level, samples in (("sample", 1), ("slide", 2), ("patient", 6)):
        means = probabilities.reshape(-1, samples, 3).mean(axis=1)
        expected = reference.f1_score(
            labels[::samples], means.argmax(axis=1), average="macro", zero_division=0
        )
        assert levels[level]["n"] == 60 // samples
        assert levels[level]["macro"]["f1"]["value"] == pytest.approx(expected, abs=1e-12)


def test_intervals_hold_their_values() -> None:
    """At every level low ≤ value ≤ high for every macro metric of a table with all classes, and low < high."""
    levels = evaluate_predictions(_random_predictions(), CLASSES, iterations=500)["levels"]
    for level in levels.values():
        for estimate in level["macro"].values():
            assert (
                estimate["low"] is not None and estimate["value"] is not None and estimate["high"] is not None
            )
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
            assert estimate["low"] < estimate["high"]


def test_unit_decides_what_is_drawn() -> None:
    """By patient there are 10 units at every level; by sample as many as items, and another interval."""
    by_patient = evaluate_predictions(_random_predictions(), CLASSES, iterations=200, unit="patient")[
        "levels"
    ]
    by_sample = evaluate_predictions(_random_predictions(), CLASSES, iterations=200, unit="sample")["levels"]
    assert [by_patient[level]["units"] for level in ("sample", "slide", "patient")] == [10, 10, 10]
    assert [by_sample[level]["units"] for level in ("sample", "slide", "patient")] == [60, 30, 10]
    assert by_sample["sample"]["macro"]["f1"]["low"] != by_patient["sample"]["macro"]["f1"]["low"]
    assert by_sample["patient"] == by_patient["patient"]


def test_record_does_not_depend_on_the_order_of_predictions() -> None:
    """Shuffled predictions, as from other ranks, give the same record to the last bit; another seed does not."""
    predictions = _random_predictions()
    shuffled = random.Random(1).sample(predictions, len(predictions))
    record = evaluate_predictions(predictions, CLASSES, iterations=100, seed=1)
    assert evaluate_predictions(shuffled, CLASSES, iterations=100, seed=1) == record
    assert evaluate_predictions(predictions, CLASSES, iterations=100, seed=2) != record


def test_slides_of_mixed_labels_leave_an_empty_level() -> None:
    """Where every slide has regions of two classes, the slide level has no item and no value, and says why."""
    predictions = [
        _prediction(number, label=number % 2, probabilities=(0.6, 0.3, 0.1), patient=number // 2)
        for number in range(6)
    ]
    slide = evaluate_predictions(predictions, CLASSES, iterations=10)["levels"]["slide"]
    assert (slide["n"], slide["units"], slide["mixed_left_out"]) == (0, 0, 3)
    assert set(_values(slide).values()) == {None}
    assert slide["confusion"] == [[0, 0, 0]] * 3


def test_one_patient_gives_values_without_intervals() -> None:
    """All samples of one patient: plain accuracy 1/2 with null bounds, since one patient says nothing of others."""
    predictions = [_prediction(number, label=number, probabilities=(0.6, 0.3, 0.1)) for number in (0, 1)]
    sample = evaluate_predictions(predictions, CLASSES, iterations=10)["levels"]["sample"]
    assert sample["plain_accuracy"] == {"value": 0.5, "low": None, "high": None, "undefined_draws": 0}


def test_classes_never_predicted_and_draws_without_a_class_are_counted() -> None:
    """Class B is never predicted, and absent from the draws that miss both its patients of four: about (2/4)^4."""
    predictions = [
        _prediction(2 * number, label=int(number > 1), probabilities=(0.6, 0.3, 0.1), patient=number)
        for number in range(4)
    ]
    sample = evaluate_predictions(predictions, CLASSES, iterations=4000)["levels"]["sample"]
    assert sample["never_predicted"] == ["B"]
    assert sample["single_unit_classes"] == []
    expected = 2 * 0.5**4  # A, the other class, is absent as often
    assert sample["draws_with_absent_classes"] / 4000 == pytest.approx(expected, abs=0.03)
    assert sample["per_class"]["B"]["recall"]["undefined_draws"] / 4000 == pytest.approx(0.5**4, abs=0.03)
    macro = sample["macro"]["f1"]
    assert macro["undefined_draws"] == sample["draws_with_absent_classes"]
    assert macro["high"] is not None and macro["high"] <= (2 * 3 / 7) / 2 + 1e-12  # three of A, one of B


def test_a_class_of_one_patient_is_named() -> None:
    """A has two patients, B one: B is named, and the mean over both has its value and no interval."""
    predictions = [
        _prediction(2 * number, label=int(number == 2), probabilities=(0.6, 0.3, 0.1), patient=number)
        for number in range(3)
    ]
    sample = evaluate_predictions(predictions, CLASSES, iterations=40)["levels"]["sample"]
    assert sample["single_unit_classes"] == ["B"]
    recall = {"value": 0.5, "low": None, "high": None, "undefined_draws": 40}
    assert sample["macro"]["recall"] == sample["balanced_accuracy"] == recall
    assert sample["plain_accuracy"]["low"] is not None


def test_a_class_of_mixed_patients_alone_is_hidden_and_not_absent() -> None:
    """B is there, in a patient that has A too: by patient it is absent and hidden; C is absent and nowhere."""
    predictions = [
        _prediction(0, label=0, probabilities=(0.6, 0.3, 0.1), patient=0),
        _prediction(2, label=0, probabilities=(0.6, 0.3, 0.1), patient=1),
        _prediction(4, label=1, probabilities=(0.6, 0.3, 0.1), patient=1),
    ]
    levels = evaluate_predictions(predictions, CLASSES, iterations=10)["levels"]
    assert (levels["patient"]["absent_classes"], levels["patient"]["hidden_classes"]) == (["B", "C"], ["B"])
    assert (levels["sample"]["absent_classes"], levels["sample"]["hidden_classes"]) == (["C"], [])


def test_files_hold_the_record_and_the_predictions(tmp_path: Path) -> None:
    """evaluation-test has metrics.json, equal to the record, and predictions.csv; writing again replaces them."""
    predictions = _random_predictions()
    metrics = evaluate_predictions(predictions, CLASSES, iterations=10)
    folder = evaluation_folder(tmp_path, "test")
    for _ in range(2):
        write_evaluation(folder, predictions, CLASSES, metrics=metrics, provenance={"split": "test"})
    assert sorted(entry.name for entry in (tmp_path / "evaluation-test").iterdir()) == [
        "metrics.json",
        "predictions.csv",
    ]
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert read_predictions_csv(folder / "predictions.csv").predictions == tuple(predictions)


def test_metrics_that_are_not_json_write_nothing(tmp_path: Path) -> None:
    """A NaN among the metrics is refused before a file is touched."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_evaluation(
            tmp_path,
            _random_predictions(),
            CLASSES,
            metrics={"gflops": float("nan")},
            provenance={"split": "test"},
        )
    assert not list(tmp_path.iterdir())


def test_predictions_are_checked_first() -> None:
    """A sample that comes twice is refused by the evaluation itself."""
    twice = _random_predictions()[:1] * 2
    with pytest.raises(PredictionsError, match="'k000' is predicted twice"):
        evaluate_predictions(twice, CLASSES, iterations=10)


def test_probabilities_are_measured_before_and_after_a_temperature() -> None:
    """By sample, before is what a network without a temperature shows; the tempered one is measured by scikit-learn."""
    predictions = _random_predictions()
    plain = evaluate_predictions(predictions, CLASSES, iterations=100)["levels"]
    levels = evaluate_predictions(predictions, CLASSES, iterations=100, temperature=2.0)["levels"]
    for name in ("sample", "slide", "patient"):
        assert levels[name]["before_calibration"] == plain[name]["probabilities"]
        assert plain[name]["before_calibration"] is None
    said = np.array([one.probabilities for one in predictions]) ** 0.5
    labels = [one.label for one in predictions]
    expected = reference.log_loss(labels, said / said.sum(axis=1, keepdims=True))
    found = levels["sample"]["probabilities"]["log_loss"]
    assert found["value"] == pytest.approx(expected)
    assert found["low"] is not None and found["low"] < expected < (found["high"] or 0)


def test_a_temperature_moves_no_metric_of_a_samples_class() -> None:
    """Confusion, accuracy, F1 and AUC by sample are those of the softmax, at any temperature."""
    predictions = _random_predictions()
    plain, warm = (
        evaluate_predictions(predictions, CLASSES, iterations=50, temperature=temperature)["levels"]["sample"]
        for temperature in (None, 3.0)
    )
    believed = {"probabilities", "before_calibration"}
    assert {k: v for k, v in plain.items() if k not in believed} == {
        k: v for k, v in warm.items() if k not in believed
    }
