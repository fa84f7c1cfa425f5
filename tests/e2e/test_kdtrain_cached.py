"""A teacher cache in processes that are killed, and on two ranks: always the same bytes, and the same student."""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from pathlib import Path

import pytest

from e2e.test_kdtrain_resume import finish, kill_at, two_ranks
from fixtures.shard_sets import write_set
from fixtures.training_runs import QUICK, log_of, weights_sha256
from fixtures.waiting import wait_until

pytest.importorskip("deepspeed", reason="needs DeepSpeed")

VIEWS = 4
SHARDS = 7


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """Six shards to train on and one to validate on, of images of three sizes."""
    splits = {"train": [2, 1, 3, 1, 2, 2], "val": [2]}
    return write_set(tmp_path_factory.mktemp("sets") / "set", splits)


@pytest.fixture(scope="module")
def teacher(server, shards, tmp_path_factory) -> Path:
    """A teacher at 10x."""
    folder = tmp_path_factory.mktemp("runs")
    finish(server, folder / "log", "teacher", "--shards", shards, "--out", folder / "teacher", *QUICK)
    return folder / "teacher"


def cache_command(shards: Path, teacher: Path, out: Path) -> tuple[object, ...]:
    """The command that writes a cache for 2.5x."""
    options = ("--magnification", 2.5, "--views", VIEWS, "--workers", 1)
    return ("cache-teacher", "--shards", shards, "--teacher", teacher, "--out", out, *options)


def distil_command(shards: Path, cache: Path, out: Path) -> tuple[object, ...]:
    """The command of a cached run of 30 steps."""
    options = ("--magnification", 2.5, "--epochs", 6, "--accumulate", 2, "--micro-batch", 2)
    more = ("--checkpoint-every", 2, "--workers", 1, "--logger", "none")
    return ("distill", "--shards", shards, "--teacher-cache", cache, "--out", out, *options, *more)


def bytes_of(cache: Path) -> dict[str, str]:
    """Digests of what a reader sees of a cache."""
    files = (path for path in cache.iterdir() if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def undisturbed(server, shards, teacher, tmp_path_factory) -> Path:
    """The cache that nobody killed."""
    folder = tmp_path_factory.mktemp("caches")
    finish(server, folder / "log", *cache_command(shards, teacher, folder / "cache"))
    assert len(bytes_of(folder / "cache")) == SHARDS + 1
    return folder / "cache"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_killed_writer_ends_with_the_same_bytes(server, shards, teacher, undisturbed, tmp_path, seed):
    """SIGKILL at random moments, twice, then the same command: the same tars and cache.json, nothing more."""
    draw = random.Random(seed)
    out, log = tmp_path / "cache", tmp_path / "log"
    command = cache_command(shards, teacher, out)
    for wanted in (draw.randint(0, 2), draw.randint(3, SHARDS - 2)):
        pid = server.start(*command, log=log)
        wait_until(
            lambda wanted=wanted: len(list(out.glob("*.tar*"))) > wanted, f"{wanted + 1} tars", every_s=0.0005
        )
        time.sleep(draw.uniform(0, 0.01))
        assert server.kill(pid) == -9, "the command ended before it was killed: nothing was tested"
    assert not (out / "cache.json").exists()
    finish(server, log, *command)
    assert bytes_of(out) == bytes_of(undisturbed)


def test_two_ranks_write_what_one_does(server, shards, teacher, undisturbed, tmp_path):
    """Seven shards over two processes: the same bytes, and the end is said once."""
    log = tmp_path / "log"
    two_ranks(server, log, *cache_command(shards, teacher, tmp_path / "cache"))
    assert bytes_of(tmp_path / "cache") == bytes_of(undisturbed)
    assert log.read_text().count("7 of 7 shards written") == 1


def test_a_killed_cached_run_ends_with_the_same_bits(server, shards, undisturbed, tmp_path):
    """Without any 10x tar, killed once in its first and once in a later epoch: the same student, the same log."""
    low = tmp_path / "set"
    shutil.copytree(shards, low, ignore=shutil.ignore_patterns("10x"))
    log = tmp_path / "log"
    whole, killed = (distil_command(low, undisturbed, tmp_path / name) for name in ("whole", "killed"))
    finish(server, log, *whole)
    run = tmp_path / "killed"
    for lines in (3, 12):
        assert kill_at(server, server.start(*killed, log=log), run, lines, 0.0) == -9
    finish(server, log, *killed)
    assert weights_sha256(run) == weights_sha256(tmp_path / "whole")
    assert log_of(run) == log_of(tmp_path / "whole")


def test_two_ranks_distil_from_a_cache(server, shards, undisturbed, tmp_path):
    """Two processes take the steps that one takes, with the same losses to rounding; sums come in another order."""
    options = ("--optimizer", "sgd", "--lr", "1e-4")
    alone, together = (
        (*distil_command(shards, undisturbed, tmp_path / name), *options) for name in ("alone", "together")
    )
    finish(server, tmp_path / "log", *alone)
    two_ranks(server, tmp_path / "log", *together)
    losses = [[line["loss"] for line in log_of(tmp_path / name)] for name in ("alone", "together")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
