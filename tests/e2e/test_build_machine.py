"""A disk that fills up, a decoder that takes its process with it, Ctrl-C, kill: what is finished is kept."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from e2e.builds import (
    SMALL,
    assert_verified,
    build,
    everything,
    failures,
    good_slides,
    shard_bytes,
    slides_written,
    start,
    wait_for,
)
from e2e.doubles import crash, crashing_scan, crashing_write, hanging_scan, hanging_write
from fixtures.waiting import PATIENCE_S
from slideprep.workers.executor import executor


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
    )
    if not made or made.returncode != 0:
        pytest.skip("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("image_format", ["jpeg", "png", "webp"])
def test_full_disk(tmp_path: Path, small_disk: Path, image_format: str) -> None:
    """A full disk ends the build with its reason; with room made, the same command completes the same set."""
    good_slides(tmp_path / "slides", 4)
    arguments = (tmp_path / "slides", "--image-format", image_format)
    run = build(*arguments, "--out", small_disk / "out")
    assert run.code == 1
    assert "error: cannot write to" in run.said and "No space left on device" in run.said
    assert "Traceback" not in run.said
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    assert build(*arguments, "--out", small_disk / "out").code == 0
    assert build(*arguments, "--out", tmp_path / "undisturbed").code == 0
    assert shard_bytes(small_disk / "out") == shard_bytes(tmp_path / "undisturbed")
    assert_verified(small_disk / "out")


@pytest.mark.usefixtures("shared_ray")
def test_full_disk_under_worker_processes(tmp_path: Path, small_disk: Path) -> None:
    """What a worker process says of a full disk reaches the person, and the set is completed all the same."""
    good_slides(tmp_path / "slides", 4)
    run = build(tmp_path / "slides", "--out", small_disk / "out", workers=2)
    assert run.code == 1
    assert "error: cannot write to" in run.said and "No space left on device" in run.said
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    assert build(tmp_path / "slides", "--out", small_disk / "out", workers=2).code == 0
    assert_verified(small_disk / "out")


def test_killed_while_describing_the_set(tmp_path: Path) -> None:
    """Half-written sidecars of a killed build are gone after the next one."""
    good_slides(tmp_path / "slides", 1)
    out = tmp_path / "out"
    assert build(tmp_path / "slides", "--out", out).code == 0
    (out / "index.json").rename(out / "index.json.4711.partial")
    (out / ".slideprep" / "shards" / "aux1-000000.json.4711.partial").write_text("{")
    assert build(tmp_path / "slides", "--out", out).code == 0
    assert not list(out.rglob("*.partial"))
    assert_verified(out)


def test_deleted_files_are_closed(tmp_path: Path) -> None:
    """After a build no file of it is open, so the disk space of what it deleted is free again."""
    good_slides(tmp_path / "slides", 2)
    assert build(tmp_path / "slides", "--out", tmp_path / "out", "--image-format", "png").code == 0
    handles = [str(handle.readlink()) for handle in Path("/proc/self/fd").iterdir() if handle.exists()]
    assert handles
    assert not [path for path in handles if path.startswith(str(tmp_path))]


@pytest.mark.usefixtures("shared_ray")
def test_crash_is_reported_not_raised() -> None:
    """A process that dies costs its item alone: the caller is asked, and a replacement runs."""
    asked = []

    def once_more_with_zero(item: int, reason: str) -> int | None:
        asked.append((item, bool(reason)))
        return 0 if item == 3 else None

    with executor(workers=2, ray_address=None) as pool:
        results = dict(
            pool.map(
                partial(crash, on={3, 4}), range(1, 6), on_crash=once_more_with_zero, on_wait=lambda: None
            )
        )
    assert results == {1: 10, 2: 20, 5: 50, 0: 0}
    assert sorted(asked) == [(3, True), (4, True)]


@pytest.mark.usefixtures("shared_ray")
@pytest.mark.parametrize(
    ("step", "double", "stage"),
    [
        ("building.scans.scan_with_cache", crashing_scan, "open"),
        ("building.tasks.write.write_shard", crashing_write, "read"),
    ],
)
def test_slide_that_crashes_its_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, double: object, stage: str
) -> None:
    """A slide that brings its worker down is tried twice, listed and left out; the others are written."""
    good_slides(tmp_path / "slides", 3)
    attempts = tmp_path / "attempts"
    monkeypatch.setattr(f"slideprep.{step}", partial(double, slide="slide-1.svs", attempts=attempts))
    run = build(tmp_path / "slides", "--out", tmp_path / "out", workers=2)
    assert run.code == 3
    assert attempts.read_text() == "slide-1.svs\n" * 2
    (row,) = failures(tmp_path / "out")
    assert (row["slide"], row["stage"]) == ("slide-1.svs", stage)
    assert "brought its worker process down 2 times" in row["reason"]
    assert slides_written(tmp_path / "out") == {"slide-0.svs", "slide-2.svs"}
    assert_verified(tmp_path / "out")


@pytest.mark.usefixtures("shared_ray")
@pytest.mark.parametrize(
    ("step", "double", "stage"),
    [
        ("building.scans.scan_with_cache", hanging_scan, "open"),
        ("building.tasks.write.write_shard", hanging_write, "read"),
    ],
)
def test_slide_that_hangs_its_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, double: object, stage: str
) -> None:
    """A slide that is read for longer than it may take is ended, listed and left out; the others are written."""
    good_slides(tmp_path / "slides", 3)
    monkeypatch.setattr(f"slideprep.{step}", partial(double, slide="slide-1.svs"))
    run = build(tmp_path / "slides", "--out", tmp_path / "out", "--slide-minutes", "0.08", workers=2)
    assert run.code == 3
    (row,) = failures(tmp_path / "out")
    assert (row["slide"], row["stage"]) == ("slide-1.svs", stage)
    assert "was not read within 0.08 minutes" in row["reason"] and "--slide-minutes" in row["reason"]
    assert slides_written(tmp_path / "out") == {"slide-0.svs", "slide-2.svs"}
    assert_verified(tmp_path / "out")


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 0), (signal.SIGINT, 2), (signal.SIGTERM, 2)])
def test_interrupted_and_resumed(tmp_path: Path, number: signal.Signals, workers: int) -> None:
    """Ctrl-C and a termination signal end the build with a message and no trace; the same command goes on."""
    # so many that it is not done before the signal comes, on a busy machine
    good_slides(tmp_path / "slides", 120)
    process = start(
        "build-shards", *SMALL, tmp_path / "slides", "--out", tmp_path / "out", "--workers", workers
    )
    wait_for(tmp_path / "out" / ".slideprep" / "shards" / "*.json", process)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # a terminal sends it to the whole group
    else:
        process.send_signal(number)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, said
    assert "interrupted; finished shards are kept: run the same command again" in " ".join(said.split())
    assert "Traceback" not in said
    assert not (tmp_path / "out" / "index.json").exists()
    kept = {name for name in everything(tmp_path / "out") if name.startswith(".slideprep/shards/")}
    assert kept
    assert build(tmp_path / "slides", "--out", tmp_path / "out").code == 0
    assert_verified(tmp_path / "out")
