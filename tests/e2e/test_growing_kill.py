"""``kill -9`` while a set is changed, at seeded moments: the same command completes it to the bytes of a quiet run."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from e2e.builds import (
    assert_only_whole_tars,
    assert_verified,
    everything,
    set_to_change,
    slideprep,
    start,
)

KILLS = 3
"""Per operation; tests/slideprep/growing/test_crash.py goes through every write, without a process to kill."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of eight slides, and four more to add."""
    return set_to_change(tmp_path_factory.mktemp("kill"), old=8, new=4, relabelled=4)


def command(kind: str, folder: Path) -> list[str | Path]:
    """A change of a set."""
    arguments: dict[str, list[str | Path]] = {
        "add-slides": [folder / "new", "--labels", folder / "new.csv", "--workers", "0"],
        "remove-slides": ["slide-1", "slide-2", "--patient", "p5"],
        "relabel": ["--labels", folder / "other.csv"],
    }
    return [kind, folder / "out", *arguments[kind]]


def lasting(out: Path) -> dict[str, bytes]:
    """Every file of a set but the lock."""
    return {name: data for name, data in everything(out).items() if name != ".slideprep/lock"}


def working_seconds(kind: str, folder: Path) -> tuple[float, float]:
    """When an undisturbed change first writes and when it ends, seconds from its start."""
    began = time.monotonic()
    process = start(*command(kind, folder))
    first = None
    while process.poll() is None:
        if first is None and (folder / "out" / ".slideprep" / "next").exists():
            first = time.monotonic() - began
        time.sleep(0.002)
    assert process.returncode == 0, process.communicate()[0]
    assert first is not None
    return first, time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["add-slides", "remove-slides", "relabel"])
def test_a_killed_change_is_completed(kind: str, built: Path, tmp_path: Path) -> None:
    """After each kill there are whole tars alone, and the second run's set verifies and is the quiet run's."""
    quiet = tmp_path / "quiet"
    shutil.copytree(built, quiet)
    first, last = working_seconds(kind, quiet)
    wanted = lasting(quiet / "out")
    moments = random.Random(5)
    for _ in range(KILLS):
        folder = tmp_path / "set"
        shutil.copytree(built, folder)
        process = start(*command(kind, folder))
        time.sleep(moments.uniform(first * 0.9, last))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert_only_whole_tars(folder / "out")
        again = slideprep(*command(kind, folder))
        done = kind == "remove-slides" and "holds no slide" in again.said  # the kill came after the end
        assert again.code == 0 or done, again.said
        assert lasting(folder / "out") == wanted
        assert_verified(folder / "out")
        shutil.rmtree(folder)
