"""``kdtrain evaluate``: a run and a labelled split in, metrics.json and predictions.csv out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console
from rich.progress import Progress

from kdtrain.errors import NotFiniteError, UsageError
from kdtrain.evaluation.bootstrap import ITERATIONS, Unit
from kdtrain.evaluation.calibration import Calibration, read_calibration
from kdtrain.evaluation.predict_split import predict_split, sizes_of_split
from kdtrain.evaluation.predictions import Prediction
from kdtrain.evaluation.record import MetricsRecord, evaluate_predictions, evaluation_folder, write_evaluation
from kdtrain.model.flops import count, mean_gflops
from kdtrain.shards.cache import CacheSettings
from kdtrain.shards.index import Index, read_index
from kdtrain.shards.locations import Location
from kdtrain.training.run_folder import versions
from kdtrain.training.trained import Trained, load_trained


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured.

    Attributes:
        run: The run's folder.
        split: The split.
        metrics: The content of metrics.json.
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
        split: A labelled split or set.
        unit: "patient" or "sample": what the bootstrap draws.
        iterations: Bootstrap draws.
        seed: Seed of the draws.
        workers: Loader processes.
        console: For a progress bar; None for none.
        cache: For the shards of a URL; None takes the defaults.

    Raises:
        UsageError: The run is not finished, the classes differ, there is no such unit, or its calibration is damaged
            or of other weights.
        ShardError: The set lacks the split or the magnification, or is damaged.
        TrainingError: A loader process was killed, or what the network says of a sample is no number.
    """
    if unit not in get_args(Unit):
        raise UsageError(f"unit {unit!r}: the bootstrap draws one of {', '.join(get_args(Unit))}")
    run = Path(run)
    trained = load_trained(run, what="RUN")
    calibration = read_calibration(run, trained.sha256, what="RUN")
    index = read_index(shards, cache)
    check_measurable(trained, index, split, option="--split")
    predictions = split_predictions(trained, index, split, workers, console)
    temperature = None if calibration is None else calibration.temperature
    record: MetricsRecord = evaluate_predictions(
        predictions,
        trained.network.classes,
        iterations=iterations,
        seed=seed,
        unit=unit,
        temperature=temperature,
    )
    sizes = sizes_of_split(index, split, trained.network.magnification)
    metrics = {
        **record,
        "split": split,
        "phase": trained.run["settings"]["phase"],
        "magnification": trained.network.magnification,
        "model": trained.network.model,
        "output_stride": trained.network.output_stride,
        "weights_sha256": trained.sha256,
        "shard_set_sha256": index.sha256,
        "calibration": None if calibration is None else calibration_entry(calibration, index, split),
        "cost": _cost(trained, sizes),
        "versions": versions(),
    }
    folder = evaluation_folder(run, split)
    write_evaluation(
        folder,
        predictions,
        trained.network.classes,
        metrics=metrics,
        provenance={"split": split, "weights_sha256": trained.sha256, "shard_set_sha256": index.sha256},
        temperature=temperature,
    )
    return Evaluation(run=run, split=split, metrics=metrics, folder=folder)


def calibration_entry(calibration: Calibration, index: Index, split: str) -> dict[str, Any]:
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


def check_measurable(trained: Trained, index: Index, split: str, *, option: str) -> None:
    """Refuse a split on which a network cannot be held against labels.

    Args:
        trained: The network.
        index: The shard set.
        split: A split or set of it.
        option: That named it, for messages.

    Raises:
        ShardError: The set lacks the split or the network's magnification.
        UsageError: It carries no labels, or the set's classes are not the network's.
    """
    index.require(magnification=trained.network.magnification, split=split)
    if not index.is_labelled(split):
        raise UsageError(
            f"{option} {split} of {index.directory} carries no labels, so nothing can be measured on it; choose another"
        )
    if tuple(index.document.classes) != trained.network.classes:
        raise UsageError(
            f"the run knows the classes {', '.join(trained.network.classes)}, {index.directory} has "
            f"{', '.join(index.document.classes)}; build the set with --classes {','.join(trained.network.classes)}"
        )


def split_predictions(
    trained: Trained,
    index: Index,
    split: str,
    workers: int,
    console: Console | None,
    *,
    verb: str = "Evaluating",
) -> list[Prediction]:
    """What a run's network says of every sample of a split; on a GPU where there is one.

    Args:
        trained: The network.
        index: The shard set.
        split: A labelled split or set of it.
        workers: Loader processes.
        console: For a progress bar; None for none.
        verb: What the bar says.

    Raises:
        NotFiniteError: What the network says of a sample is no number.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    samples = sum(shard.samples for shard in index.shards_of(split))
    with Progress(console=console, transient=True, disable=console is None) as progress:
        task = progress.add_task(verb, total=samples)
        try:
            return predict_split(
                trained.model.to(device),
                trained.network,
                index,
                split,
                device=device,
                workers=workers,
                on_sample=lambda: progress.advance(task),
            )
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
