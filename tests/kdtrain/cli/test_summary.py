"""The last screen of an evaluation: its numbers, and what must be known before they are read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from kdtrain.cli.summary import print_evaluation
from kdtrain.evaluation.predictions import Prediction
from kdtrain.evaluation.record import evaluate_predictions
from kdtrain.evaluation.subject import Evaluation

CLASSES = ("Viable", "Necrosis", "Non-Tumor")


def _screen(patients: Sequence[Sequence[int]]) -> str:
    """Of patients by the labels of their samples, all given to the first class."""
    predictions = [
        Prediction(
            key=f"{patient}-{number}",
            slide=f"{patient}-{number}",
            patient=f"{patient}",
            label=label,
            probabilities=(0.6, 0.2, 0.2),
        )
        for patient, labels in enumerate(patients)
        for number, label in enumerate(labels)
    ]
    cost = {"gflops_mean": 1.0, "images": len(predictions), "convention": "2 per multiply-add"}
    metrics = {**evaluate_predictions(predictions, CLASSES, iterations=400), "cost": cost}
    console = Console(file=io.StringIO(), width=200, color_system=None)
    print_evaluation(Evaluation(run=Path("run"), split="test", metrics=metrics, folder=Path("run")), console)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def _row(screen: str, title: str) -> list[str]:
    line = next(line for line in screen.splitlines() if title in line)
    return [cell.strip() for cell in line.split("│")[2:5]]


def test_four_to_one_to_one_has_no_interval_up_to_100() -> None:
    """Six patients, all called the first class: F1 (2·4/10)/3 = 26.7 without interval, and why."""
    screen = _screen([[0], [0], [0], [0], [1], [2]])
    assert "run on test: % with 95 % intervals" in screen
    assert _row(screen, "F1") == ["26.7"] * 3
    assert _row(screen, "AUC") == ["50.0"] * 3
    assert (
        "patients: one patient of Necrosis, Non-Tumor, which says nothing of others, so the averages"
        in screen
    )


@pytest.mark.parametrize("patients", [[[0, 0, 1]], [[0, 0]]], ids=["mixed", "of one class"])
def test_one_patient_has_no_intervals_and_the_title_names_none(patients: list[list[int]]) -> None:
    """Values without brackets, no mention of intervals in the title, and --unit sample as what to do."""
    screen = _screen(patients)
    assert "run on test: %\n" in "\n".join(line.rstrip() for line in screen.splitlines())
    assert "(" not in "".join(_row(screen, "Recall"))
    assert (
        "samples: one patient, which says nothing of others, so there are no intervals; --unit sample"
        in screen
    )


def test_a_class_of_mixed_patients_is_not_called_absent() -> None:
    """Where the one patient with Non-Tumor is mixed, by patient it is left out, and by sample it is there."""
    screen = _screen([[0], [0], [1], [1], [0, 2]])
    assert "no Non-Tumor in this split" not in screen
    assert (
        "patients: 1 left out, with samples of several classes, among them all that have Non-Tumor" in screen
    )


def test_an_area_of_one_class_is_a_dash() -> None:
    """A split of one class, all right: recall 100, and no AUC, which needs another class."""
    screen = _screen([[0]] * 8)
    assert _row(screen, "Recall") == ["100.0 (100.0-100.0)"] * 3
    assert _row(screen, "AUC") == ["-"] * 3
    assert "samples: no Necrosis, Non-Tumor in this split; left out of the averages" in screen
