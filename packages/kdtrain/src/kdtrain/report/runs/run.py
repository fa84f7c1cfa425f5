"""One evaluated run, read from its folder: what it is, what it said of every sample, what it cost.

In: a run's folder and a split. Out: a Run, or the reason why there is none yet. Its log becomes
curves: the loss and the validation metric of every epoch, few enough points to draw. Nothing else is computed, and
PyTorch is not needed.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from kdtrain.errors import UsageError
from kdtrain.evaluation.calibration import read_calibration
from kdtrain.evaluation.predictions import Prediction, read_predictions_csv
from kdtrain.evaluation.record import METRICS_FILE, PREDICTIONS_FILE, evaluation_folder
from kdtrain.evaluation.temperature import Temperature
from kdtrain.files import parsed_json, sha256_of
from kdtrain.shards.locations import Location
from kdtrain.training.run_folder import LOG_FILE, MODEL_FILE, RunFolder, Session, read_run

MAX_POINTS = 200
"""Points of a curve: more cannot be told apart on a page, and dozens of curves must stay small."""
Curve = tuple[tuple[float, float], ...]
"""(epoch, from 1; value) in order."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a forward pass takes, averaged over the evaluated images.

    Attributes:
        gflops: Billions of floating-point operations, two per multiply-add.
        megapixels: Megapixels of an image.
    """

    gflops: float
    megapixels: float


@dataclass(frozen=True, kw_only=True)
class Run:
    """An evaluated run.

    Attributes:
        name: As the sweep or the command line has it.
        folder: Its folder.
        method: Its label in tables.
        record: The content of run.json.
        classes: In the order of labels and probabilities.
        predictions: Predictions of the split's samples, sorted by key.
        temperature: Of its probabilities; None where it was not calibrated when it was evaluated.
        fitted_here: Whether that temperature was fitted on samples of the reported split.
        calibrated_since: Whether it was calibrated, or otherwise, after it was evaluated.
        weights_sha256: SHA-256 of model.safetensors.
        shard_set_sha256: SHA-256 of the index of the set that it was evaluated on.
        cost: Cost of a forward pass.
        parameters: Parameters of the network.
        chosen_step: Optimizer step whose weights were kept.
        sessions: What training it took; none for a run made before this was kept.
        curves: Its course.
    """

    name: str
    folder: Path
    method: str
    record: Mapping[str, Any]
    classes: tuple[str, ...]
    predictions: tuple[Prediction, ...]
    temperature: float | None
    fitted_here: bool
    weights_sha256: str
    shard_set_sha256: str
    cost: Cost
    parameters: int
    chosen_step: int
    sessions: tuple[Session, ...]
    curves: Curves
    calibrated_since: bool = False

    @property
    def applied_temperature(self) -> Temperature | None:
        """What its predictions are calibrated by."""
        return self.temperature

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decided the weights, by the names of the options."""
        settings: Mapping[str, Any] = self.record["settings"]
        return settings

    @property
    def phase(self) -> str:
        """teacher, baseline, distill or finetune."""
        return str(self.settings["phase"])

    @property
    def magnification(self) -> float:
        """Magnification of the network's images."""
        return float(self.record["network"]["magnification"])

    @property
    def seed(self) -> int:
        """Seed of weights, order and augmentation."""
        return int(self.settings["seed"])

    @property
    def teacher_sha256(self) -> str | None:
        """SHA-256 of the weights that a distilled run learned from; None for other phases."""
        teacher: Mapping[str, str] = self.record["shard_set"].get("teacher", {})
        return teacher.get("weights_sha256") or teacher.get("sha256")

    @property
    def samples_seen(self) -> int | None:
        """In all of its training: optimizer steps times the samples of a step. None where neither log nor sessions are.

        Each epoch's last step may be smaller, so it is a few too many where an epoch has few steps.
        """
        steps = max([self.curves.last_step, *(session.to_step for session in self.sessions)])
        return steps * int(self.settings.get("accumulate", 0)) or None


def metric_of(record: Mapping[str, Any]) -> str:
    """The metric that chose the checkpoint: that of the settings, but where the validation split lacked classes.

    Args:
        record: The content of run.json.
    """
    return str(record["shard_set"].get("select_by", record["settings"].get("select_by")))


FEATURES_ALONE = (
    "it is a feature network and answers with no class: report the run that 'kdtrain finetune' made of it"
)
"""Why a run has nothing to report, now or later."""


def not_ready(folder: Path, split: str, shards: Location | None) -> str | None:
    """Why a run cannot be reported yet, with what to do; None where it can.

    Args:
        folder: Holds a run.json.
        split: Must have been evaluated, with the weights that are there now.
        shards: The shard set, for the command that evaluates; None takes the one that the run was trained on.
    """
    weights = folder / MODEL_FILE
    if not weights.is_file():
        return f"its training is not finished (no {MODEL_FILE}): run its command again to go on"
    record = read_run(folder, what="RUN", finished=True)
    if not record["network"]["classes"]:
        return FEATURES_ALONE
    path = evaluation_folder(folder, split)
    where = shards or record.get("other_settings", {}).get("shards", "DIR")
    command = shlex.join(["kdtrain", "evaluate", str(folder), "--shards", str(where), "--split", split])
    if not (path / METRICS_FILE).is_file():
        return f"it is not evaluated on {split}: run '{command}'"
    if _metrics(path)["weights_sha256"] != sha256_of(weights):
        return f"its weights are not those that were evaluated on {split}: run '{command}'"
    return None


def read_evaluated(folder: Path, split: str, *, name: str, method: str) -> Run:
    """Read a run for which :func:`not_ready` has no reason.

    Raises:
        UsageError: A file of it is damaged, or its predictions are of other weights or data than its metrics.
    """
    record = read_run(folder, what="RUN", finished=True)
    path = evaluation_folder(folder, split)
    metrics, table = _metrics(path), read_predictions_csv(path / PREDICTIONS_FILE)
    for key in ("weights_sha256", "shard_set_sha256"):
        if table.provenance.get(key) != metrics[key]:
            raise UsageError(
                f"{path}: {PREDICTIONS_FILE} and {METRICS_FILE} differ in {key}, so they are of two evaluations; "
                "run 'kdtrain evaluate' again"
            )
    parameters, step = _weights_header(folder / MODEL_FILE)
    return Run(
        name=name,
        folder=folder,
        method=method,
        record=record,
        classes=table.classes,
        predictions=table.predictions,
        temperature=table.temperature,
        fitted_here=_fitted_here(metrics),
        weights_sha256=metrics["weights_sha256"],
        shard_set_sha256=metrics["shard_set_sha256"],
        cost=Cost(gflops=metrics["cost"]["gflops_mean"], megapixels=metrics["cost"]["megapixels_mean"]),
        parameters=parameters,
        chosen_step=step,
        sessions=tuple(RunFolder(folder).sessions()),
        curves=read_curves(folder, metric=metric_of(record), kept_step=step),
        calibrated_since=_temperature(folder, metrics["weights_sha256"]) not in (None, table.temperature),
    )


def _fitted_here(metrics: Mapping[str, Any]) -> bool:
    calibration = metrics.get("calibration")
    return isinstance(calibration, dict) and bool(calibration.get("fitted_on_this_split"))


def _temperature(folder: Path, weights: str) -> float | None:
    """That the run has now; None also where its record is damaged, which evaluating it anew would tell."""
    try:
        calibration = read_calibration(folder, weights, what="RUN")
    except UsageError:
        return None
    return None if calibration is None else calibration.temperature


def _metrics(folder: Path) -> dict[str, Any]:
    path = folder / METRICS_FILE
    try:
        metrics = parsed_json(path.read_bytes())
        digests = [metrics[name] for name in ("weights_sha256", "shard_set_sha256")]
        costs = [metrics["cost"][name] for name in ("gflops_mean", "megapixels_mean")]
        whole = all(isinstance(one, str) for one in digests) and all(
            isinstance(one, int | float) and math.isfinite(one) for one in costs
        )
    except (ValueError, TypeError, KeyError):
        whole = False
    if not whole:
        raise UsageError(f"{path} is not as 'kdtrain evaluate' writes it; evaluate the run again")
    return dict(metrics)


def _weights_header(path: Path) -> tuple[int, int]:
    """(parameters, the step that was kept), without reading a weight."""
    try:
        with safe_open(path, framework="numpy") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 - not a mapping
            origin = parsed_json((file.metadata() or {})["kdtrain"])
            return sum(math.prod(shape) for shape in shapes), int(origin["step"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} was not written by kdtrain or is damaged ({error}); train again") from None


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What a run's log says of its course.

    Attributes:
        training: Mean over the logged steps of each epoch of the training loss.
        validation: The metric that chose the checkpoint, after each epoch; empty where nothing was validated.
        validation_loss: The training's own loss on the validation split, after each epoch; likewise.
        kept_epoch: The epoch after which the weights were kept, as the validations have it; None where none has.
        last_step: The last optimizer step that the log has; 0 where it has none.
    """

    training: Curve
    validation: Curve
    last_step: int
    validation_loss: Curve = ()
    kept_epoch: float | None = None


def read_curves(run: Path, *, metric: str, kept_step: int) -> Curves:
    """Read a run's log; none of it is needed for anything but drawing, so a damaged line is passed over.

    Args:
        run: The run's folder.
        metric: Metric of the validation, as ``select_by`` names it.
        kept_step: Optimizer step whose weights were kept.
    """
    log = _log(run / LOG_FILE)
    steps, validations, losses_after = (
        [entry for entry in log if entry.get("kind") == kind and _whole(entry, name)]
        for kind, name in (("step", "loss"), ("validation", metric), ("validation", "loss"))
    )
    losses: dict[int, list[float]] = {}
    for entry in steps:
        losses.setdefault(entry["epoch"], []).append(entry["loss"])
    training = [(epoch + 1.0, math.fsum(values) / len(values)) for epoch, values in sorted(losses.items())]
    validation = [(entry["epoch"] + 1.0, entry[metric]) for entry in validations]
    kept = (entry["epoch"] + 1.0 for entry in (*validations, *losses_after) if entry["step"] == kept_step)
    return Curves(
        training=thinned(training),
        validation=thinned(validation),
        last_step=max((entry["step"] for entry in (*steps, *validations)), default=0),
        validation_loss=thinned([(entry["epoch"] + 1.0, entry["loss"]) for entry in losses_after]),
        kept_epoch=next(kept, None),
    )


def thinned(points: Sequence[tuple[float, float]], at_most: int = MAX_POINTS) -> Curve:
    """At most so many points: neighbours are averaged, so that no peak is picked or lost by chance."""
    width = max(1, math.ceil(len(points) / at_most))
    return tuple(_mean(points[start : start + width]) for start in range(0, len(points), width))


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    xs, ys = zip(*points, strict=True)
    return math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)


def _log(path: Path) -> list[Mapping[str, Any]]:
    """Lines that are JSON objects."""
    if not path.exists():
        return []
    found: list[Mapping[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = parsed_json(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            found.append(entry)
    return found


def _whole(entry: Mapping[str, Any], metric: str) -> bool:
    """Whether it has step and epoch, and a number as the metric."""
    counts = all(isinstance(entry.get(key), int) for key in ("step", "epoch"))
    return counts and isinstance(entry.get(metric), float | int)
