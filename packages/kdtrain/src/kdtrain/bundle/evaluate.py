"""``kdtrain evaluate BUNDLE``: a bundle and others' labelled set in, metrics and the shift of the images out.

The network is asked as ``kdtrain evaluate`` asks that of a run, by PyTorch, so on the same images the numbers are the
same. A bundle is sealed by its digests and nobody's to write into, so what is measured lies in a folder of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from kdtrain.bundle.document import WEIGHTS_FILE
from kdtrain.bundle.load import OpenBundle, open_bundle
from kdtrain.bundle.shift import Seen
from kdtrain.bundle.source import measured_samples
from kdtrain.bundle.stain import stain_numbers
from kdtrain.bundle.validation import VALIDATION_FILES, validate, write_validation
from kdtrain.errors import UsageError
from kdtrain.evaluation.bootstrap import ITERATIONS, Unit
from kdtrain.evaluation.class_names import places_by_name
from kdtrain.evaluation.evaluate import calibration_entry
from kdtrain.evaluation.subject import (
    Evaluation,
    check_labelled,
    check_unit,
    described,
    split_predictions,
)
from kdtrain.locks import is_free, sole_writer
from kdtrain.shards.cache import CacheSettings
from kdtrain.shards.index import Index, read_index
from kdtrain.shards.locations import Location
from kdtrain.training.trained import Trained


def evaluate_bundle(
    path: Path | str,
    shards: Location | str,
    *,
    out: Path,
    split: str = "test",
    unit: Unit = "patient",
    iterations: int = ITERATIONS,
    seed: int = 0,
    workers: int = 2,
    console: Console | None = None,
    cache: CacheSettings | None = None,
) -> Evaluation:
    """Measure a bundle, as ``kdtrain evaluate BUNDLE`` does; ``out`` is written alike.

    Args:
        path: The bundle's folder.
        shards: Folder of a labelled shard set, or its URL.
        out: Folder for what is measured: a new one, or that of an earlier evaluation, which is replaced.
        split: A labelled split or set of it.
        unit: "patient" or "sample": what the bootstrap draws.
        iterations: Bootstrap draws.
        seed: Seed of the draws.
        workers: Loader processes.
        console: For progress bars; None for none.
        cache: For the shards of a URL; None takes the defaults.

    Raises:
        UsageError: The bundle is damaged, the set has a class that it does not know or other magnifications, the
            split has no labels, the folder holds something else, or there is no such unit.
        ShardError: The set lacks the split or the magnification, or is damaged.
        TrainingError: A loader process was killed, or what the network says of a sample is no number.
    """
    check_unit(unit)
    bundle = open_bundle(path)
    index = read_index(shards, cache, magnifications=[bundle.magnification])
    check_out(out, bundle)
    trained = as_trained(bundle)
    places = _check_set(trained, bundle, index, split)
    with sole_writer(out, "kdtrain evaluate"):
        predictions = split_predictions(trained, index, split, workers, console)
        validation = validate(
            bundle,
            [replace(one, label=places[one.label]) for one in predictions],
            seen_in_split(index, split, bundle.magnification, console),
            split=split,
            more=_described(bundle, trained, index, split),
            unit=unit,
            iterations=iterations,
            seed=seed,
        )
    write_validation(out, bundle, validation)
    return Evaluation(run=bundle.path, split=split, metrics=validation.metrics, folder=out)


def check_out(out: Path, bundle: OpenBundle) -> None:
    """Refuse a folder that holds something else than an evaluation."""
    inside = bundle.path.resolve() in (out.resolve(), *out.resolve().parents)
    if inside:
        raise UsageError(
            f"--out {out} is in the bundle, which is sealed by the digests in its bundle.json; give a folder beside it"
        )
    there = out.is_dir() and {path.name for path in out.iterdir()}
    if not (is_free(out) or (there and there <= {*VALIDATION_FILES, "kdtrain.lock", "kdtrain.lock.owner"})):
        raise UsageError(
            f"--out {out} is not empty and holds no evaluation of a bundle; give a new folder, or that of an earlier "
            "evaluation to replace it"
        )


def _check_set(trained: Trained, bundle: OpenBundle, index: Index, split: str) -> tuple[int, ...]:
    """The place of each of the set's classes in the bundle's.

    Raises:
        UsageError: The set's pixels or classes are not the bundle's, or the bundle is of a fold of this very set.
    """
    check_labelled(trained, index, split, option="--split")
    entry, training = bundle.document.input, bundle.document.training
    if index.document.magnification_by != entry.magnification_by:
        raise UsageError(
            f"the bundle's magnification is by {entry.magnification_by}, that of {index.directory} by "
            f"{index.document.magnification_by}, so {entry.magnification:g}x is not the same size of a pixel; build "
            f"the set with --magnification-by {entry.magnification_by}"
        )
    if training.settings.get("fold") is not None and training.shard_set_sha256 == index.sha256:
        raise UsageError(
            f"the bundle was trained in fold {training.settings['fold']} of this very set, whose splits are not those "
            "of the fold; give 'kdtrain evaluate' the run, which knows them, or a set of other patients"
        )
    return places_by_name(
        bundle.classes,
        index.document.classes,
        where=f"--shards {index.directory}",
        remedy="correct the names in labels.csv and build the set again, or leave those slides out",
    )


def as_trained(bundle: OpenBundle) -> Trained:
    """A bundle's network as commands know that of a run; of its record, what evaluations ask for."""
    document = bundle.document
    training = document.training
    return Trained(
        network=bundle.network,
        model=bundle.model(),
        run={
            "settings": {**training.settings, "phase": training.phase},
            "shard_set": {"sha256": training.shard_set_sha256, "train_on": list(training.train_on)},
        },
        folder=bundle.path,
        sha256=document.files[WEIGHTS_FILE].sha256,
    )


def seen_in_split(index: Index, split: str, magnification: float, console: Console | None) -> list[Seen]:
    """What the images of a split are like: all of them, or a thousand evenly spaced ones."""
    with Progress(console=console, transient=True, disable=console is None) as progress:
        task = progress.add_task("Measuring stain and size", total=None)
        samples = measured_samples(
            index,
            [split],
            magnification,
            on_image=lambda done, of: progress.update(task, completed=done, total=of),
        )
        found = []
        for sample in samples:
            image_HWC = sample.images[magnification].permute(1, 2, 0).numpy()
            found.append(
                Seen(
                    width=image_HWC.shape[1],
                    height=image_HWC.shape[0],
                    mpp=sample.record.mpp,
                    objective=sample.record.level0.objective,
                    stain=stain_numbers(image_HWC),
                )
            )
        return found


def _described(bundle: OpenBundle, trained: Trained, index: Index, split: str) -> Mapping[str, Any]:
    """What was measured, on what, and what it costs: as metrics.json of a run has it."""
    training = bundle.document.training
    more = {
        **described(trained, index, split),
        "training_set_sha256": training.shard_set_sha256,
        "train_on": list(training.train_on),
    }
    if bundle.document.calibration is not None:
        more["calibration"] = calibration_entry(bundle.document.calibration, index, split)
    return more
