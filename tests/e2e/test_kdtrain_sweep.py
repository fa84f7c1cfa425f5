"""A sweep with real processes: killed half-way and completed, with a run that fails, and on Ray."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.modes import unshared, usual_umask
from fixtures.training_runs import (
    command,
    environment,
    log_of,
    started,
    trained,
    weights_sha256,
    write_training_set,
)
from fixtures.waiting import PATIENCE_S, wait_until

pytest.importorskip("deepspeed", reason="needs DeepSpeed")

EPOCHS = 6
SETTINGS = {"epochs": EPOCHS, "workers": 0, "accumulate": 2, "logger": "none"}
RECIPE: dict[str, Any] = {
    "title": "Tiny",
    "magnifications": [2.5],
    "settings": SETTINGS,
    "teacher": {"seed": 0},
    "methods": {
        "Baseline": {"phase": "baseline"},
        "KD": {"phase": "distill", "train_on": "aux1"},
    },
    "evaluate": {"iterations": 50},
}
TEACHER = "teacher-10x-seed0"
NAMES = (TEACHER, "baseline-2.5x-seed0", "kd-2.5x-seed0")


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """A set at 10x and 2.5x with every kind of split."""
    return write_training_set(tmp_path_factory.mktemp("sets") / "set", magnifications=(10, 2.5))


def written(folder: Path, recipe: dict[str, Any]) -> Path:
    """The recipe's file."""
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def by_hand(shards, tmp_path_factory) -> dict[str, Path]:
    """The same runs, each by its own command."""
    folder = tmp_path_factory.mktemp("by-hand")
    more = ("--epochs", EPOCHS, "--accumulate", 2)
    teacher = trained("teacher", shards, folder / TEACHER, *more)
    student = ("--teacher", teacher, "--train-on", "aux1", *more)
    return {
        TEACHER: teacher,
        NAMES[1]: trained("baseline", shards, folder / NAMES[1], "--magnification", 2.5, *more),
        NAMES[2]: trained("distill", shards, folder / NAMES[2], "--magnification", 2.5, *student),
    }


def is_free(lock: Path) -> bool:
    """Whether no process holds a lock."""
    with lock.open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
    return True


def test_a_killed_sweep_is_completed_by_the_same_command(shards, by_hand, tmp_path):
    """SIGKILL to the sweep alone, while students train: its runs end with it, and the same command finishes.

    Every network is then the one that its own command trains, to the bit.
    """
    out, log = tmp_path / "out", tmp_path / "log"
    arguments = ("sweep", written(tmp_path, RECIPE), "--shards", shards, "--out", out, "--jobs", 2)
    process = started(*arguments, log=log)
    students = [out / "runs" / name / "log.jsonl" for name in NAMES if name.startswith("kd")]
    wait_until(
        lambda: any(path.exists() for path in students) or process.poll() is not None, "a student in training"
    )
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, log.read_text()
    assert not all((out / "runs" / name / "evaluation-test").exists() for name in NAMES)
    wait_until(lambda: all(map(is_free, (out / "logs").glob("*.lock"))), "all runs over")

    again = subprocess.run(
        command(*arguments),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert f"{TEACHER}: trains" not in again.stderr
    record = json.loads((out / "sweep.json").read_text())
    assert [(run["name"], run["state"]) for run in record["runs"]] == [(name, "finished") for name in NAMES]
    for name, run in by_hand.items():
        assert weights_sha256(out / "runs" / name) == weights_sha256(run), name
        assert log_of(out / "runs" / name) == log_of(run), name
    assert unshared(out, usual_umask()) == {}


def test_a_run_that_crashes_leaves_its_reason_and_the_others_complete(shards, by_hand, tmp_path):
    """The student's loss is no number: exit code 3 with the reason, in the record and on the screen."""
    recipe = RECIPE | {
        "magnifications": [2.5],
        "teacher": {"run": str(by_hand[TEACHER])},
        "methods": {
            "KD": {"phase": "distill", "lr": 1e30, "optimizer": "sgd"},
        },
    }
    out = tmp_path / "out"
    ended = subprocess.run(
        command("sweep", written(tmp_path, recipe), "--shards", shards, "--out", out),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 3, ended.stderr
    teacher, student = json.loads((out / "sweep.json").read_text())["runs"]
    assert (teacher["state"], (out / teacher["folder"]).resolve()) == ("finished", by_hand[TEACHER].resolve())
    assert (student["state"], "loss" in student["reason"]) == ("failed", True)
    assert f"{student['name']}: failed: " in ended.stderr


def test_a_sweep_on_ray_trains_the_same_network(shards, by_hand, tmp_path):
    """A run spread by Ray is the run that its command trains; what fits no machine is refused at once."""
    path, out = written(tmp_path, RECIPE), tmp_path / "out"
    # A Ray of its own: the workers of the other tests' are made for slideprep, without torch.
    arguments = ("sweep", path, "--shards", shards, "--out", out, "--only", "base*", "--ray-address", "local")

    def swept(*options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments, *options),
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    refused = swept("--cpus-per-run", 64)
    assert refused.returncode == 2, refused.stderr
    assert "no machine of the cluster has as many" in " ".join(refused.stderr.split())
    ended = swept()
    assert ended.returncode == 0, ended.stderr
    assert weights_sha256(out / "runs" / NAMES[1]) == weights_sha256(by_hand[NAMES[1]])
