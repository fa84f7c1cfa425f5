"""What a run's folder holds already: the disk decides what is finished, not what a sweep remembers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kdtrain.errors import UsageError
from kdtrain.evaluation.calibration import Calibration, read_calibration
from kdtrain.evaluation.record import METRICS_FILE, evaluation_folder
from kdtrain.files import parsed_json, sha256_of
from kdtrain.sweep.recipe import EvaluateRecipe
from kdtrain.training.run_folder import MODEL_FILE, RUN_FILE, RunFolder, read_run

Stage = Literal["finished", "trained", "begun", "new"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is.

    Attributes:
        stage: finished: trained and, if it can be, measured; trained: measured only in part, or otherwise than asked
            for; begun: in training; new: nothing yet.
        step: The optimizer step that training goes on from; 0 where it starts.
    """

    stage: Stage
    step: int = 0

    @property
    def trained(self) -> bool:
        """Whether its network is there."""
        return self.stage in ("finished", "trained")


def progress_of(
    folder: Path,
    evaluate: EvaluateRecipe,
    shard_set_sha256: str,
    *,
    source_there: bool = True,
    epochs: int | None = None,
    measured: bool = True,
) -> Progress:
    """How far a run is.

    Args:
        folder: Folder of the run.
        evaluate: What it is to be measured on, and how.
        shard_set_sha256: SHA-256 of the set that it is to be measured on.
        source_there: Whether the networks that it learns from are there. Where one is gone and will be made anew, it
            is not settled that the run's own network is of that one.
        epochs: That it is to be trained for; None for what it was begun with.
        measured: Whether it can be: a feature network is finished once it is trained.
    """
    weights = weights_sha256(folder)
    if weights is None or not source_there or is_shorter(folder, epochs):
        begun = (folder / RUN_FILE).exists()
        return Progress(stage="begun" if begun else "new", step=_newest_step(folder))
    if not measured:
        return Progress(stage="finished")
    calibration = _calibration(folder, weights)
    on = evaluate.calibrate_on
    as_asked = on is None or (
        calibration is not None
        and (calibration.split, calibration.shard_set_sha256) == (on, shard_set_sha256)
    )
    done = as_asked and all(
        _measured(folder, split, evaluate, weights, shard_set_sha256, calibration)
        for split in evaluate.splits
    )
    return Progress(stage="finished" if done else "trained")


def _calibration(folder: Path, weights: str) -> Calibration | None:
    """None also where it is of other weights or damaged, which calibrating anew replaces."""
    try:
        return read_calibration(folder, weights, what="run")
    except UsageError:
        return None


def is_shorter(folder: Path, epochs: int | None) -> bool:
    """Whether a folder holds a run that was begun with fewer epochs."""
    if epochs is None or not (folder / RUN_FILE).exists():
        return False
    begun_with: int = read_run(folder, what="run")["settings"].get("epochs", epochs)
    return begun_with < epochs


def weights_sha256(folder: Path) -> str | None:
    """Digest of a run's chosen network; None where training has not ended."""
    path = folder / MODEL_FILE
    return sha256_of(path) if path.is_file() else None


def metrics_of(folder: Path, split: str) -> dict[str, Any] | None:
    """metrics.json of an evaluation; None where there is none that can be read."""
    try:
        content = parsed_json((evaluation_folder(folder, split) / METRICS_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def balanced_accuracy(folder: Path, split: str) -> float | None:
    """The headline of a finished run: over the split's images."""
    metrics = metrics_of(folder, split)
    if metrics is None:
        return None
    value = metrics["levels"]["sample"]["balanced_accuracy"]["value"]
    return None if value is None else float(value)


def place_of(folder: Path) -> tuple[int, int] | None:
    """(epoch from 1, step) that a run in training is at, by the last line of its log; None before the first."""
    try:
        entry = parsed_json(_last_line(folder / "log.jsonl"))
        return int(entry["epoch"]) + 1, int(entry["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def training_seconds(folder: Path) -> float | None:
    """Time that a run's processes spent training, over all its sessions; None where none can be read."""
    try:
        sessions = RunFolder(folder).sessions()
    except UsageError:
        return None
    return sum(session.seconds for session in sessions) if sessions else None


def _measured(
    folder: Path,
    split: str,
    evaluate: EvaluateRecipe,
    weights: str,
    shard_set: str,
    calibration: Calibration | None,
) -> bool:
    metrics = metrics_of(folder, split)
    if metrics is None:
        return False
    how = metrics.get("bootstrap", {})
    temperature = None if calibration is None else calibration.temperature
    if (metrics.get("calibration") or {}).get("temperature") != temperature:
        return False
    return (metrics.get("weights_sha256"), metrics.get("shard_set_sha256")) == (weights, shard_set) and (
        how.get("unit"),
        how.get("iterations"),
    ) == (evaluate.unit, evaluate.iterations)


def _newest_step(folder: Path) -> int:
    names = [path.name.removeprefix("step-") for path in (folder / "checkpoints").glob("step-*")]
    return max((int(name) for name in names if name.isdecimal()), default=0)


def _last_line(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 4096))
        lines = file.read().splitlines()
    # The line being written may not be whole.
    return next((line for line in reversed(lines) if line.endswith(b"}")), b"")
