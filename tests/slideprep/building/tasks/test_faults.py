"""Slides that bring their worker down or take too long: what is run instead, and what is listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.build_inputs import SCAN_SETTINGS, shard_job, write_slides
from fixtures.slides import slide_file
from slideprep.building.scans import ScanFaults
from slideprep.building.tasks import faults as task_faults
from slideprep.building.tasks.faults import ShardFaults, SlideTimes
from slideprep.building.tasks.job import ShardJob
from slideprep.building.workspace import Workspace
from slideprep.regions.settings import ScanJob


@pytest.fixture
def job(tmp_path: Path) -> ShardJob:
    """A shard of two slides."""
    names = ["a.png", "b.png"]
    return shard_job(tmp_path / "out", write_slides(tmp_path / "slides", names), names)


@pytest.fixture
def scan_job(tmp_path: Path) -> ScanJob:
    """A slide to scan."""
    write_slides(tmp_path / "slides", ["a.png"])
    return ScanJob(file=slide_file(tmp_path / "slides" / "a.png"), shown_name="a.png", settings=SCAN_SETTINGS)


def workspace(job: ShardJob) -> Workspace:
    """Where the job's notes are."""
    made = Workspace(job.out)
    (Path(str(job.out)) / ".slideprep" / "partial").mkdir(parents=True)
    return made


def faults(made: Workspace, *, minutes: float = 1.0) -> ShardFaults:
    """With tasks that need 100 bytes."""
    return ShardFaults(made, minutes, lambda _: 100)


@pytest.fixture(autouse=True)
def _every_look_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_faults, "LOOK_SECONDS", 0.0)


def test_a_slides_time_is_the_sum_of_its_turns() -> None:
    """Read from 0 to 10 s and from 14 to 20 s, with another slide in between, a slide has taken 16 s."""
    times = SlideTimes()
    assert [times.look(slide, at) for slide, at in [("a", 10), ("b", 14), ("a", 20)]] == [10, 4, 16]


def test_a_task_that_was_begun_anew_starts_from_nothing() -> None:
    """A smaller time than before is another start: what a lost machine took does not count."""
    times = SlideTimes()
    times.look("a", 50)
    assert times.look("a", 3) == 3


def test_a_scan_that_takes_too_long(scan_job: ScanJob) -> None:
    """A scan is over at its limit, not before; it is listed and nothing runs in its place."""
    found = ScanFaults(2.0)
    assert list(found.over([(scan_job, 119.0)])) == []
    assert list(found.over([(scan_job, 120.0)])) == [scan_job]
    found.without(scan_job)
    (row,) = found.failures
    assert (row.slide, row.stage) == ("a.png", "open") and "within 2 minutes" in row.reason


def test_no_limit(job: ShardJob, scan_job: ScanJob) -> None:
    """0 minutes are any time."""
    made = workspace(job)
    made.note_progress(job.shard.name, "a.png", 0, 0)
    assert list(ScanFaults(0.0).over([(scan_job, 1e9)])) == []
    assert list(faults(made, minutes=0.0).over([(job, 1e9)])) == []


def test_a_shard_goes_on_without_the_slide_that_takes_too_long(job: ShardJob) -> None:
    """The slide that has been read for a minute is left out; the other is not, though the shard took longer."""
    made = workspace(job)
    found = faults(made)
    made.note_progress(job.shard.name, "a.png", 0, 0)
    assert list(found.over([(job, 50.0)])) == []
    made.note_progress(job.shard.name, "b.png", 0, 0)
    assert list(found.over([(job, 109.0)])) == []
    assert list(found.over([(job, 110.0)])) == [job]
    rest = found.without(job)
    assert set(rest.crashed) == {"b.png"} and "within 1 minutes" in rest.crashed["b.png"]
    assert rest.digest == job.digest
    assert list(found.over([(rest, 200.0)])) == [], "it is read no more"


def test_a_task_without_a_note_is_not_ended(job: ShardJob) -> None:
    """Before the first slide is opened no slide can be at fault."""
    assert list(faults(workspace(job)).over([(job, 1e6)])) == []


def test_a_slide_that_crashes_twice_is_left_out(job: ShardJob, scan_job: ScanJob) -> None:
    """The first crash costs an attempt and doubles the memory that is reserved; the second one costs the slide."""
    made = workspace(job)
    found = faults(made)
    made.note_progress(job.shard.name, "b.png", 0, 0)
    assert found.memory(job) == 100
    assert found.crashed(job, "died") is job
    assert found.memory(job) == 200
    assert set(found.crashed(job, "died").crashed) == {"b.png"}
    scans = ScanFaults(1.0)
    assert scans.crashed(scan_job, "died") is scan_job
    assert scans.crashed(scan_job, "died") is None
    assert [row.slide for row in scans.failures] == ["a.png"]


def test_few_notes_are_read(job: ShardJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 0.5 s between looks for each of two tasks, only one look in a second happens."""
    monkeypatch.setattr(task_faults, "LOOK_SECONDS", 0.5)
    clock = iter([100.0, 100.9, 101.0])
    monkeypatch.setattr(task_faults.time, "monotonic", lambda: next(clock))
    made = workspace(job)
    read: list[str] = []
    monkeypatch.setattr(made, "progress", read.append)
    found = faults(made)
    for _ in range(3):
        found.over([(job, 1.0), (job, 1.0)])
    assert len(read) == 2 * 2
