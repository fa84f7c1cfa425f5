"""``kdtrain calibrate``: a run and a labelled split in, RUN/calibration.json out.

A step of its own, because distillation reads no label of any split: whoever wants probabilities that say how often they
are right gives labels for it here, and only here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from kdtrain.errors import UsageError
from kdtrain.evaluation.calibration import Calibration, Fitted, write_calibration
from kdtrain.evaluation.predictions import Prediction, check_predictions, items_at
from kdtrain.evaluation.record import outcomes_of
from kdtrain.evaluation.reliability import MEASURES, measure
from kdtrain.evaluation.subject import check_measurable, opened, split_predictions
from kdtrain.evaluation.temperature import fit_temperature, logits_of
from kdtrain.locks import sole_writer
from kdtrain.shards.cache import CacheSettings
from kdtrain.shards.index import Index
from kdtrain.shards.locations import Location
from kdtrain.training.trained import Trained

DEFAULT_SPLIT = "val"


def calibrate(
    run: Path | str,
    shards: Location | str,
    *,
    split: str = DEFAULT_SPLIT,
    workers: int = 2,
    console: Console | None = None,
    cache: CacheSettings | None = None,
) -> Calibration:
    """Fit a run's temperature, as ``kdtrain calibrate`` does; ``RUN/calibration.json`` is written alike.

    Args:
        run: The run's folder.
        shards: Folder of the shard set, or its URL.
        split: A labelled split or set that neither the network nor its teacher was trained on.
        workers: Loader processes.
        console: For a progress bar; None for none.
        cache: For the shards of a URL; None takes the defaults.

    Raises:
        UsageError: The run is not finished, the classes differ, or the split cannot say how sure is too sure: without
            labels, trained on, or of one class.
        ShardError: The set lacks the split or the magnification, or is damaged.
        TrainingError: A loader process was killed, or what the network says of a sample is no number.
    """
    run = Path(run)
    trained, index = opened(run, shards, split, cache)
    check_measurable(trained, index, split, option="--on")
    if reason := why_not_calibrate(index, split, trained_parts(trained, index)):
        raise UsageError(f"--on {split} {reason}")
    with sole_writer(run, "kdtrain calibrate"):
        predictions = split_predictions(
            trained, index, split, workers, console, verb="Calibrating"
        ).predictions
        calibration = _fitted(trained, index, split, predictions)
        write_calibration(run, calibration)
    return calibration


def trained_parts(trained: Trained, index: Index) -> dict[str, str]:
    """Stored splits whose labels or answers the network learned from, with who learned; none of another set's."""
    shard_set = trained.run["shard_set"]
    if shard_set["sha256"] != index.sha256:
        return {}
    teacher = shard_set.get("teacher", {}).get("train_on", ())
    return dict.fromkeys(teacher, "its teacher") | dict.fromkeys(shard_set["train_on"], "the network")


def why_not_calibrate(index: Index, split: str, learned: dict[str, str]) -> str | None:
    """Why a split or set says nothing of how sure a network may be, with what to do; None where it does.

    Args:
        index: The shard set.
        split: A labelled split or set of it.
        learned: Stored splits that were trained on, and by whom.
    """
    parts = index.document.sets[split]
    other = "give a labelled split that was not trained on, such as val or dev"
    for part in parts:
        if part in learned:
            return (
                f"{'is' if part == split else f'has {part}, which is'} what {learned[part]} was trained on, where its "
                f"mistakes are fewer than elsewhere: the temperature would come out too low; {other}"
            )
    counts = Counter[str]()
    for part in parts:
        counts.update(index.document.splits[part].per_class or {})
    there = [name for name, count in counts.items() if count]
    if len(there) < 2:
        named = f"holds samples of {there[0]} alone" if there else "holds no samples"
        return (
            f"{named}, so nothing tells how often classes are taken for each other; {other}, of every class"
        )
    return None


def _fitted(trained: Trained, index: Index, split: str, predictions: Sequence[Prediction]) -> Calibration:
    ordered = check_predictions(predictions, trained.network.classes)
    items = items_at("sample", ordered)
    patients = len({one.patient for one in ordered})
    temperature = fit_temperature(logits_of(items.probabilities), items.labels, patients=patients)
    counts = np.bincount(items.labels, minlength=len(trained.network.classes)).tolist()
    return Calibration(
        temperature=temperature,
        split=split,
        samples=len(ordered),
        patients=patients,
        class_counts=dict(zip(trained.network.classes, counts, strict=True)),
        before=_measured(ordered, None),
        after=_measured(ordered, temperature),
        weights_sha256=trained.sha256,
        shard_set_sha256=index.sha256,
        trained_on_sha256=trained.run["shard_set"]["sha256"],
    )


def _measured(predictions: Sequence[Prediction], temperature: float | None) -> Fitted:
    found = measure(outcomes_of(items_at("sample", predictions, temperature), "sample"))
    # Rounded, so that the same command writes the same bytes on another processor.
    return Fitted(**{name: float(f"{float(found[name]):.6g}") for name in MEASURES})
