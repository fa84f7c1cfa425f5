"""Runs as processes: their share of the machine, why they failed, and that none outlives its sweep."""

from __future__ import annotations

import fcntl
import io
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fixtures.waiting import wait_until
from kdtrain.errors import UsageError
from kdtrain.sweep.display import Screen, duration
from kdtrain.sweep.recipe import EvaluateRecipe
from kdtrain.sweep.runners.job import sentence_of
from kdtrain.sweep.runners.local import LocalLauncher, Process, environment, failure, visible_gpus
from kdtrain.sweep.runners.ray import ray_launcher


@pytest.mark.parametrize(
    ("code", "printed", "reason"),
    [
        (1, "epoch 1\nerror: the loss is nan\n", "the loss is nan"),
        (1, "error: old\nmore\nerror: settings differ:\n  lr: 1 there\n", "settings differ: lr: 1 there"),
        (1, "Traceback (most recent call last):\n  File\nRuntimeError: odd\n\n", "RuntimeError: odd"),
        (1, "[rank0]: Traceback\n[rank0]: RuntimeError: odd\n", "RuntimeError: odd"),
        (1, "", "ended with exit code 1, without a word"),
        (-9, "epoch 1\n", "ended by SIGKILL; the system may have run out of memory"),
        (-11, "", "ended by SIGSEGV"),
    ],
)
def test_a_failure_is_told_by_its_last_error(code, printed, reason):
    """What the run said of it, or else the exit code."""
    assert failure(code, printed) == reason


def launcher(jobs: int, gpus: tuple[str, ...] = (), cores: int = 8) -> LocalLauncher:
    """Without a sweep."""
    where: dict[str, Any] = {"shards": Path("s"), "out": Path("o"), "evaluate": EvaluateRecipe()}
    return LocalLauncher(jobs=jobs, cores=cores, gpus=gpus, **where)


def test_more_runs_than_gpus_are_refused():
    """Each run has a GPU to itself."""
    with pytest.raises(UsageError, match="--jobs 3: each run has a GPU to itself, and there are 2"):
        launcher(3, gpus=("0", "1"))
    assert launcher(2, gpus=("0", "1")).has_room()


def test_a_run_sees_its_gpu_and_its_threads_and_no_launcher(monkeypatch):
    """The variables of torchrun would make a run wait for ranks that never come."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = environment(threads=4, gpu="3")
    assert (found["OMP_NUM_THREADS"], found["CUDA_VISIBLE_DEVICES"]) == ("4", "3")
    assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} & set(found)
    assert environment(threads=None, gpu=None)["OMP_NUM_THREADS"] == "7"


def test_gpus_are_those_that_this_process_may_use(monkeypatch):
    """CUDA_VISIBLE_DEVICES decides which, and in which order."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,2")
    assert visible_gpus() == ("5", "2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpus() == ("0", "1")


def request(folder: Path) -> dict[str, Any]:
    """For a run that has nothing to do but to wait for its lock."""
    return {
        "train": False,
        "splits": [],
        "folder": str(folder),
        "lock": str(folder / "lock"),
        "log": str(folder / "log"),
    }


def test_a_run_ends_with_its_sweep(tmp_path):
    """When the pipe from the sweep is closed, as by a SIGKILL, the process goes too."""
    with (tmp_path / "lock").open("a") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)  # so that it would wait for two minutes
        process = Process(request(tmp_path), environment(threads=1, gpu=""))
        time.sleep(0.3)
        assert process.running
        process._process.stdin.close()
        wait_until(lambda: not process.running, "the process is over")
    assert process.reason() == "ended by SIGKILL; the system may have run out of memory"


def test_a_stopped_run_is_gone(tmp_path):
    """Stopping waits for the process's end."""
    with (tmp_path / "lock").open("a") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        process = Process(request(tmp_path), environment(threads=1, gpu=""))
        process.stop()
    assert not process.running
    assert process.reason() == "ended by SIGTERM"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(28, "No space left on device", "runs/a/log.jsonl"),
            "No space left on device: runs/a/log.jsonl",
        ),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("the pipe is closed"), "the pipe is closed"),
        (UsageError("--lr is odd"), "--lr is odd"),
    ],
)
def test_an_error_of_the_system_is_a_sentence(error, words):
    """A full disk under a run is told as its own command tells it."""
    assert sentence_of(error) == words


def test_ctrl_c_does_not_reach_a_run(tmp_path):
    """It is in a session of its own, so that the sweep alone decides how it ends."""
    with (tmp_path / "lock").open("a") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        process = Process(request(tmp_path), environment(threads=1, gpu=""))
        assert os.getpgid(process._process.pid) == process._process.pid != os.getpgrp()
        process.stop()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (725, "12 min 05 s"), (12_000, "3 h 20 min"), (400_000, "4 d 15 h")],
)
def test_durations_are_read_at_a_glance(seconds, text):
    """Two units at most."""
    assert duration(seconds) == text


def test_a_screen_that_is_no_terminal_gets_plain_lines():
    """No control characters in a batch job's log, and no line broken in two."""
    out = io.StringIO()
    with Screen(Console(file=out), total=2, done=0) as screen:
        screen.started("kd", "trains")
        screen.refresh([])
        screen.failed("kd", "why " * 30, Path("log"))
        screen.finished("kd", 3, None)
    assert out.getvalue().splitlines() == [
        "kd: trains",
        "kd: failed: " + "why " * 30,
        "  log  log",
        "kd: done in 3 s, balanced accuracy undefined (1 of 2)",
    ]


def test_without_ray_the_message_says_what_to_install(monkeypatch):
    """Kdtrain does not depend on Ray: only --ray-address does."""
    monkeypatch.setitem(sys.modules, "ray", None)
    where: dict[str, Any] = {"shards": Path("s"), "out": Path("o"), "evaluate": EvaluateRecipe()}
    launcher = ray_launcher(address="auto", gpus_per_run=None, cpus_per_run=None, **where)
    with pytest.raises(UsageError, match=r'pip install "kdtrain\[cluster\]"'), launcher:
        pass
