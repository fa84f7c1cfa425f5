"""Builds whose slides, labels and sets lie on a real S3-compatible server, behind a proxy that makes faults.

The measure is a build on this machine's disk: whatever happens on the way, the set in the store has the same bytes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.builds import build, everything, good_slides, shard_bytes, slideprep, start, write_labels
from fixtures.buckets import quick_lock, s3_with_buckets
from fixtures.commands import Run
from fixtures.faulty_s3 import FaultyS3
from fixtures.slides import half_zero_tile
from fixtures.waiting import PATIENCE_S, wait_until

SLIDES = 8
OPTIONS = ("--shard-mb", "1")
SIDECARS = ("failures.csv", "left_out.csv", "preview.html", "regions.csv", "slides.csv", "splits.csv")
QUICK_MAIN = (
    "from slideprep.storage import url_lock; url_lock.BEAT_S, url_lock.POLL_S = 0.3, 0.1; "
    "from slideprep.cli.main import main; main()"
)


@pytest.fixture(scope="module")
def s3(local: Path) -> Iterator[FaultyS3]:
    """The server, with the slides and labels of the local build in the bucket ``archive``."""
    with s3_with_buckets() as server:
        bucket = server.client()
        bucket.put(str(local / "slides"), "archive/", recursive=True)
        bucket.put_file(str(local / "labels.csv"), "archive/labels.csv")
        yield server


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with slides, labels, and the set ``set`` that a build on disk makes of them; one slide is damaged."""
    folder = tmp_path_factory.mktemp("local")
    slides = good_slides(folder / "slides", SLIDES)
    half_zero_tile(slides[-1], 3)
    rows = [(path.name, "ab"[number % 2], f"p{number}") for number, path in enumerate(slides)]
    write_labels(folder / "labels.csv", rows)
    run = build(folder / "slides", "--labels", folder / "labels.csv", *OPTIONS, "--out", folder / "set")
    assert run.code == 3, run.said
    return folder


@pytest.fixture(autouse=True)
def _quiet_and_quick(s3: FaultyS3) -> Iterator[None]:
    with quick_lock():
        yield
    s3.shake(0)


def _arguments(bucket: str, scratch: Path) -> tuple[str, ...]:
    return (
        "s3://archive/slides/", "--labels", "s3://archive/labels.csv", *OPTIONS,
        "--out", f"s3://sets/{bucket}/set", "--scratch", str(scratch),
    )  # fmt: skip


def _assert_same(out: Path, reference: Path) -> None:
    """The whole set is that of the local build, but for where failures.csv says that the damaged slide lies."""
    assert shard_bytes(out) == shard_bytes(reference)
    for name in SIDECARS:
        assert _without_places(out / name) == _without_places(reference / name)


def _without_places(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    for place in ("s3://archive/slides", str(path.parents[1] / "slides")):
        text = text.replace(place, "SLIDES")
    return text


@pytest.fixture(scope="module")
def plain(s3: FaultyS3, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A build without faults: what it said, and a folder with a copy of the set."""
    folder = tmp_path_factory.mktemp("plain")
    with quick_lock():
        run = build(*_arguments("plain", folder / "scratch"))
    return run, s3.download("sets/plain/set", folder / "copy" / "set")


def test_a_build_in_the_store_is_the_build_on_disk(plain: tuple[Run, Path], local: Path) -> None:
    """Slides, labels and set in buckets: the same bytes, verified there, nothing left in the scratch folder."""
    run, copy = plain
    assert run.code == 3, run.said
    _assert_same(copy, local / "set")
    scratch = copy.parents[1] / "scratch"
    assert slideprep("verify", "s3://sets/plain/set", "--workers", "1", "--scratch", scratch).code == 0
    assert [path.name for path in scratch.rglob("*") if path.is_file()] == ["room.lock"]


def test_messages_name_the_object_and_not_the_scratch_folder(plain: tuple[Run, Path]) -> None:
    """Who reads failures.csv can find the slide; no path of a machine is in the set."""
    _, copy = plain
    files = everything(copy)
    assert b"slide-7.svs" in files["failures.csv"]
    assert not [name for name, data in files.items() if str(copy.parents[1]).encode() in data]


def test_no_secret_is_in_the_set_or_on_the_screen(s3: FaultyS3, plain: tuple[Run, Path]) -> None:
    """Neither key of the environment is anywhere in the bucket or in what was said."""
    run, copy = plain
    for secret in (s3.environment["AWS_SECRET_ACCESS_KEY"], s3.environment["AWS_ACCESS_KEY_ID"]):
        assert secret not in run.said
        assert not [name for name, data in everything(copy).items() if secret.encode() in data]


def test_the_same_command_again_has_nothing_to_do(
    s3: FaultyS3, plain: tuple[Run, Path], tmp_path: Path
) -> None:
    """The finished set is recognised from its index and a listing: nothing is written, no slide is fetched."""
    del plain
    s3.requests.clear()
    run = build(*_arguments("plain", tmp_path / "scratch"))
    assert (run.code, s3.count("", method="PUT")) == (3, 0)
    assert "is complete: an earlier run of this command finished it" in run.said


@pytest.mark.parametrize("seed", [1, 2])
def test_a_build_through_faults_has_the_same_bytes(
    s3: FaultyS3, local: Path, tmp_path: Path, seed: int
) -> None:
    """Every fifth request is dropped, cut off or answered 503: the set is the same, and so is the report on it."""
    s3.shake(0.2, seed=seed)
    before = len(s3.faults)
    run = build(*_arguments(f"faults-{seed}", tmp_path / "scratch"))
    verified = slideprep("verify", f"s3://sets/faults-{seed}/set", "--workers", "1")
    s3.shake(0)
    assert (run.code, verified.code) == (3, 0), run.said + verified.said
    assert len(s3.faults) - before > 20
    _assert_same(s3.download(f"sets/faults-{seed}/set", tmp_path / "copy" / "set"), local / "set")


def test_a_killed_build_is_finished_on_another_machine(s3: FaultyS3, local: Path, tmp_path: Path) -> None:
    """``kill -9`` after the first shards; then, with another scratch folder, only what is missing is made."""
    process = start("build-shards", *_small(), *_arguments("killed", tmp_path / "one"))
    records = _wait_for_records(s3, "sets/killed/set/.slideprep/shards", 2, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not s3.client().exists("sets/killed/set/index.json")
    s3.requests.clear()
    run = build(*_arguments("killed", tmp_path / "two"))
    assert run.code == 3, run.said
    for record in records:
        assert s3.count(f"/killed/set/10x/{record}.tar", method="PUT") == 0, f"{record} was finished already"
        assert s3.count(f"/killed/set/10x/{record}.tar", method="GET") == 0, (
            f"{record} was read to recognise it"
        )
    _assert_same(s3.download("sets/killed/set", tmp_path / "copy" / "set"), local / "set")


def test_a_store_that_goes_away_stops_the_build_and_loses_nothing(
    s3: FaultyS3, local: Path, tmp_path: Path
) -> None:
    """From the third tar on nothing is accepted: exit code 1, what to do, and the next run finishes the set."""
    s3.fail("503", method="PUT", path=r"/away/set/\d+x/train-00000[2-9]", times=10_000)
    run = build(*_arguments("away", tmp_path / "scratch"))
    assert run.code == 1
    assert "no answer from the store in 6 attempts" in run.said
    assert "run the same command again: finished shards are kept" in run.said
    assert not s3.client().exists("sets/away/set/index.json")
    s3.shake(0)
    assert build(*_arguments("away", tmp_path / "scratch")).code == 3
    _assert_same(s3.download("sets/away/set", tmp_path / "copy" / "set"), local / "set")


def test_of_two_builds_at_once_one_is_refused(s3: FaultyS3, local: Path, tmp_path: Path) -> None:
    """Started together on one address: one makes the set, the other says that it is being made."""
    processes = [_start_quick(_arguments("twice", tmp_path / str(number))) for number in range(2)]
    said = [process.communicate(timeout=PATIENCE_S)[0] for process in processes]
    codes = sorted(process.returncode for process in processes)
    assert codes == [2, 3], said
    assert any("another build is writing to s3://sets/twice/set" in " ".join(text.split()) for text in said)
    _assert_same(s3.download("sets/twice/set", tmp_path / "copy" / "set"), local / "set")


@pytest.mark.slow
def test_workers_of_ray_reach_the_store(s3: FaultyS3, local: Path, tmp_path: Path) -> None:
    """With two worker processes of its own Ray the set is the same."""
    run = subprocess.run(
        [sys.executable, "-c", "from slideprep.cli.main import main; main()", "build-shards", *_small(workers=2),
         *_arguments("ray", tmp_path / "scratch")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 3, run.stdout + run.stderr
    _assert_same(s3.download("sets/ray/set", tmp_path / "copy" / "set"), local / "set")


def _small(workers: int = 0) -> tuple[str, ...]:
    return ("--magnifications", "10,5,2.5", "--tissue", "whole", "--workers", str(workers))


def _start_quick(arguments: tuple[str, ...]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", QUICK_MAIN, "build-shards", *_small(), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def _wait_for_records(server: FaultyS3, folder: str, count: int, process: subprocess.Popen[str]) -> list[str]:
    """Names of the shards that are finished, once there are some; fails where the build ends before."""
    bucket = server.client()
    found: list[str] = []

    def enough() -> bool:
        running = process.poll() is None
        found[:] = [Path(path).stem for path in bucket.find(folder)]
        assert len(found) >= count or running, process.communicate()[0]
        return len(found) >= count

    wait_until(enough, f"{count} shards")
    return found
