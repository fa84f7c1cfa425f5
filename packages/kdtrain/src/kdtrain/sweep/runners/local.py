"""Runs as processes of this machine: one after the other, or several at a time, each with its share of the cores.

With several GPUs, each run has one of them to itself.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from kdtrain.errors import UsageError
from kdtrain.shards.locations import Location
from kdtrain.sweep.jobs import Job
from kdtrain.sweep.recipe import EvaluateRecipe

LOGS = "logs"
"""Subfolder of a sweep: what each run printed, and its lock."""
_LAUNCHER_VARIABLES = frozenset(
    {
        *("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"),
        *("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
        *("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    }
)
"""A run of a sweep is one process by itself, whatever started the sweep."""
_GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.1
_REASON_CHARACTERS = 400
_RANK = re.compile(r"^\[rank\d+\]:\s*")
"""PyTorch puts it before every line of a traceback."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run's process ended.

    Attributes:
        name: Name of the run.
        reason: Why it failed; "" where it did not.
        seconds: Since it was started.
    """

    name: str
    reason: str
    seconds: float


class Launcher(Protocol):
    """Where runs are worked on."""

    def has_room(self) -> bool:
        """Whether another run may start now."""
        ...

    def start(self, job: Job, *, train: bool) -> None:
        """Start a run; without ``train`` it is only measured."""
        ...

    def ended(self, timeout_s: float) -> list[Ended]:
        """Wait for a run to end, for a while; those that have."""
        ...

    def stop(self) -> None:
        """End everything that runs, at once."""
        ...


def request_of(
    job: Job, *, train: bool, shards: Location, out: Path, evaluate: EvaluateRecipe
) -> dict[str, Any]:
    """What :mod:`kdtrain.sweep.runners.job` is told."""
    config = None if job.config is None else job.config.model_dump(mode="json", exclude_unset=True)
    return {
        "phase": job.run.phase,
        "config": config,
        "train": train,
        "folder": str(job.folder),
        "shards": str(shards),
        "splits": list(evaluate.splits) if job.measured else [],
        "calibrate_on": evaluate.calibrate_on if job.measured else None,
        "unit": evaluate.unit,
        "iterations": evaluate.iterations,
        "cache": None
        if job.config is None
        else [str(job.config.shard_cache or ""), job.config.shard_cache_gb],
        "workers": 0 if job.config is None else job.config.workers,
        "lock": str(out / LOGS / f"{job.name}.lock"),
        "log": str(out / LOGS / f"{job.name}.log"),
    }


def environment(*, threads: int | None, gpu: str | None) -> dict[str, str]:
    """Environment of a run's process.

    Args:
        threads: For its arithmetic; None leaves what is set, or the libraries' own choice.
        gpu: Number of its GPU, "" for none at all; None leaves all that can be seen.
    """
    found = {k: v for k, v in os.environ.items() if k not in _LAUNCHER_VARIABLES}
    if threads is not None:
        found["OMP_NUM_THREADS"] = str(threads)
    if gpu is not None:
        found["CUDA_VISIBLE_DEVICES"] = gpu
    return found


class Process:
    """A run's process, with what it has printed since its start.

    Args:
        request: From :func:`request_of`.
        env: Its environment.
    """

    def __init__(self, request: Mapping[str, Any], env: Mapping[str, str]) -> None:
        self._log = Path(request["log"])
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._began = time.monotonic()
        with self._log.open("ab") as log:
            self._from = log.tell()
            # A session of its own: Ctrl-C reaches the sweep alone, which then ends its runs.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kdtrain.sweep.runners.job"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(env),
                start_new_session=True,
            )
        stdin: IO[bytes] | None = self._process.stdin
        assert stdin is not None
        with suppress(BrokenPipeError):  # ended already; its log says why
            stdin.write(json.dumps(dict(request), allow_nan=False).encode() + b"\n")
            stdin.flush()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def seconds(self) -> float:
        """Since its start."""
        return time.monotonic() - self._began

    def reason(self) -> str:
        """Why it failed, by its exit code and the end of its log; "" where it did not."""
        code = self._process.wait()
        if code == 0:
            return ""
        with self._log.open("rb") as log:
            log.seek(self._from)
            return failure(code, log.read().decode(errors="replace"))

    def stop(self) -> None:
        """Ask it to end, and make it end."""
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def failure(code: int, printed: str) -> str:
    """Why a process failed: its last "error: ..." if it printed one, else its last line.

    Args:
        code: Exit code; negative for the signal that ended it.
        printed: What it printed.
    """
    if code < 0:
        name = signal.Signals(-code).name
        hint = "; the system may have run out of memory" if -code == signal.SIGKILL else ""
        return f"ended by {name}{hint}"
    lines = [_RANK.sub("", line.strip()) for line in printed.splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    said = " ".join(lines[starts[-1] :] if starts else lines[-1:]).removeprefix("error: ")
    said = said if len(said) <= _REASON_CHARACTERS else said[:_REASON_CHARACTERS] + "..."
    return said or f"ended with exit code {code}, without a word"


class LocalLauncher:
    """Processes of this machine.

    Args:
        shards: The shard set.
        out: Folder of the sweep.
        evaluate: How runs are measured.
        jobs: Runs at a time.
        cores: To share among them.
        gpus: Numbers of the GPUs that may be used.

    Raises:
        UsageError: More runs at a time than GPUs.
    """

    def __init__(
        self,
        *,
        shards: Location,
        out: Path,
        evaluate: EvaluateRecipe,
        jobs: int,
        cores: int,
        gpus: Sequence[str],
    ) -> None:
        if gpus and jobs > len(gpus):
            raise UsageError(
                f"--jobs {jobs}: each run has a GPU to itself, and there are {len(gpus)}; give at most {len(gpus)}"
            )
        self._where: dict[str, Any] = {"shards": shards, "out": out, "evaluate": evaluate}
        self._threads = threads_each(cores, jobs)
        self._free: list[str | None] = list(gpus[:jobs]) if gpus else [None] * jobs
        self._running: dict[str, tuple[Process, str | None]] = {}

    def has_room(self) -> bool:
        """See :class:`Launcher`."""
        return bool(self._free)

    def start(self, job: Job, *, train: bool) -> None:
        """See :class:`Launcher`."""
        slot = self._free.pop(0)
        gpu = "" if job.config is not None and job.config.device == "cpu" else slot
        env = environment(threads=self._threads, gpu=gpu)
        self._running[job.name] = (Process(request_of(job, train=train, **self._where), env), slot)

    def ended(self, timeout_s: float) -> list[Ended]:
        """See :class:`Launcher`."""
        deadline = time.monotonic() + timeout_s
        while True:
            over = [name for name, (process, _) in self._running.items() if not process.running]
            if over or time.monotonic() >= deadline:
                return [self._end(name) for name in over]
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """See :class:`Launcher`."""
        for process, _ in self._running.values():
            process.stop()
        self._running.clear()

    def _end(self, name: str) -> Ended:
        process, slot = self._running.pop(name)
        self._free.append(slot)
        return Ended(name=name, reason=process.reason(), seconds=process.seconds)


def threads_each(cores: int, jobs: int) -> int | None:
    """Threads of each of several runs at a time; None for a single one, which may choose."""
    return max(1, cores // jobs) if jobs > 1 else None


def usable_cores() -> int:
    """Cores that this process may use: fewer than the machine has inside containers and batch jobs."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def visible_gpus() -> tuple[str, ...]:
    """Numbers of the GPUs that may be used, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    number = torch.cuda.device_count()
    if named:
        return tuple(part.strip() for part in named.split(",") if part.strip())[:number]
    return tuple(map(str, range(number)))
