"""``kdtrain evaluate --probe``: a run and labelled splits in, probe.json and probe.csv out."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from kdtrain.config.common import names_in
from kdtrain.evaluation.bootstrap import ITERATIONS, Unit
from kdtrain.evaluation.probe import PROBE_FILE, PROBE_PREDICTIONS_FILE, cross_validate
from kdtrain.evaluation.record import MetricsRecord, evaluate_predictions, evaluation_folder, write_evaluation
from kdtrain.evaluation.subject import (
    Evaluation,
    check_labelled,
    check_unit,
    described,
    opened,
    provenance_of,
    split_features,
)
from kdtrain.shards.cache import CacheSettings
from kdtrain.shards.index import union_of
from kdtrain.shards.locations import Location


def probe(
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
    """Measure what a linear classifier makes of a run's features, as ``kdtrain evaluate --probe`` does.

    ``probe.json`` and ``probe.csv`` are written beside what ``evaluate`` writes of the split.

    Args:
        run: The run's folder.
        shards: Folder of the shard set, or its URL.
        split: Labelled splits or sets, separated by commas, which the patients of all are shared out of.
        unit: As for evaluate, and so the rest.
        iterations: Bootstrap draws.
        seed: Seed of the draws, and of how patients are shared out.
        workers: Loader processes.
        console: For a progress bar; None for none.
        cache: For the shards of a URL; None takes the defaults.

    Raises:
        UsageError: The run is not finished, a class is a single patient's, or there is no such unit.
        ShardError: As for evaluate, and so the rest.
        TrainingError: A loader process was killed, or what the network says of a sample is no number.
    """
    check_unit(unit)
    run = Path(run)
    trained, index = opened(run, shards, split, cache)
    index, split = union_of(index, names_in(split) or (split,))
    check_labelled(trained, index, split, option="--split")
    classes = tuple(index.document.classes)
    features = split_features(trained, index, split, workers, console)
    probed = cross_validate(features, classes, seed=seed)
    record: MetricsRecord = evaluate_predictions(
        probed.predictions, classes, iterations=iterations, seed=seed, unit=unit
    )
    metrics = {**record, **described(trained, index, split), "probe": probed.record}
    folder = evaluation_folder(run, split)
    write_evaluation(
        folder,
        probed.predictions,
        classes,
        metrics=metrics,
        provenance=provenance_of(trained, index, split),
        files=(PROBE_PREDICTIONS_FILE, PROBE_FILE),
    )
    return Evaluation(run=run, split=split, metrics=metrics, folder=folder)
