"""Checkpoints on disk: whole or not there, checked before use, and read without executing anything.

```
checkpoints/step-000123/model.safetensors      the weights
                        optimizer.safetensors  "<parameter>/<key>", such as "fc.weight/exp_avg"
                        average.safetensors    the weights' moving average, where --ema keeps one
                        record.json            where the run was
                        SHA256SUMS             of them; ``sha256sum -c SHA256SUMS`` checks them by hand
```

A checkpoint is written under another name, flushed to the disk, and renamed, so that a kill at any moment leaves
the ones before it untouched. No random state is kept: every draw is a function of seed, epoch and sample.
Only one process writes, and it is the caller's task to choose which.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from kdtrain.errors import UsageError
from kdtrain.files import open_atomically, parsed_json, sha256_of, sync_folder
from kdtrain.text import brief, reason_of
from kdtrain.training.engine.state import TrainingState

FORMAT = "kdtrain-checkpoint-1"
_FILES = ("model.safetensors", "optimizer.safetensors", "record.json")
_AVERAGE = "average.safetensors"
_SUMS = "SHA256SUMS"
_NAME = re.compile(r"step-(\d{6,})")


class CheckpointError(UsageError):
    """A checkpoint cannot be used; the message says which, why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Where a run was when its checkpoint was written.

    Attributes:
        step: Updates taken.
        epoch: The epoch under way, from 0.
        position: Groups of that epoch that are done, each one optimizer step.
        world_size: Ranks that trained; with another number a run goes on, but not bit for bit.
        best_step: The step of the best checkpoint so far; None before any validation.
        best_metric: Its metric.
        extra: Anything else in JSON that the run wants back.
    """

    step: int
    epoch: int
    position: int
    world_size: int
    best_step: int | None = None
    best_metric: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class CheckpointStore:
    """The checkpoints of one run: the last few, and the best.

    Args:
        folder: Holds one folder per checkpoint; made when the first is written.
        keep_last: How many of the newest to keep; 2 leave one to fall back on.
        warn: Takes a sentence for the user, when a damaged checkpoint is passed over.
    """

    def __init__(self, folder: Path, *, keep_last: int = 2, warn: Callable[[str], None]) -> None:
        if keep_last < 1:
            raise ValueError(f"keep_last is {keep_last}; a run needs at least 1 checkpoint to go on from")
        self.folder = folder
        self._keep_last = keep_last
        self._warn = warn

    def path_of(self, step: int) -> Path:
        """Folder of the checkpoint of a step."""
        return self.folder / f"step-{step:06d}"

    def save(self, state: TrainingState, record: Record) -> Path:
        """Write a checkpoint and remove those that are no longer kept.

        Raises:
            OSError: The disk refuses; checkpoints written before stay as they are.
        """
        assert state.step == record.step
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        partial = self.folder / f".step-{record.step:06d}.partial"
        partial.mkdir()
        _write_files(partial, state, record)
        self._put_in_place(partial, self.path_of(record.step))
        for step in superseded(self._steps(), keep_last=self._keep_last, best_step=record.best_step):
            shutil.rmtree(self.path_of(step))
        return self.path_of(record.step)

    def newest(self) -> Path | None:
        """The newest checkpoint that is whole, or None where there is no checkpoint at all.

        Damaged ones are passed over with a warning, and left for inspection until their step comes up again.

        Raises:
            CheckpointError: There are checkpoints, but none is whole.
        """
        faults: list[str] = []
        for step in sorted(self._steps(), reverse=True):
            path = self.path_of(step)
            fault = first_damage(path)
            if fault is None:
                for damaged in faults:
                    self._warn(f"checkpoint {damaged}; going on from {path.name}, the one before")
                return path
            faults.append(f"{path.name} is damaged: {fault}")
        if faults:
            remedy = "restore the folder from a copy, or remove it to start the run again"
            raise CheckpointError(
                f"no checkpoint in {self.folder} can be used ({'; '.join(faults)}); {remedy}"
            )
        return None

    def _steps(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        matches = (_NAME.fullmatch(path.name) for path in self.folder.iterdir() if path.is_dir())
        return [int(match[1]) for match in matches if match]

    def _remove_leftovers(self) -> None:
        for path in self.folder.glob(".step-*"):
            shutil.rmtree(path)

    def _put_in_place(self, partial: Path, target: Path) -> None:
        # A damaged checkpoint of this step may stand there; a folder cannot be renamed over a full one.
        if target.exists():
            target.rename(self.folder / f".{target.name}.old")
        partial.rename(target)
        sync_folder(self.folder)
        shutil.rmtree(self.folder / f".{target.name}.old", ignore_errors=True)


def superseded(steps: Sequence[int], *, keep_last: int, best_step: int | None) -> list[int]:
    """Steps whose checkpoints are neither among the last ``keep_last`` nor the best."""
    return [step for step in sorted(steps)[:-keep_last] if step != best_step]


def first_damage(path: Path) -> str | None:
    """What is wrong with a checkpoint's folder, or None: its files against their SHA-256."""
    try:
        lines = (path / _SUMS).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return f"{_SUMS} cannot be read ({error})"
    stated = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if set(stated) - {_AVERAGE} != set(_FILES):
        return f"{_SUMS} names {sorted(stated)}, not {sorted(_FILES)}"
    for name in stated:
        try:
            actual = sha256_of(path / name)
        except OSError as error:
            return f"{name} cannot be read ({error})"
        if actual != stated[name]:
            return f"{name} is not what was written (SHA-256 {actual[:8]}, not {stated[name][:8]})"
    return None


def load(path: Path) -> tuple[TrainingState, Record]:
    """Read a checkpoint that ``newest`` returned.

    Raises:
        CheckpointError: It was written in another format, or by something else.
    """
    try:
        document = parsed_json((path / "record.json").read_bytes())
        form = document.get("format")
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} holds no record of a checkpoint ({error})") from None
    if form != FORMAT:
        given = f"{path} is in format {brief(form)}; this version reads {FORMAT!r}"
        raise CheckpointError(f"{given}; go on with the version of kdtrain that wrote it")
    try:
        scale, steps = document["loss_scale"]
        record = Record(**document["record"])
        state = TrainingState(
            weights=safetensors.torch.load_file(path / "model.safetensors"),
            optimizer=safetensors.torch.load_file(path / "optimizer.safetensors"),
            step=record.step,
            loss_scale=(scale, steps),
            average=safetensors.torch.load_file(path / _AVERAGE) if (path / _AVERAGE).exists() else None,
        )
        if not all(isinstance(count, int) for count in (record.step, record.epoch, record.position)):
            raise ValueError("its record has no step, epoch and position")
    except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        reason = reason_of(error)
        raise CheckpointError(
            f"{path} is no checkpoint of kdtrain ({reason}); restore the folder, or remove it to start again"
        ) from None
    return state, record


def write_weights(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write weights as safetensors, whole or not at all and readable as the umask says; an existing file is replaced.

    Args:
        path: Such as RUN/model.safetensors.
        weights: By name, each contiguous and in memory of its own.
        metadata: Text that goes into the file's header.

    Raises:
        OSError: The disk refuses; an existing file stays as it is.
    """
    with open_atomically(path) as file:
        file.write(safetensors.torch.save(dict(weights), dict(metadata)))


def _write_files(folder: Path, state: TrainingState, record: Record) -> None:
    document = {"format": FORMAT, "loss_scale": state.loss_scale, "record": dataclasses.asdict(record)}
    text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"
    (folder / "record.json").write_text(text, encoding="utf-8")
    names = list(_FILES)
    # Not by save_file, which lets nobody but the owner read, whatever the umask says.
    (folder / "model.safetensors").write_bytes(safetensors.torch.save(dict(state.weights)))
    (folder / "optimizer.safetensors").write_bytes(safetensors.torch.save(dict(state.optimizer)))
    if state.average is not None:
        (folder / _AVERAGE).write_bytes(safetensors.torch.save(dict(state.average)))
        names.append(_AVERAGE)
    sums = "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names)
    (folder / _SUMS).write_text(sums, encoding="ascii")
    for name in (*names, _SUMS):
        _sync_file(folder / name)
    sync_folder(folder)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
