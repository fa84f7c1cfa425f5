"""Training in processes that are killed, and on two ranks: always the same network in the end."""

from __future__ import annotations

import random
import socket
import time
from pathlib import Path

import pytest

from fixtures.faulty_s3 import faulty_s3
from fixtures.training_runs import log_of, weights_sha256, write_training_set
from fixtures.training_server import TrainingServer
from fixtures.waiting import wait_until

pytest.importorskip("deepspeed", reason="needs DeepSpeed")

STEPS = 18
"""Six epochs of three groups: five samples, two a step."""


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """A set with every kind of split."""
    return write_training_set(tmp_path_factory.mktemp("sets") / "set")


def teacher(shards: Path, out: Path, *more: object) -> tuple[object, ...]:
    """The command of a run of 18 steps."""
    options = ("--epochs", 6, "--accumulate", 2, "--workers", 1, "--logger", "none")
    return ("teacher", "--shards", shards, "--out", out, *options, *more)


def finish(server: TrainingServer, log: Path, *command: object, **environment: str) -> None:
    """Run a command to its end."""
    assert server.wait(server.start(*command, log=log, **environment)) == 0, log.read_text()


@pytest.fixture(scope="module")
def undisturbed(server, shards, tmp_path_factory) -> Path:
    """The run that nobody killed."""
    folder = tmp_path_factory.mktemp("runs")
    finish(server, folder / "log", *teacher(shards, folder / "run"))
    assert len([line for line in log_of(folder / "run") if line["kind"] == "step"]) == STEPS
    return folder / "run"


def steps_logged(run: Path) -> int:
    """Lines of the log, finished or not."""
    path = run / "log.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_at(server: TrainingServer, pid: int, run: Path, lines: int, seconds: float) -> int:
    """SIGKILL a run so many seconds after its log has so many lines more; returns how it ended."""
    wanted = steps_logged(run) + lines
    wait_until(lambda: steps_logged(run) >= wanted, f"{wanted} lines of the log", every_s=0.001)
    time.sleep(seconds)
    return server.kill(pid)


@pytest.mark.parametrize("every", [0, 1], ids=["checkpoint-an-epoch", "checkpoint-a-step"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_killed_run_ends_with_the_same_bits(server, shards, undisturbed, tmp_path, every, seed):
    """SIGKILL at random moments, twice, then the same command: the same model.safetensors and the same log."""
    draw = random.Random(seed)
    run, log = tmp_path / "run", tmp_path / "log"
    command = teacher(shards, run, "--checkpoint-every", every)
    ended = [
        kill_at(server, server.start(*command, log=log), run, draw.randint(1, 6), draw.uniform(0, 0.03))
        for _ in range(2)
    ]
    assert ended == [-9, -9], "the run ended before it was killed: nothing was tested"
    assert not (run / "model.safetensors").exists()
    finish(server, log, *command)
    assert weights_sha256(run) == weights_sha256(undisturbed)
    assert log_of(run) == log_of(undisturbed)


def test_a_run_killed_over_a_bad_connection_ends_with_the_same_bits(server, shards, undisturbed, tmp_path):
    """From a URL with a request in ten spoiled, killed twice: the same weights and log as from a disk."""
    pytest.importorskip("s3fs", reason="needs s3fs: an S3 client")
    pytest.importorskip("moto", reason="needs moto[server]: an S3 server")
    run, log, url = tmp_path / "run", tmp_path / "log", "bucket/set"
    command = teacher(f"s3://{url}", run, "--shard-cache", tmp_path / "cache", "--checkpoint-every", 1)
    with faulty_s3() as storage:
        storage.client().mkdir("bucket")
        storage.upload(shards, url)
        storage.shake(0.1, seed=1)
        for lines in (3, 5):
            pid = server.start(*command, log=log, **storage.environment)
            assert kill_at(server, pid, run, lines, 0.0) == -9, log.read_text()
        finish(server, log, *command, **storage.environment)
        assert storage.faults
    assert weights_sha256(run) == weights_sha256(undisturbed)
    assert log_of(run) == log_of(undisturbed)


def test_a_killed_distillation_ends_with_the_same_bits(server, shards, undisturbed, tmp_path):
    """The same for Phase II, killed once in its first and once in a later epoch."""
    options = (
        "--teacher",
        undisturbed,
        "--magnification",
        2.5,
        "--train-on",
        "aux2",
        "--checkpoint-every",
        2,
    )
    options += ("--epochs", 4)
    commands = [("distill", *teacher(shards, tmp_path / name)[1:], *options) for name in ("whole", "killed")]
    log = tmp_path / "log"
    finish(server, log, *commands[0])
    run = tmp_path / "killed"
    for lines in (1, 6):
        assert kill_at(server, server.start(*commands[1], log=log), run, lines, 0.0) == -9
    finish(server, log, *commands[1])
    assert weights_sha256(run) == weights_sha256(tmp_path / "whole")
    assert log_of(run) == log_of(tmp_path / "whole")


def two_ranks(server: TrainingServer, log: Path, *command: object) -> None:
    """Run a command as torchrun would, on two ranks of this machine."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    pids = [
        server.start(*command, log=log, RANK=str(rank), LOCAL_RANK=str(rank), **common) for rank in (0, 1)
    ]
    assert [server.wait(pid) for pid in pids] == [0, 0], log.read_text()


def test_two_ranks_train_as_one_does(server, shards, undisturbed, tmp_path):
    """Five samples on two ranks with three workers each, for two shards: the same steps with the same losses.

    The last group of an epoch has one sample, so that a rank has none. Sums come in another order, so losses agree to
    rounding and not to the bit.
    """
    two_ranks(server, tmp_path / "log", *teacher(shards, tmp_path / "run", "--workers", 3))
    alone, together = log_of(undisturbed), log_of(tmp_path / "run")
    assert [(line["kind"], line["step"]) for line in together] == [
        (line["kind"], line["step"]) for line in alone
    ]
    first = [line["loss"] for line in together[:4]]
    assert first == pytest.approx([line["loss"] for line in alone[:4]], rel=1e-3)


def test_two_ranks_distil(server, shards, undisturbed, tmp_path):
    """Five unlabelled samples of two splits in three shards, two ranks: finishes, and says the end once.

    The student has a projector and an average of its weights, and its losses are those of one rank, to rounding.
    """
    run, log = tmp_path / "run", tmp_path / "log"
    options = ("--teacher", undisturbed, "--magnification", 2.5, "--train-on", "aux2", "--validate-on", "val")
    options += ("--width", 0.5, "--ema", 0.9, "--epochs", 2)
    two_ranks(server, log, "distill", *teacher(shards, run, *options)[1:], "--zero-stage", 2)
    finish(server, tmp_path / "alone.log", "distill", *teacher(shards, tmp_path / "alone", *options)[1:])
    losses = [[line["loss"] for line in log_of(of)] for of in (run, tmp_path / "alone")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    lines = log_of(run)
    assert [line["step"] for line in lines if line["kind"] == "step"] == [1, 2, 3, 4, 5, 6]
    assert (run / "model.safetensors").exists()
    assert log.read_text().count("chosen: step") == 1
