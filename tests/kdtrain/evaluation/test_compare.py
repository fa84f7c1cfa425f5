"""The paired difference of two models: against a slow loop, on runs, and what cannot be paired."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from sklearn import metrics as reference

from kdtrain.errors import UsageError
from kdtrain.evaluation.compare import Comparison, compare, compare_predictions
from kdtrain.evaluation.predictions import Prediction, PredictionsError, write_predictions_csv
from kdtrain.evaluation.record import evaluate_predictions, evaluation_folder

CLASSES = ("A", "B")


def _predictions(seconds: Sequence[float]) -> list[Prediction]:
    """One sample per slide, two slides per patient, the classes in turn; ``seconds`` are probabilities of B."""
    return [
        Prediction(
            key=f"k{number:03}",
            slide=f"s{number:03}",
            patient=f"p{number // 2:03}",
            label=number // 2 % 2,
            probabilities=(1 - second, second),
        )
        for number, second in enumerate(seconds)
    ]


def _random(seed: int) -> list[Prediction]:
    return _predictions(np.random.default_rng(seed).uniform(size=40).tolist())


def _compared(a: Sequence[Prediction], b: Sequence[Prediction], **options: object) -> Comparison:
    return compare_predictions(a, b, CLASSES, names=("a", "b"), split="test", **options)  # type: ignore[arg-type]


def _write(run: Path, predictions: Sequence[Prediction], classes: tuple[str, ...] = CLASSES) -> Path:
    path = evaluation_folder(run, "test") / "predictions.csv"
    write_predictions_csv(path, predictions, classes, {"split": "test"})
    return run


def test_interval_is_that_of_a_slow_paired_loop() -> None:
    """The interval of the macro F1's difference is that of tables resampled by patient with the same draws."""
    a, b = _random(1), _random(2)
    found = _compared(a, b, iterations=200, seed=3).levels["sample"].metrics["macro_f1"]
    labels = np.array([one.label for one in a])
    said = [np.array([one.predicted for one in model]) for model in (a, b)]
    differences = []
    for drawn in np.random.default_rng(3).integers(0, 20, size=(200, 20)):
        rows = np.concatenate([[2 * patient, 2 * patient + 1] for patient in drawn])
        scores = [
            reference.f1_score(labels[rows], one[rows], average="macro", zero_division=0) for one in said
        ]
        differences.append(scores[1] - scores[0])
    assert [found.low, found.high] == pytest.approx(
        np.percentile(differences, [2.5, 97.5]).tolist(), abs=1e-12
    )


def test_difference_is_b_minus_a_of_the_evaluations() -> None:
    """At every level each value is that of the model's own evaluation, and the difference is B minus A."""
    a, b = _random(1), _random(2)
    found = _compared(a, b, iterations=20)
    for name, level in found.levels.items():
        own = [evaluate_predictions(model, CLASSES, iterations=20)["levels"][name] for model in (a, b)]
        for metric in ("accuracy", "f1", "precision", "recall", "auc"):
            row = level.metrics[f"macro_{metric}"]
            assert [row.a, row.b] == [record["macro"][metric]["value"] for record in own]
            assert row.a is not None and row.b is not None
            assert row.difference == row.b - row.a
        assert level.metrics["plain_accuracy"].a == own[0]["plain_accuracy"]["value"]
        assert level.metrics["balanced_accuracy"].b == own[1]["balanced_accuracy"]["value"]


def test_pairing_narrows_the_interval() -> None:
    """B is A with one mistake mended of 40: by sample the difference is 1/40, between 0 and about 3/40 in 95 %."""
    right = [0.9 if number // 2 % 2 else 0.1 for number in range(40)]
    worse = [1 - second if number < 9 else second for number, second in enumerate(right)]
    better = [1 - second if number < 8 else second for number, second in enumerate(right)]
    level = _compared(_predictions(worse), _predictions(better), unit="sample", iterations=2000).levels[
        "sample"
    ]
    row = level.metrics["plain_accuracy"]
    assert row.difference == pytest.approx(1 / 40)
    assert row.low == 0
    assert row.high == pytest.approx(3 / 40)


def test_model_against_itself_differs_by_nothing() -> None:
    """Every difference and both bounds are exactly 0."""
    for level in _compared(_random(1), _random(1), iterations=50).levels.values():
        assert {(row.difference, row.low, row.high) for row in level.metrics.values()} == {(0, 0, 0)}


def test_runs_are_compared_from_their_files(tmp_path: Path) -> None:
    """compare() of two run folders equals the comparison of their predictions, whatever order these were in."""
    a, b = _random(1), _random(2)
    runs = _write(tmp_path / "a", a), _write(tmp_path / "b", b)
    found = compare(*runs, "test", iterations=20, unit="sample")
    assert found.levels == _compared(a[::-1], b, iterations=20, unit="sample").levels
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["levels"]["slide"]["n"] == 40


def test_other_samples_are_refused_with_counts() -> None:
    """Runs with 38 samples in common, 2 only in a and 1 only in b are refused with these numbers."""
    a = _random(1)
    b = [*a[:-2], dataclasses.replace(a[-1], key="new")]
    with pytest.raises(
        PredictionsError, match="not of the same samples: 38 in both, 2 only in a, 1 only in b"
    ):
        _compared(a, b)


def test_other_labels_are_refused_by_sample() -> None:
    """A sample with another label in the second run is named."""
    a = _random(1)
    b = [dataclasses.replace(a[0], label=1), *a[1:]]
    with pytest.raises(
        PredictionsError, match=r"sample 'k000' has .*'s000', 'p000', 0\) in a and .* 1\) in b"
    ):
        _compared(a, b)


def test_other_classes_are_refused(tmp_path: Path) -> None:
    """Runs whose classes come in another order are refused, naming both."""
    runs = _write(tmp_path / "a", _random(1)), _write(tmp_path / "b", _random(1), ("B", "A"))
    with pytest.raises(
        PredictionsError, match=r"\('A', 'B'\) and .* \('B', 'A'\); compare runs on one shard set"
    ):
        compare(*runs, "test")


def test_run_without_that_evaluation_is_refused(tmp_path: Path) -> None:
    """A run that was not evaluated on the split says which file is missing and what to run; what is no run says so."""
    run = _write(tmp_path / "a", _random(1))
    with pytest.raises(UsageError, match=f"RUN {run} is no run: it has no run.json"):
        compare(run, run, "val")
    (run / "run.json").write_text(json.dumps({"settings": {}, "shard_set": {}, "network": {}}))
    with pytest.raises(PredictionsError, match=r"evaluation-val.predictions\.csv.*run 'kdtrain evaluate"):
        compare(run, run, "val")
    (tmp_path / "bundle.json").write_text("{}")
    with pytest.raises(UsageError, match="is no run: it is a bundle"):
        compare(run, tmp_path, "test")


def test_table_shows_percent_and_notes() -> None:
    """The table has a section per level, signed differences in percent, a dash for no interval, names as they are."""
    a = [dataclasses.replace(one, patient="p") for one in _predictions([0.1, 0.1, 0.9, 0.1])]
    b = [dataclasses.replace(one, patient="p") for one in _predictions([0.1, 0.1, 0.9, 0.9])]
    found = compare_predictions(a, b, CLASSES, names=("[red]a", "b"), split="test", iterations=10)
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(found.as_rich())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "B b against A [red]a, test" in text
    assert "by sample (4 of 1 patient)" in text
    said = " ".join(text.split())
    assert (
        "samples: one patient, which says nothing of others, so there are no intervals; --unit sample" in said
    )
    assert "patients: nothing is measured, since the one patient has samples of several classes" in said
    assert "paired draws" not in said
    accuracy = next(line for line in text.splitlines() if "plain accuracy" in line)
    assert accuracy.replace("│", " ").split() == ["plain", "accuracy", "75.00", "100.00", "+25.00", "-"]


def test_probabilities_are_compared_as_each_model_answers_with_them() -> None:
    """A model against itself at T = 2: classes are the same by sample, and its measures are those of its evaluation."""
    said = _random(1)
    found = _compared(said, said, temperatures=(None, 2.0), iterations=50)
    records = [
        evaluate_predictions(said, CLASSES, iterations=50, temperature=temperature)["levels"]["sample"]
        for temperature in (None, 2.0)
    ]
    level = found.levels["sample"]
    assert level.metrics["macro_auc"].difference == level.metrics["plain_accuracy"].difference == 0
    for name in ("ece", "brier", "log_loss"):
        row = level.metrics[name]
        assert [row.a, row.b] == [record["probabilities"][name]["value"] for record in records]  # type: ignore[literal-required]
        assert row.low is not None
        assert row.high is not None
        assert row.low <= row.high
    # Uniform probabilities without any knowledge lose less where they are less sure.
    assert (level.metrics["log_loss"].high or 0) < 0
    console = Console(file=io.StringIO(), width=160)
    console.print(found.as_rich())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "B is calibrated, T = 2" in text
    assert "log-loss, nats" in text
