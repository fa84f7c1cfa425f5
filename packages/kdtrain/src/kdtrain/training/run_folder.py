"""A run's folder: what was asked for, what happened, and the network that came out.

::

    RUN/run.json            settings, versions, data, network: enough to load the network and to resume
    RUN/log.jsonl           one JSON object per logged step and per epoch; without NaN: grad_norm is null where
                            fp16 skipped the step
    RUN/sessions.json       how long it was trained, and on what: one entry per start
    RUN/events.*            TensorBoard
    RUN/mlruns/, wandb/     of other loggers, where they were asked for
    RUN/loggers.json        under which ids the run is known there
    RUN/checkpoints/        see kdtrain.training.checkpoints
    RUN/model.safetensors   the chosen network
    RUN/calibration.json    see kdtrain.evaluation.calibration
    RUN/folds.json          of a run of a fold: which patient is in which (kdtrain.data.folds.document)
    RUN/evaluation-<split>/ see kdtrain.evaluation.record
    RUN/teacher-cache/      with --keep-views, what the teacher said; may go once the run is finished
    RUN/kdtrain.lock        held while a command trains
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import kdtrain
from kdtrain.errors import UsageError
from kdtrain.files import parsed_json, remove_partials, write_atomically
from kdtrain.locks import is_free, sole_writer
from kdtrain.training.longer import why_not_longer

RUN_FILE = "run.json"
LOG_FILE = "log.jsonl"
SESSIONS_FILE = "sessions.json"
MODEL_FILE = "model.safetensors"
CALIBRATION_FILE = "calibration.json"
KEPT_VIEWS = "teacher-cache"
"""Subfolder of a run that keeps what its teacher says; made before anything else."""
PHASES = ("teacher", "baseline", "distill", "finetune")
_NAMED = 5
"""Runs named in a message."""
_MOST_FOLDS = 1_000
LIBRARIES = ("deepspeed", "numpy", "pillow", "torch", "torchvision", "webdataset")


@dataclass(frozen=True, kw_only=True)
class Session:
    """One start of a run that trained, from the engine's making to its last word.

    A resumed run has several, whose steps may overlap: what a kill lost was paid for all the same.

    Attributes:
        seconds: Wall time of a process.
        device: "cpu", or the name of the GPU.
        processes: How many trained together.
        threads: PyTorch's, of a process.
        from_step: Optimizer steps before it.
        to_step: Optimizer steps when it was last written: at a checkpoint, at an epoch's end, or at its end.
    """

    seconds: float
    device: str
    processes: int
    threads: int
    from_step: int
    to_step: int


def cost_hours(sessions: Sequence[Session]) -> float:
    """Device-hours: a process takes a GPU or, without one, a CPU for its wall time."""
    return sum(session.seconds * session.processes for session in sessions) / 3600


def versions() -> dict[str, str]:
    """Versions of Python, kdtrain and the libraries behind the numbers."""
    return {
        "python": platform.python_version(),
        "kdtrain": kdtrain.__version__,
        **{name: metadata.version(name) for name in LIBRARIES},
    }


def read_run(folder: Path, *, what: str, finished: bool = False) -> dict[str, Any]:
    """run.json of a finished or unfinished run.

    Args:
        folder: The run's folder.
        what: The option that named it, for messages: "--teacher".
        finished: Whether its network is wanted, for which it has to say more.

    Raises:
        UsageError: The folder holds no run.
    """
    try:
        content = parsed_json((folder / RUN_FILE).read_bytes())
    except OSError:
        raise UsageError(f"{what} {folder} is no run: {_why_no_run(folder)}") from None
    except ValueError as error:
        raise UsageError(
            f"{what} {folder}: {RUN_FILE} is damaged ({error}); restore it or train again"
        ) from None
    if not isinstance(content, dict) or not _is_record(content, finished=finished):
        raise UsageError(
            f"{what} {folder}: {RUN_FILE} was not written by kdtrain; give the --out of an earlier phase"
        )
    return content


def runs_in(folder: Path) -> list[Path]:
    """Folders of runs right inside a folder, by name."""
    return sorted(path.parent for path in folder.glob(f"*/{RUN_FILE}"))


_OTHER_KINDS = {
    "bundle.json": "it is a bundle, which 'kdtrain export' made of a run; ask it about slides by 'kdtrain predict', or "
    "give the run that it was made of",
    "sweep.json": "it is a sweep's folder; give one of the runs in it",
    "cache.json": "it is a teacher cache; give the run of its teacher",
    "index.json": "it is a shard set; give the run that was trained on it",
    "predictions.json": "it holds predictions of slides; give the run that the bundle was made of",
}
"""What else kdtrain and slideprep write, by the file that tells; their rooms stand above this one."""


def _why_no_run(folder: Path) -> str:
    """What a folder is in place of a run, and what to do."""
    if not folder.is_dir():
        return "there is no such folder; give the --out of an earlier phase"
    for name, sentence in _OTHER_KINDS.items():
        if (folder / name).is_file():
            return sentence
    inside = [path.as_posix() for path in runs_in(folder)]
    if inside:
        more = f" and {len(inside) - _NAMED} more" if len(inside) > _NAMED else ""
        return f"it holds runs; give one of them, {', '.join(inside[:_NAMED])}{more}"
    return f"it has no {RUN_FILE}; give the --out of an earlier phase"


def _is_measured(session: Session) -> bool:
    numbers = (session.seconds, session.processes, session.threads, session.from_step, session.to_step)
    return all(isinstance(number, int | float) for number in numbers) and isinstance(session.device, str)


def _is_record(content: dict[str, Any], *, finished: bool) -> bool:
    """Whether it has the parts that those who read a run rely on, each of its kind: anyone may have written it."""
    settings, shard_set, network, *rest = (
        content.get(name, {}) for name in ("settings", "shard_set", "network", "other_settings", "versions")
    )
    parts = {"settings", "shard_set", "network"}
    if not parts <= set(content) or not all(
        isinstance(part, dict) for part in (settings, shard_set, network, *rest)
    ):
        return False
    if finished and settings.get("phase") not in PHASES:
        return False
    needed = (
        (settings, "seed", int),
        (settings, "train_on", list),
        (shard_set, "sha256", str),
        (shard_set, "train_on", list),
        (shard_set, "chosen_by", str),
        (network, "magnification", int | float),
        (network, "classes", list),
    )
    if not all(isinstance(part[key], kind) if key in part else not finished for part, key, kind in needed):
        return False
    if "fold" in shard_set and not _is_fold(shard_set["fold"]):
        return False
    names = (*settings.get("train_on", ()), *shard_set.get("train_on", ()), *network.get("classes", ()))
    places = (rest[0].get(name) or "" for name in ("shards", "out"))
    return all(isinstance(name, str) for name in (*names, *places, *rest[1].values()))


def _is_fold(fold: object) -> bool:
    """Whether it is what a run of a fold says of it (kdtrain.data.folds.view)."""
    if not isinstance(fold, dict):
        return False
    kinds = (("number", int), ("of", int), ("sha256", str), ("tested", list), ("validated", list))
    if not all(isinstance(fold.get(key), kind) for key, kind in kinds):
        return False
    names = (*fold["tested"], *fold["validated"])
    return 1 <= fold["number"] <= fold["of"] <= _MOST_FOLDS and all(isinstance(name, str) for name in names)


class RunFolder:
    """The folder of one run.

    Args:
        path: ``--out``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def sole_writer(self, command: str) -> Iterator[None]:
        """Hold the folder; what a killed command was writing goes.

        Args:
            command: What trains: "kdtrain teacher".

        Raises:
            UsageError: The folder holds something else, or another command writes there.
        """
        self.check_free()
        with sole_writer(self.path, command):
            remove_partials(self.path)
            yield

    def check_free(self) -> None:
        """Refuse a folder that holds something else than a run.

        Raises:
            UsageError: It does.
        """
        if not (self.path / RUN_FILE).exists() and not is_free(self.path, but=KEPT_VIEWS):
            raise UsageError(f"--out {self.path} is not empty and holds no run; give a new folder")

    def begin(
        self,
        settings: Mapping[str, Any],
        shard_set: Mapping[str, Any],
        network: Mapping[str, Any],
        other_settings: Mapping[str, Any],
        *,
        output_stride_chosen: Mapping[str, Any] | None = None,
    ) -> str | None:
        """Start a run, or go on with the same one, for more epochs if its schedule allows that.

        Args:
            settings: What decides the weights.
            shard_set: Identity of the data, and of the weights and files that were begun with.
            network: What is needed to build the model.
            other_settings: Paths, and what cannot change a weight: kept as they were at the beginning, and free
                to differ when the run goes on.
            output_stride_chosen: Why the network has its output stride, where a rule chose it. It follows from the
                settings and the data, so that it is kept and not compared.

        Returns:
            A sentence for the user, where a run was lengthened.

        Raises:
            UsageError: The folder holds another run, or something else.
        """
        identity = {"settings": settings, "shard_set": shard_set, "network": network}
        new = json.loads(json.dumps(identity, allow_nan=False))
        file = self.path / RUN_FILE
        if file.exists():
            old = read_run(self.path, what="--out")
            differing = differences({name: old[name] for name in identity}, new)
            if len(differing) == 1 and old["settings"].get("epochs") != new["settings"].get("epochs"):
                return self._lengthen(old, new)
            if differing:
                raise UsageError(
                    f"--out {self.path} holds a run with other settings, and runs are never mixed:\n  "
                    + "\n  ".join(differing)
                    + "\ngive the settings it was begun with, or a new --out"
                )
            return None
        self.check_free()
        chosen = {} if output_stride_chosen is None else {"output_stride_chosen": output_stride_chosen}
        self._write({**new, **chosen, "other_settings": other_settings, "versions": versions()})
        return None

    def _lengthen(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
        reason = why_not_longer(old["settings"], new["settings"])
        if reason is not None:
            raise UsageError(f"--out {self.path} holds a run of another length: {reason}")
        # First, so that at no moment the shorter run's network stands for the longer run's.
        (self.path / MODEL_FILE).unlink(missing_ok=True)
        self._write({**old, **new})
        before, now = (record["settings"]["epochs"] for record in (old, new))
        return (
            f"lengthened from {before} to {now} epochs: {MODEL_FILE} is away until they are over, when the network is "
            "chosen among all of them"
        )

    def _write(self, content: Mapping[str, Any]) -> None:
        write_atomically(
            self.path / RUN_FILE, json.dumps(content, indent=1, sort_keys=True, allow_nan=False).encode()
        )

    def truncate_log(self, step: int) -> None:
        """Drop lines after ``step``: a resumed run writes them again."""
        path = self.path / LOG_FILE
        if not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = parsed_json(line)
            except ValueError:
                continue  # the line that was being written when the run was killed
            if isinstance(entry, dict) and entry.get("step", 0) <= step:
                kept.append(line)
        write_atomically(path, "".join(line + "\n" for line in kept).encode())

    def log(self, entry: Mapping[str, Any]) -> None:
        """Append one line."""
        with (self.path / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, sort_keys=True, allow_nan=False) + "\n")

    def read_log(self) -> list[dict[str, Any]]:
        """All lines, oldest first."""
        path = self.path / LOG_FILE
        return (
            [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            if path.exists()
            else []
        )

    def sessions(self) -> list[Session]:
        """All starts that trained, oldest first; none where the run did not train yet, or before this was kept.

        Raises:
            UsageError: The file is damaged.
        """
        path = self.path / SESSIONS_FILE
        if not path.exists():
            return []
        try:
            found = [Session(**entry) for entry in parsed_json(path.read_bytes())]
            if not all(_is_measured(one) for one in found):
                raise ValueError("a session has no numbers")
            return found
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"{path} is damaged ({error}); restore it, or remove it, and the time spent so far is not counted"
            ) from None

    def write_sessions(self, sessions: Sequence[Session]) -> None:
        """Replace the list of sessions."""
        content = [asdict(session) for session in sessions]
        write_atomically(self.path / SESSIONS_FILE, json.dumps(content, indent=1, allow_nan=False).encode())


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs between two records, one line a field: ``settings.seed: 0 there, 1 now``."""
    lines = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {json.dumps(before)} there, {json.dumps(after)} now")
    return lines
