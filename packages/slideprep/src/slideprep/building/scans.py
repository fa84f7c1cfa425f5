"""The slides that a split holds in, their scans out: one task a slide, kept on disk from run to run.

What a scan finds is :mod:`slideprep.regions.scan`'s; here are the tasks, the scans of earlier runs, and the slides that
fail.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from slideprep.building.config import BuildConfig
from slideprep.building.identity import annotation_digest, created_by
from slideprep.building.prepare import Prepared, total_bytes
from slideprep.building.workspace import Workspace
from slideprep.errors import InputError
from slideprep.preview.tally import CARDS, rank
from slideprep.regions.scan import Scan, ScanFailure, scan_slide
from slideprep.regions.settings import ScanJob
from slideprep.shards.records import ATTEMPTS, Failure, crash_failure, time_failure
from slideprep.slides.files import SlideFile
from slideprep.slides.fingerprint import fingerprint
from slideprep.workers.executor import Executor

SCAN_BYTES = 640 * 1024 * 1024
"""What a scan takes at most, slides of any size: overviews have a bounded number of pixels and are read in strips."""


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """The slides of a build after the scan.

    Attributes:
        scans: By name.
        failures: Slides that cannot be used, those known before the scan included.
        pictures: Thumbnails of such slides, by name, where they could be opened.
    """

    scans: Mapping[str, Scan]
    failures: tuple[Failure, ...]
    pictures: Mapping[str, bytes]


def scan_slides(
    config: BuildConfig, prepared: Prepared, pool: Executor, console: Console, workspace: Workspace | None
) -> Scanned:
    """Scan the slides that a split holds; arguments as for :func:`slideprep.building.build.plan_set`."""
    scans: dict[str, Scan] = {}
    pictures: dict[str, bytes] = {}
    failures = list(prepared.failures)
    faults = ScanFaults(config.slide_minutes)
    kept = workspace and Workspace(workspace.out.resolve(), scratch=config.access.scratch)
    run: Callable[[ScanJob], Scan | ScanFailure] = partial(scan_with_cache, workspace=kept)
    with scan_progress(console, len(prepared.wanted)) as progress:
        results = pool.map(
            run,
            _scan_jobs(config, prepared),
            on_crash=faults.crashed,
            on_wait=lambda: None,
            memory=lambda _: SCAN_BYTES,
            time_limit=faults,
        )
        for job, result in results:
            progress.advance(progress.task_ids[0])
            if isinstance(result, Scan):
                scans[job.shown_name] = result
            else:
                if result.thumbnail is not None:
                    pictures[result.name] = result.thumbnail
                    if len(pictures) > CARDS:  # those that preview.html has no room for
                        del pictures[max(pictures, key=rank)]
                failures.append(
                    Failure(slide=result.name, region=None, stage=result.stage, reason=result.reason)
                )
    failures += faults.failures
    return Scanned(scans=dict(sorted(scans.items())), failures=tuple(failures), pictures=pictures)


def _scan_jobs(config: BuildConfig, prepared: Prepared) -> Iterator[ScanJob]:
    """One for each slide that a split holds, the largest first."""
    settings, access = config.reading(), config.access
    # A whole path: a worker's current folder need not be ours.
    save_masks = config.save_masks and config.save_masks.resolve()
    sizes = {name: _size_or_zero(prepared.files[name]) for name in prepared.wanted}
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        yield ScanJob(
            file=prepared.files[name],
            shown_name=name,
            settings=settings,
            label_objective=prepared.entries[name].objective,
            label_mpp=prepared.entries[name].mpp,
            annotations=prepared.annotations.get(name),
            save_masks=save_masks,
            access=access,
        )


def _size_or_zero(file: SlideFile) -> int:
    try:
        return total_bytes(file)
    except OSError:
        return 0


def scan_with_cache(job: ScanJob, *, workspace: Workspace | None) -> Scan | ScanFailure:
    """Scan a slide, or take the scan of an earlier run of the same content and settings."""
    job.access.apply()
    if workspace is None:
        found = scan_slide(job)
        return sent(found) if isinstance(found, Scan) else found
    settings = _scan_digest(job)
    source = None if job.file.remote is None else job.file.remote.mark
    try:
        kept = workspace.load_scan(
            job.shown_name, settings, source=source, fingerprint=lambda: fingerprint(job.file)
        )
    except InputError:
        kept = None  # the scan itself says what is wrong
    if kept is not None and job.save_masks is None:
        return sent(kept)
    result = scan_slide(job)
    if isinstance(result, Scan):
        workspace.save_scan(result, settings, source=source)
        return sent(result)
    return result


def sent(scan: Scan) -> Scan:
    """A scan as the process that plans gets it: the thumbnail stays on disk, where there is room for an archive's."""
    return replace(scan, thumbnail=b"")


def _scan_digest(job: ScanJob) -> str:
    annotation = annotation_digest(job.annotations)
    settings = job.settings.model_dump(exclude={"quality"})  # changes no region
    parts = (settings, job.label_objective, job.label_mpp, annotation, created_by().model_dump())
    return hashlib.sha256(repr(parts).encode()).hexdigest()


class ScanFaults:
    """Of tasks that scan one slide each.

    Args:
        minutes: How long a slide may take; 0 for any time.

    Attributes:
        failures: Slides that were given up.
    """

    def __init__(self, minutes: float) -> None:
        self._minutes = minutes
        self._count: Counter[str] = Counter()
        self.failures: list[Failure] = []

    def crashed(self, job: ScanJob, reason: str) -> ScanJob | None:
        """Once more, then never."""
        self._count[job.shown_name] += 1
        if self._count[job.shown_name] < ATTEMPTS:
            return job
        self.failures.append(crash_failure(job.shown_name, reason))
        return None

    def over(self, begun: Sequence[tuple[ScanJob, float]]) -> Sequence[ScanJob]:
        """Scans that have run for longer than a slide may take."""
        return [job for job, seconds in begun if 0 < self._minutes * 60 <= seconds]

    def without(self, job: ScanJob) -> None:
        """Nothing is left of the task."""
        self.failures.append(time_failure(job.shown_name, self._minutes))


@contextmanager
def scan_progress(console: Console, slides: int) -> Iterator[Progress]:
    """A bar that counts slides; its only task has id 0."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("slides"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task("Finding tissue ", total=slides)
        yield progress
