"""From predictions to ``metrics.json``: every metric with its interval, by sample, by slide and by patient.

In: predictions of one model on one split. Out: a JSON-able record, and the two files of ``RUN/evaluation-<split>/``.
No model is run here.

Every value is a fraction from 0 to 1, but for Brier scores (to 2) and log-losses, and null where it is undefined (see
metrics.py for what is, and for what is done about absent classes). Classes are named; ``confusion`` has the true class
in its rows and the predicted one in its columns, both in the order of ``classes``.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from kdtrain.evaluation.bootstrap import CONFIDENCE, ITERATIONS, Outcomes, Unit, bootstrap, interval, score
from kdtrain.evaluation.estimates import (
    EstimateRecord,
    ProbabilitiesRecord,
    estimate_record,
    probabilities_records,
)
from kdtrain.evaluation.metrics import CLASS_METRICS, BoolArray, FloatArray, Scores, confusion_matrix
from kdtrain.evaluation.notes import LevelCounts
from kdtrain.evaluation.predictions import (
    LEVELS,
    Level,
    LevelItems,
    Prediction,
    check_predictions,
    items_at,
    ranked_items_at,
    write_predictions_csv,
)
from kdtrain.files import remove_partials, write_atomically
from kdtrain.locks import LOCK_FILE, held

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.csv"
VALIDATION_PAGE = "validation.html"
"""Of a bundle that was measured on others' labels."""
_PATIENCE_SECONDS = 60.0
"""For another command that writes its measurement of the same split: both files are of one of them."""


class LevelRecord(TypedDict):
    """The metrics of one level: its items are samples, slides or patients."""

    n: int
    """Items evaluated."""
    units: int
    """Bootstrap units among them."""
    mixed_left_out: int
    """Slides or patients left out because their samples have several labels."""
    absent_classes: list[str]
    """Classes that no item has; left out of every macro mean."""
    hidden_classes: list[str]
    """Those of them that samples have, of slides or patients that have several and so were left out."""
    never_predicted: list[str]
    """Classes that some item has and none was given; their precision counts as 0."""
    draws_with_absent_classes: int
    """Draws in which a class is absent that the level has; the intervals of the macro means leave them out."""
    single_unit_classes: list[str]
    """Classes that only one unit has; with such a class the macro means have no interval."""
    plain_accuracy: EstimateRecord
    balanced_accuracy: EstimateRecord
    macro: dict[str, EstimateRecord]
    """By the names of CLASS_METRICS: means over the classes that are present."""
    per_class: dict[str, dict[str, EstimateRecord]]
    """By class, then by the names of CLASS_METRICS: the class against the rest."""
    class_counts: dict[str, int]
    """Items of each class."""
    confusion: list[list[int]]
    probabilities: ProbabilitiesRecord
    """Of the probabilities that are answered: calibrated where the network is."""
    before_calibration: ProbabilitiesRecord | None
    """Of the softmax as it is, over the same draws; null where the network is not calibrated."""


class BootstrapRecord(TypedDict):
    """How the intervals were made."""

    method: str
    confidence: float
    iterations: int
    seed: int
    unit: Unit


class MetricsRecord(TypedDict):
    """The content of ``metrics.json``, as far as it comes from predictions."""

    classes: list[str]
    bootstrap: BootstrapRecord
    levels: dict[Level, LevelRecord]


def evaluate_predictions(
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    *,
    iterations: int = ITERATIONS,
    seed: int = 0,
    unit: Unit = "patient",
    temperature: float | None = None,
) -> MetricsRecord:
    """Every metric with its 95 % interval, at every level.

    Args:
        predictions: Predictions of one model on one split, in any order.
        classes: Names, in the order of labels and probabilities.
        iterations: Bootstrap draws.
        seed: Seed of the draws.
        unit: What is drawn: the level's items one by one ("sample"), or patients with all their items.
        temperature: Of a network that was calibrated.

    Raises:
        PredictionsError: As ``check_predictions``.
    """
    ordered = check_predictions(predictions, classes)
    return {
        "classes": list(classes),
        "bootstrap": bootstrap_record(iterations=iterations, seed=seed, unit=unit),
        "levels": {
            level: _level_record(
                level, ordered, classes, temperature, iterations=iterations, seed=seed, unit=unit
            )
            for level in LEVELS
        },
    }


def bootstrap_record(*, iterations: int, seed: int, unit: Unit) -> BootstrapRecord:
    """How intervals were made, for a record."""
    return {
        "method": "percentile",
        "confidence": CONFIDENCE,
        "iterations": iterations,
        "seed": seed,
        "unit": unit,
    }


def outcomes_of(items: LevelItems, unit: Unit) -> Outcomes:
    """The items of a level with their bootstrap units."""
    names = items.names if unit == "sample" else items.patients
    _, unit_of = np.unique(np.array(names, dtype=str), return_inverse=True)
    return Outcomes(labels=items.labels, probabilities=items.probabilities, unit_of=unit_of)


def evaluation_folder(run: Path, split: str) -> Path:
    """``RUN/evaluation-<split>``."""
    return run / f"evaluation-{split}"


def write_evaluation(
    folder: Path,
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    *,
    metrics: Mapping[str, Any],
    provenance: Mapping[str, str],
    files: tuple[str, str] = (PREDICTIONS_FILE, METRICS_FILE),
    temperature: float | None = None,
) -> None:
    """Write ``predictions.csv`` and then ``metrics.json``, each whole or not at all; older ones are replaced.

    Args:
        folder: From ``evaluation_folder``.
        predictions: In any order.
        classes: Names, in the order of labels and probabilities.
        metrics: A MetricsRecord and whatever else is known of the evaluation; JSON-able, without NaN.
        provenance: Columns of ``predictions.csv``.
        files: Other names for the two, in this order.
        temperature: Of a network that was calibrated.

    Raises:
        PredictionsError: As ``check_predictions``.
        OSError: A file cannot be written.
    """
    text = json.dumps(metrics, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    with held(folder / LOCK_FILE, "kdtrain evaluate", folder, patience_s=_PATIENCE_SECONDS):
        remove_partials(folder)
        write_predictions_csv(folder / files[0], predictions, classes, provenance, temperature)
        write_atomically(folder / files[1], text.encode())


def level_counts(
    items: LevelItems,
    outcomes: Outcomes,
    draws: Scores,
    there: Container[int],
    classes: Sequence[str],
    *,
    level: Level,
    unit: Unit,
) -> LevelCounts:
    """What decides how far a level's numbers may be trusted.

    Args:
        items: Of the level.
        outcomes: What a model said about them.
        draws: Its scores over the bootstrap's draws.
        there: Classes that samples have, from 0.
        classes: Names.
        level: What the items are.
        unit: What was drawn.
    """
    present_K = np.bincount(items.labels, minlength=len(classes)) > 0
    absent = _named(classes, ~present_K)
    return LevelCounts(
        level=level,
        unit=unit,
        iterations=len(draws.present),
        n=len(items.names),
        units=outcomes.units,
        class_counts=_class_counts(items, classes),
        mixed_left_out=len(items.mixed),
        absent_classes=absent,
        hidden_classes=tuple(name for name in absent if classes.index(name) in there),
        single_unit_classes=_named(classes, outcomes.units_with_class == 1),
        draws_with_absent_classes=int((present_K & ~draws.present).any(axis=-1).sum()),
    )


def _class_counts(items: LevelItems, classes: Sequence[str]) -> dict[str, int]:
    return dict(zip(classes, np.bincount(items.labels, minlength=len(classes)).tolist(), strict=True))


def _level_record(
    level: Level,
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    temperature: float | None,
    *,
    iterations: int,
    seed: int,
    unit: Unit,
) -> LevelRecord:
    items, there = ranked_items_at(level, predictions, temperature), {one.label for one in predictions}
    outcomes = outcomes_of(items, unit)
    answered = [items_at(level, predictions, one) for one in dict.fromkeys((temperature, None))]
    believed = probabilities_records(
        [outcomes_of(one, unit) for one in answered], iterations=iterations, seed=seed
    )
    scores = score(outcomes)
    draws = bootstrap([outcomes], iterations=iterations, seed=seed)[0]
    counts = level_counts(items, outcomes, draws, there, classes, level=level, unit=unit)
    return {
        "n": counts.n,
        "units": counts.units,
        "mixed_left_out": counts.mixed_left_out,
        "absent_classes": list(counts.absent_classes),
        "hidden_classes": list(counts.hidden_classes),
        "never_predicted": list(_named(classes, scores.never_predicted)),
        "single_unit_classes": list(counts.single_unit_classes),
        "draws_with_absent_classes": counts.draws_with_absent_classes,
        "plain_accuracy": _estimate(scores.plain_accuracy, draws.plain_accuracy),
        "balanced_accuracy": _estimate(scores.balanced_accuracy, draws.balanced_accuracy),
        "macro": {name: _estimate(scores.macro[name], draws.macro[name]) for name in CLASS_METRICS},
        "per_class": {
            label: {
                name: _estimate(scores.per_class[name][number], draws.per_class[name][:, number])
                for name in CLASS_METRICS
            }
            for number, label in enumerate(classes)
        },
        "class_counts": dict(counts.class_counts),
        "confusion": confusion_matrix(items.labels, outcomes.predicted, len(classes)).tolist(),
        "probabilities": believed[0],
        "before_calibration": None if temperature is None else believed[1],
    }


def _estimate(value: FloatArray, draws_B: FloatArray) -> EstimateRecord:
    return estimate_record(float(value), interval(draws_B))


def _named(classes: Sequence[str], chosen_K: BoolArray) -> tuple[str, ...]:
    return tuple(name for name, yes in zip(classes, chosen_K, strict=True) if yes)
