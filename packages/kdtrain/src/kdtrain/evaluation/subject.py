"""What is measured: a finished run on a split of a set, opened, checked, and asked of every sample.

In: a run's folder and a shard set. Out: its network, the set as it saw it, and what the network says. What is made of
that is for :mod:`kdtrain.evaluation.evaluate`, ``probing`` and ``calibrate``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console
from rich.progress import Progress

from kdtrain.data.folds.opening import index_of_run
from kdtrain.errors import NotFiniteError, UsageError
from kdtrain.evaluation.bootstrap import Unit
from kdtrain.evaluation.predict_split import predict_split, sizes_of_split
from kdtrain.evaluation.predictions import Prediction
from kdtrain.evaluation.probe import Features, features_of_split
from kdtrain.model.flops import count, mean_gflops
from kdtrain.shards.cache import CacheSettings
from kdtrain.shards.index import Index, read_index
from kdtrain.shards.locations import Location
from kdtrain.text import plural
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


def check_unit(unit: str) -> None:
    """Refuse, by UsageError, what the bootstrap cannot draw."""
    if unit not in get_args(Unit):
        raise UsageError(f"unit {unit!r}: the bootstrap draws one of {', '.join(get_args(Unit))}")


def opened(
    run: Path | str, shards: Location | str, split: str, cache: CacheSettings | None
) -> tuple[Trained, Index]:
    """A finished run, and the set as it saw it: a run of a fold has splits of its own.

    Raises:
        UsageError: The run is not finished, or is of a fold and learnt from patients of the split.
        ShardError: The set is damaged.
    """
    trained = load_trained(Path(run), what="RUN")
    return trained, index_of_run(trained.run, trained.folder, read_index(shards, cache), split=split)


def described(trained: Trained, index: Index, split: str) -> dict[str, Any]:
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


def provenance_of(trained: Trained, index: Index, split: str) -> dict[str, str]:
    """Columns that say of a table what it was made from."""
    return {"split": split, "weights_sha256": trained.sha256, "shard_set_sha256": index.sha256}


def _fold(trained: Trained) -> dict[str, Any]:
    """Of a run of a fold, which: its test split is that fold's patients."""
    fold = trained.run["shard_set"].get("fold")
    return {} if fold is None else {"fold": {name: fold[name] for name in ("number", "of", "sha256")}}


def check_measurable(trained: Trained, index: Index, split: str, *, option: str) -> None:
    """Refuse a split on which a network's answers cannot be held against labels.

    Args:
        trained: The network.
        index: The shard set.
        split: A split or set of it.
        option: That named it, for messages.

    Raises:
        ShardError: The set lacks the split or the network's magnification.
        UsageError: It carries no labels, or the network knows other classes or none.
    """
    if not trained.network.classes:
        raise UsageError(
            f"RUN {trained.folder} is a feature network, which knows no classes: its teacher gave no logits; make a "
            "classifier of it by 'kdtrain finetune', or measure its features by 'kdtrain evaluate --probe'"
        )
    check_labelled(trained, index, split, option=option)
    if tuple(index.document.classes) != trained.network.classes:
        raise UsageError(
            f"the run knows the classes {', '.join(trained.network.classes)}, {index.directory} has "
            f"{', '.join(index.document.classes)}; build the set with --classes {','.join(trained.network.classes)}"
        )


def check_labelled(trained: Trained, index: Index, split: str, *, option: str) -> None:
    """Refuse a split without labels, as check_measurable does, whatever the network knows."""
    index.require(magnification=trained.network.magnification, split=split)
    if not index.is_labelled(split):
        raise UsageError(
            f"{option} {split} of {index.directory} carries no labels, so nothing can be measured on it; choose another"
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
    device = _device()
    left: list[None] = []
    with _progress(trained, index, split, console, verb) as on_sample:
        predictions = predict_split(
            trained.model.to(device),
            trained.network,
            index,
            split,
            device=device,
            workers=workers,
            on_sample=on_sample,
            on_left=lambda: left.append(None),
        )
    if left and console is not None:
        console.print(
            f"{len(left)} of {plural(len(predictions), 'image')} of {split} have too little tissue, or too little "
            "colour, to normalise their stain; the network saw them as they are"
        )
    return predictions


def split_features(
    trained: Trained, index: Index, split: str, workers: int, console: Console | None
) -> Features:
    """The features of every sample of a split, as split_predictions gives the answers."""
    device = _device()
    with _progress(trained, index, split, console, "Reading features") as on_sample:
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
    trained: Trained, index: Index, split: str, console: Console | None, verb: str
) -> Iterator[Callable[[], None]]:
    """A bar over the samples; a network that says nothing of one is named.

    Raises:
        NotFiniteError: Of what the block raised, with the run and the remedy.
    """
    samples = sum(shard.samples for shard in index.shards_of(split))
    with Progress(console=console, transient=True, disable=console is None) as progress:
        task = progress.add_task(verb, total=samples)
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
