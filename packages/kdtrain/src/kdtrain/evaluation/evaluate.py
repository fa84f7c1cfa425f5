"""``kdtrain evaluate``: a run and a labelled split in, metrics.json and predictions.csv out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console
from rich.progress import Progress

from kdtrain.config.common import names_in
from kdtrain.data.folds.opening import index_of_run
from kdtrain.errors import NotFiniteError, UsageError
from kdtrain.evaluation.bootstrap import ITERATIONS, Unit
from kdtrain.evaluation.predict_split import predict_split, sizes_of_split
from kdtrain.evaluation.predictions import Prediction
from kdtrain.evaluation.probe import (
    PROBE_FILE,
    PROBE_PREDICTIONS_FILE,
    Features,
    cross_validate,
    features_of_split,
)
from kdtrain.evaluation.record import MetricsRecord, evaluate_predictions, evaluation_folder, write_evaluation
from kdtrain.model.flops import count, mean_gflops
from kdtrain.shards.cache import CacheSettings
from kdtrain.shards.index import Index, read_index, union_of
from kdtrain.shards.locations import Location
from kdtrain.training.run_folder import versions
from kdtrain.training.trained import Trained, load_trained


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured.

    Attributes:
        run: The run's folder.
        split: The split.
        metrics: The content of metrics.json, or of probe.json, which has ``probe`` beside.
        folder: Where it lies.
    """

    run: Path
    split: str
    metrics: dict[str, Any]
    folder: Path


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
        UsageError: The run is not finished, the classes differ, there is no such unit, or the run of a fold learnt from
            patients of the split.
        ShardError: The set lacks the split or the magnification, or is damaged.
        TrainingError: A loader process was killed, or what the network says of a sample is no number.
    """
    run, trained, index = _opened(run, shards, split, unit, cache)
    _check(trained, index, split)
    predictions = _predict(trained, index, split, workers, console)
    record: MetricsRecord = evaluate_predictions(
        predictions,
        trained.network.classes,
        iterations=iterations,
        seed=seed,
        unit=unit,
    )
    metrics = {**record, **_described(trained, index, split)}
    folder = evaluation_folder(run, split)
    write_evaluation(
        folder,
        predictions,
        trained.network.classes,
        metrics=metrics,
        provenance=_provenance(trained, index, split),
    )
    return Evaluation(run=run, split=split, metrics=metrics, folder=folder)


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
    run, trained, index = _opened(run, shards, split, unit, cache)
    index, split = union_of(index, names_in(split) or (split,))
    _check_labelled(trained, index, split)
    classes = tuple(index.document.classes)
    features = _features(trained, index, split, workers, console)
    probed = cross_validate(features, classes, seed=seed)
    record: MetricsRecord = evaluate_predictions(
        probed.predictions, classes, iterations=iterations, seed=seed, unit=unit
    )
    metrics = {**record, **_described(trained, index, split), "probe": probed.record}
    folder = evaluation_folder(run, split)
    write_evaluation(
        folder,
        probed.predictions,
        classes,
        metrics=metrics,
        provenance=_provenance(trained, index, split),
        files=(PROBE_PREDICTIONS_FILE, PROBE_FILE),
    )
    return Evaluation(run=run, split=split, metrics=metrics, folder=folder)


def _opened(
    run: Path | str, shards: Location | str, split: str, unit: Unit, cache: CacheSettings | None
) -> tuple[Path, Trained, Index]:
    if unit not in get_args(Unit):
        raise UsageError(f"unit {unit!r}: the bootstrap draws one of {', '.join(get_args(Unit))}")
    run = Path(run)
    trained = load_trained(run, what="RUN")
    return run, trained, index_of_run(trained.run, trained.folder, read_index(shards, cache), split=split)


def _described(trained: Trained, index: Index, split: str) -> dict[str, Any]:
    """What was measured, on what, and what it costs."""
    return {
        "split": split,
        **_fold(trained),
        "phase": trained.run["settings"]["phase"],
        "magnification": trained.network.magnification,
        "model": trained.network.model,
        "output_stride": trained.network.output_stride,
        "weights_sha256": trained.sha256,
        "shard_set_sha256": index.sha256,
        "cost": _cost(trained, sizes_of_split(index, split, trained.network.magnification)),
        "versions": versions(),
    }


def _provenance(trained: Trained, index: Index, split: str) -> dict[str, str]:
    return {"split": split, "weights_sha256": trained.sha256, "shard_set_sha256": index.sha256}


def _fold(trained: Trained) -> dict[str, Any]:
    """Of a run of a fold, which: its test split is that fold's patients."""
    fold = trained.run["shard_set"].get("fold")
    return {} if fold is None else {"fold": {name: fold[name] for name in ("number", "of", "sha256")}}


def _check(trained: Trained, index: Index, split: str) -> None:
    if not trained.network.classes:
        raise UsageError(
            f"RUN {trained.folder} is a feature network, which knows no classes: its teacher gave no logits; make a "
            "classifier of it by 'kdtrain finetune', or measure its features by 'kdtrain evaluate --probe'"
        )
    _check_labelled(trained, index, split)
    if tuple(index.document.classes) != trained.network.classes:
        raise UsageError(
            f"the run knows the classes {', '.join(trained.network.classes)}, {index.directory} has "
            f"{', '.join(index.document.classes)}; build the set with --classes {','.join(trained.network.classes)}"
        )


def _check_labelled(trained: Trained, index: Index, split: str) -> None:
    index.require(magnification=trained.network.magnification, split=split)
    if not index.is_labelled(split):
        raise UsageError(
            f"--split {split} of {index.directory} carries no labels, so nothing can be measured on it; choose another"
        )


def _predict(
    trained: Trained, index: Index, split: str, workers: int, console: Console | None
) -> list[Prediction]:
    device = _device()
    with _progress(trained, index, split, console) as on_sample:
        return predict_split(
            trained.model.to(device),
            trained.network,
            index,
            split,
            device=device,
            workers=workers,
            on_sample=on_sample,
        )


def _features(trained: Trained, index: Index, split: str, workers: int, console: Console | None) -> Features:
    device = _device()
    with _progress(trained, index, split, console) as on_sample:
        return features_of_split(
            trained.model.to(device),
            trained.network,
            index,
            split,
            device=device,
            workers=workers,
            on_sample=on_sample,
        )


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def _progress(
    trained: Trained, index: Index, split: str, console: Console | None
) -> Iterator[Callable[[], None]]:
    """A bar over the samples; a network that says nothing of one is named.

    Raises:
        NotFiniteError: Of what the block raised, with the run and the remedy.
    """
    samples = sum(shard.samples for shard in index.shards_of(split))
    with Progress(console=console, transient=True, disable=console is None) as progress:
        task = progress.add_task("Evaluating", total=samples)
        try:
            yield lambda: progress.advance(task)
        except NotFiniteError as error:
            raise NotFiniteError(
                f"RUN {trained.folder}, split {split}: {error}, so nothing can be measured; train it again with a "
                "lower --lr or --gradient-clipping 1"
            ) from None


def _cost(trained: Trained, sizes: list[tuple[int, int]]) -> dict[str, Any]:
    """Multiply-adds of a forward pass, averaged over the images as they are (the paper's GFLOPS)."""
    return {
        "gflops_mean": mean_gflops(trained.model, sizes),
        "gflops_total": sum(count(trained.model, *size).gflops for size in sizes),
        "gmacs_mean": sum(count(trained.model, *size).gmacs for size in sizes) / len(sizes),
        "convention": "gflops = 2 x multiply-adds of convolutions and the fully connected layer, per forward pass",
        "images": len(sizes),
        "megapixels_mean": sum(h * w for h, w in sizes) / len(sizes) / 1e6,
    }
