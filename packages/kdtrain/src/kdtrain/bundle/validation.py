"""A bundle measured on labels from elsewhere: predictions in, one folder with all that was measured out.

::

    OUT/metrics.json       metrics with intervals, confusion, calibration error; the bundle; the shift
    OUT/predictions.csv    one line an image, as kdtrain evaluate writes it
    OUT/roc.csv            the ROC curves of every class by sample, slide and patient
    OUT/validation.html    the page of these (kdtrain.report.validation)

For ``kdtrain evaluate BUNDLE``, whose images are in shards, and ``kdtrain predict --labels``, whose images are slides:
the same predictions give the same numbers. No PyTorch is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdtrain.bundle.load import OpenBundle
from kdtrain.bundle.shift import Seen, shift
from kdtrain.evaluation.bootstrap import ITERATIONS, Unit
from kdtrain.evaluation.predictions import Prediction, check_predictions
from kdtrain.evaluation.record import (
    METRICS_FILE,
    PREDICTIONS_FILE,
    VALIDATION_PAGE,
    evaluate_predictions,
    write_evaluation,
)
from kdtrain.evaluation.roc import ROC_FILE, roc_csv
from kdtrain.files import write_atomically

VALIDATION_FILES = (METRICS_FILE, PREDICTIONS_FILE, ROC_FILE, VALIDATION_PAGE)


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What was measured of a bundle.

    Attributes:
        predictions: Of every labelled image: the softmax as it is, labels in the order of the bundle's classes.
        metrics: The content of metrics.json.
        provenance: Columns of predictions.csv.
    """

    predictions: tuple[Prediction, ...]
    metrics: dict[str, Any]
    provenance: dict[str, str]


def validate(
    bundle: OpenBundle,
    predictions: Sequence[Prediction],
    seen: Sequence[Seen],
    *,
    split: str,
    more: Mapping[str, Any],
    unit: Unit = "patient",
    iterations: int = ITERATIONS,
    seed: int = 0,
) -> Validation:
    """Measure a bundle.

    Args:
        bundle: The network.
        predictions: Of the labelled images: softmax of the logits, before the temperature.
        seen: Numbers of these images, or of some of them; empty where they were not taken.
        split: What they are called.
        more: Whatever else is known; JSON-able.
        unit: What the bootstrap draws.
        iterations: Bootstrap draws.
        seed: Seed of the draws.

    Raises:
        PredictionsError: There is none, or a slide belongs to two patients.
    """
    ordered = check_predictions(predictions, bundle.classes)
    calibration = bundle.document.calibration
    record = evaluate_predictions(
        ordered,
        bundle.classes,
        iterations=iterations,
        seed=seed,
        unit=unit,
        temperature=None if calibration is None else calibration.temperature,
    )
    identity = {"name": bundle.name, "sha256": bundle.sha256, "synthetic": bundle.document.synthetic}
    metrics = {
        **record,
        "split": split,
        "bundle": identity,
        "calibration": None
        if calibration is None
        else {**calibration.model_dump(), "fitted_on_this_split": False},
        **more,
        "at_home": None
        if bundle.document.metrics is None
        else bundle.document.metrics.model_dump(mode="json"),
        "shift": shift(bundle.document.training_data, seen) if seen else None,
    }
    provenance = {"split": split, "bundle_sha256": bundle.sha256}
    return Validation(predictions=ordered, metrics=metrics, provenance=provenance)


def write_validation(folder: Path, bundle: OpenBundle, validation: Validation) -> None:
    """Write the three files, each whole or not at all; older ones are replaced.

    Args:
        folder: Made where it is not there.
        bundle: That was measured.
        validation: What was measured of it.

    Raises:
        OSError: A file cannot be written.
    """
    calibration = bundle.document.calibration
    temperature = None if calibration is None else calibration.temperature
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / ROC_FILE, roc_csv(validation.predictions, bundle.classes, temperature))
    write_evaluation(
        folder,
        validation.predictions,
        bundle.classes,
        metrics=validation.metrics,
        provenance=validation.provenance,
        temperature=temperature,
    )
