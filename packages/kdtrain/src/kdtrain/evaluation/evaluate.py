"""``kdtrain evaluate``: a run and a labelled split in, metrics.json and predictions.csv out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from kdtrain.evaluation.bootstrap import ITERATIONS, Unit
from kdtrain.evaluation.calibration import read_calibration
from kdtrain.evaluation.record import MetricsRecord, evaluate_predictions, evaluation_folder, write_evaluation
from kdtrain.evaluation.subject import (
    Evaluation,
    check_measurable,
    check_unit,
    described,
    opened,
    provenance_of,
    split_predictions,
)
from kdtrain.shards.cache import CacheSettings
from kdtrain.shards.index import Index
from kdtrain.shards.locations import Location


def evaluate(
    run: Path | str,
    shards: Location | str,
    *,
    split: str = "test",
    unit: Unit = "patient",
    iterations: int = ITERATIONS,
    seed: int = 0,
    workers: int = 2,
    console: Console | None = None,
    cache: CacheSettings | None = None,
) -> Evaluation:
    """Measure a run's network, as ``kdtrain evaluate`` does; ``RUN/evaluation-<split>/`` is written alike.

    Args:
        run: The run's folder.
        shards: Folder of the shard set, or its URL.
        split: A labelled split or set. Of a run of a fold, "test" is that fold's patients.
        unit: "patient" or "sample": what the bootstrap draws.
        iterations: Bootstrap draws.
        seed: Seed of the draws.
        workers: Loader processes.
        console: For a progress bar; None for none.
        cache: For the shards of a URL; None takes the defaults.

    Raises:
        UsageError: The run is not finished, the classes differ, there is no such unit, the run of a fold learnt from
            patients of the split, or its calibration is damaged or of other weights.
        ShardError: The set lacks the split or the magnification, or is damaged.
        TrainingError: A loader process was killed, or what the network says of a sample is no number.
    """
    check_unit(unit)
    run = Path(run)
    trained, index = opened(run, shards, split, cache)
    calibration = read_calibration(run, trained.sha256, what="RUN")
    check_measurable(trained, index, split, option="--split")
    answers = split_predictions(trained, index, split, workers, console)
    predictions = answers.predictions
    temperature = None if calibration is None else calibration.temperature
    record: MetricsRecord = evaluate_predictions(
        predictions,
        trained.network.classes,
        iterations=iterations,
        seed=seed,
        unit=unit,
        temperature=temperature,
    )
    metrics = {
        **record,
        **described(trained, index, split),
        **answers.record,
        "calibration": None if calibration is None else calibration_entry(calibration, index, split),
    }
    folder = evaluation_folder(run, split)
    write_evaluation(
        folder,
        predictions,
        trained.network.classes,
        metrics=metrics,
        provenance=provenance_of(trained, index, split),
        temperature=temperature,
    )
    return Evaluation(run=run, split=split, metrics=metrics, folder=folder)


class Calibrated(Protocol):
    """What a run's calibration.json and a bundle say alike."""

    @property
    def split(self) -> str:
        """The labelled split or set that the temperature was fitted on."""

    @property
    def shard_set_sha256(self) -> str:
        """SHA-256 of the index of its set."""


def calibration_entry(calibration: Calibrated, index: Index, split: str) -> dict[str, Any]:
    """What metrics.json says of the calibration whose probabilities it measures."""
    fields = ("method", "temperature", "split", "samples", "patients", "shard_set_sha256")
    parts = index.document.sets
    shared = calibration.shard_set_sha256 == index.sha256 and set(parts[calibration.split]) & set(
        parts[split]
    )
    return {
        **{name: getattr(calibration, name) for name in fields},
        # Then the measures are of samples that the temperature was made for.
        "fitted_on_this_split": bool(shared),
    }
