"""Steps of a build that end their process on one slide, as a crash does, or hang; workers import them by name."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path
from unittest.mock import patch

from slideprep.building.scans import scan_with_cache
from slideprep.building.tasks import shard as open_slides
from slideprep.building.tasks.job import ShardJob
from slideprep.building.tasks.shard import write_shard
from slideprep.building.workspace import Workspace
from slideprep.regions.scan import Scan, ScanFailure
from slideprep.regions.settings import ScanJob
from slideprep.shards.records import ShardRecord
from slideprep.slides.files import SlideFile
from slideprep.slides.reader import Slide
from slideprep.slides.readers.choose import open_reader


def crash(item: int, *, on: Collection[int]) -> int:
    """Ten times the item; ends the process on some."""
    if item in on:
        os._exit(1)
    return 10 * item


def _die(name: str, attempts: Path) -> None:
    with attempts.open("a") as file:
        file.write(f"{name}\n")
    os._exit(1)


def crashing_scan(
    job: ScanJob, *, workspace: Workspace | None, slide: str, attempts: Path
) -> Scan | ScanFailure:
    """Scan a slide; ends the process on one."""
    if job.shown_name == slide:
        _die(slide, attempts)
    return scan_with_cache(job, workspace=workspace)


def crashing_write(job: ShardJob, *, slide: str, attempts: Path) -> ShardRecord:
    """Write a shard; ends the process when it opens one slide."""

    def open_or_die(file: SlideFile) -> Slide:
        if file.name == slide:
            _die(slide, attempts)
        return open_reader(file)

    with patch.object(open_slides, "open_reader", open_or_die):
        return write_shard(job)


def hanging_scan(job: ScanJob, *, workspace: Workspace | None, slide: str) -> Scan | ScanFailure:
    """Scan a slide; never ends on one."""
    while job.shown_name == slide:
        time.sleep(1)
    return scan_with_cache(job, workspace=workspace)


def hanging_write(job: ShardJob, *, slide: str) -> ShardRecord:
    """Write a shard; never ends when it opens one slide."""

    def open_or_hang(file: SlideFile) -> Slide:
        while file.name == slide:
            time.sleep(1)
        return open_reader(file)

    with patch.object(open_slides, "open_reader", open_or_hang):
        return write_shard(job)
