"""Slides that bring their worker down, or take too long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest

from fixtures.slides import slide_file
from kdtrain.errors import NotFiniteError
from kdtrain.predict import run
from kdtrain.predict.answers.prediction import SlideError
from kdtrain.predict.answers.request import Request
from kdtrain.predict.answers.slide_images import ReadJob, SlideImages
from kdtrain.predict.run import WORKER_BYTES, ReadFaults, _one
from kdtrain.predict.task import SlideTask
from slideprep import ReadSettings


@pytest.fixture
def job() -> ReadJob:
    """One slide."""
    return ReadJob(
        file=slide_file(Path("a.svs")),
        key="a-00000000",
        settings=ReadSettings(),
        magnification=2.5,
        annotations=None,
        fast=False,
        display=None,
    )


def test_a_crash_is_tried_once_more_with_more_memory(job: ReadJob) -> None:
    """The second attempt reserves twice as much; after it the slide is listed."""
    faults = ReadFaults(120)
    again = faults.crashed(job, "killed")
    assert again == replace(job, attempt=1)
    assert (faults.memory(job), faults.memory(again)) == (WORKER_BYTES, 2 * WORKER_BYTES)
    assert faults.crashed(again, "killed") is None
    (failure,) = faults.failures
    assert (failure.slide, failure.stage) == ("a.svs", "crash")
    assert "2 times (killed)" in failure.reason


def test_a_slide_that_takes_too_long_is_given_up(job: ReadJob) -> None:
    """It is listed and not tried again; no minutes are no limit."""
    faults = ReadFaults(2)
    assert (faults.seconds, ReadFaults(0).seconds) == (120, None)
    faults.timed_out(job)
    assert "within 2 minutes" in faults.failures[0].reason


def test_the_time_to_start_reaches_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What --start-seconds says is what those that read slides are given."""
    seen: dict[str, Any] = {}

    def run_on_workers(*_: Any, **options: Any) -> Iterator[Any]:
        seen.update(options)
        return iter(())

    monkeypatch.setattr("slideprep.run_on_workers", run_on_workers)
    request = Request(bundle=Path("b"), slides=("a.svs",), start_seconds=7.0)
    jobs: Any = [object(), object()]
    assert list(run.read_all(jobs, ReadFaults(0), request, lambda _: None, lambda: None)) == []
    assert seen["start_seconds"] == 7.0


def test_a_slide_that_the_network_gives_no_numbers_for_is_listed(job: ReadJob) -> None:
    """It fails by itself, with its name and what is wrong; a folder would have kept nothing of it."""

    class Task:
        def predicted(self, images: object) -> NoReturn:
            raise NotFiniteError("the network's outputs are not finite (onnxruntime on cpu)")

    images = cast("SlideImages", SimpleNamespace(name="a.svs"))
    with pytest.raises(SlideError, match=r"slide 'a\.svs': the network's outputs are not finite") as caught:
        _one(job, images, cast("SlideTask", Task()), None, lambda text: None)
    assert (caught.value.failure.stage, caught.value.failure.region) == ("network", None)
