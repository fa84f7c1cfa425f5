"""The build, step by step: prepare, scan, check for copies, plan, write shards, describe the set.

Each step is a function of the one before; what can be finished is finished, whatever fails on the way. A build that is
stopped at any moment goes on where it was when the same command is run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from slideprep.access import Access
from slideprep.config import BuildConfig
from slideprep.discover import SlideFile
from slideprep.errors import InputError
from slideprep.fingerprint import fingerprint
from slideprep.finished import Finished
from slideprep.growing.staging import refuse_unfinished
from slideprep.layout import Grid
from slideprep.leaks import check_leaks
from slideprep.outputs import save_regions, write_outputs, write_sidecars
from slideprep.pipeline import Executor, executor
from slideprep.plan import Sample, Shard, plan_shards
from slideprep.prepare import Prepared, total_bytes
from slideprep.preview_tally import CARDS, rank
from slideprep.progress import BuildProgress, scan_progress
from slideprep.records import Failure, ShardRecord
from slideprep.scan import Scan, ScanFailure, scan_slide
from slideprep.scan_job import ScanJob, ScanSettings
from slideprep.set_index import created_by
from slideprep.shard_format import Index, key_for, magnification_name
from slideprep.shard_models import RegionSource
from slideprep.shard_writer import ShardJob, SourceSlide, write_shard
from slideprep.slide_cache import forget_idle
from slideprep.split_plan import SplitPlan
from slideprep.task_faults import ScanFaults, ShardFaults
from slideprep.task_memory import SCAN_BYTES, shard_task_bytes
from slideprep.workspace import Workspace


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


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a build is going to write.

    Attributes:
        prepared: Slides, labels, splits.
        scanned: Regions.
        shards: The plan.
        failures: Regions of labelled splits that have no class, and failed slides.
        warnings: Of the run.
    """

    prepared: Prepared
    scanned: Scanned
    shards: tuple[Shard, ...]
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Built:
    """A finished build.

    Attributes:
        index: What index.json holds.
        finished: Everything behind it.
    """

    index: Index
    finished: Finished


def build(config: BuildConfig, prepared: Prepared, console: Console) -> Built:
    """Build a shard set.

    Args:
        config: The settings.
        prepared: Of the same settings (see :func:`slideprep.prepare.prepare`).
        console: For progress.

    Raises:
        UsageError: The folder or the inputs do not fit together.
        OutputError: The folder cannot be written to.
    """
    workspace = Workspace(config.out, scratch=config.scratch)
    with workspace.locked(console.print):
        refuse_unfinished(config.out)
        workspace.begin(identity(config, prepared))
        with ExitStack() as stack:
            with console.status("Starting workers"):
                pool = stack.enter_context(
                    executor(workers=config.workers, ray_address=config.ray_address, say=console.print)
                )
            planned = plan(config, prepared, pool, console, workspace)
            records = write_shards(config, planned, pool, console, workspace)
        finished = finished_build(config, planned, records)
        if not planned.shards:
            write_sidecars(finished, config.out, scratch=config.scratch)
            raise InputError(
                f"nothing can be written: no region of the {len(prepared.files)} slides is usable; "
                f"{config.out / 'failures.csv'} and {config.out / 'left_out.csv'} say why"
            )
        workspace.check_held()
        index = write_outputs(finished, config.out, scratch=config.scratch)
        if any(file.remote is not None for file in prepared.files.values()):
            forget_idle(config.access)
        return Built(index=index, finished=finished)


def plan(
    config: BuildConfig, prepared: Prepared, pool: Executor, console: Console, workspace: Workspace | None
) -> Planned:
    """Scan every slide that a split holds, and settle what goes into which shard.

    Args:
        config: The settings.
        prepared: Of the same settings.
        pool: What runs the scans.
        console: For progress.
        workspace: Where scans are kept; None to keep nothing.

    Raises:
        UsageError: Identical files are in two splits.
    """
    scanned = scan_slides(config, prepared, pool, console, workspace)
    copies = check_leaks(prepared.plan, {name: scan.fingerprint for name, scan in scanned.scans.items()})
    if config.save_regions is not None:
        save_regions(scanned.scans.values(), config.save_regions)
    samples, unlabelled = samples_of(prepared.plan, scanned.scans, source=config.tissue)
    shards = plan_shards(
        samples,
        {name: slide.split for name, slide in prepared.plan.slides.items() if slide.split is not None},
        magnifications=config.magnifications,
        image_format=config.image_format,
        shard_mb=config.shard_mb,
        seed=config.seed,
    )
    return Planned(
        prepared=prepared,
        scanned=scanned,
        shards=shards,
        failures=(*scanned.failures, *unlabelled),
        warnings=(*prepared.warnings, *copies),
    )


def finished_build(config: BuildConfig, planned: Planned, records: Sequence[ShardRecord]) -> Finished:
    """What is known once every shard is written.

    Args:
        config: The settings.
        planned: Of the same settings.
        records: One per planned shard, in the same order.
    """
    return Finished(
        config=config,
        prepared=planned.prepared,
        scans=planned.scanned.scans,
        shards=planned.shards,
        records=records,
        failures=planned.failures,
        pictures=planned.scanned.pictures,
        warnings=planned.warnings,
    )


def refuse_other_build(config: BuildConfig, prepared: Prepared) -> None:
    """Raise UsageError where ``config.out`` holds a build of other settings or slides."""
    Workspace(config.out, scratch=config.scratch).refuse_other(identity(config, prepared))


def identity(config: BuildConfig, prepared: Prepared) -> dict[str, Any]:
    """What decides the set's bytes and is known before a slide is opened."""
    slides = {}
    for name, slide in prepared.plan.slides.items():
        entry = prepared.entries[name]
        try:
            size = total_bytes(prepared.files[name])
        except OSError:
            size = None
        known = [size, slide.patient, slide.split, entry.label, entry.mpp, entry.objective]
        slides[name] = [*known, _annotation_digest(prepared.annotations.get(name))]
    return {"settings": config.record, "versions": created_by().model_dump(), "slides": slides}


def _annotation_digest(path: Path | None) -> str | None:
    """Of an annotation file's content: one that was edited makes another set."""
    if path is None:
        return None
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None  # the scan will say so


# Scanning


def _scan_settings(config: BuildConfig) -> ScanSettings:
    settings = ScanSettings(**{field.name: getattr(config, field.name) for field in fields(ScanSettings)})
    # A whole path: a worker's current folder need not be ours.
    return replace(settings, save_masks=settings.save_masks and settings.save_masks.resolve())


def scan_slides(
    config: BuildConfig, prepared: Prepared, pool: Executor, console: Console, workspace: Workspace | None
) -> Scanned:
    """Scan the slides that a split holds; arguments as for :func:`plan`."""
    settings, access = _scan_settings(config), config.access
    sizes = {name: _size_or_zero(prepared.files[name]) for name in prepared.wanted}
    jobs = (
        ScanJob(
            file=prepared.files[name],
            shown_name=name,
            settings=settings,
            label_objective=prepared.entries[name].objective,
            label_mpp=prepared.entries[name].mpp,
            annotations=prepared.annotations.get(name),
            access=access,
        )
        for name in sorted(sizes, key=lambda name: -sizes[name])  # the largest first
    )
    scans: dict[str, Scan] = {}
    pictures: dict[str, bytes] = {}
    failures = list(prepared.failures)
    faults = ScanFaults(config.slide_minutes)
    kept = workspace and Workspace(workspace.out.resolve(), scratch=access.scratch)
    run: Callable[[ScanJob], Scan | ScanFailure] = partial(scan_with_cache, workspace=kept)
    with scan_progress(console, len(sizes)) as progress:
        results = pool.map(
            run,
            jobs,
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
    if kept is not None and job.settings.save_masks is None:
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
    annotation = _annotation_digest(job.annotations)
    settings = {**asdict(job.settings), "save_masks": None}
    parts = (settings, job.label_objective, job.label_mpp, annotation, created_by().model_dump())
    return hashlib.sha256(repr(parts).encode()).hexdigest()


# Planning


def samples_of(
    split_plan: SplitPlan, scans: Mapping[str, Scan], *, source: RegionSource
) -> tuple[list[Sample], list[Failure]]:
    """Every region that can be stored, with its class.

    Args:
        split_plan: Where the slides go.
        scans: Their regions, by slide name.
        source: The tissue mode that found them.

    Returns:
        The samples, and the regions of labelled splits that have no class.
    """
    samples, unlabelled = [], []
    for name, scan in scans.items():
        slide = split_plan.slides[name]
        for region in scan.regions:
            if region.layout is None:
                continue
            label = (region.class_name or slide.label) if slide.keeps_label else None
            if slide.keeps_label and label is None:
                unlabelled.append(
                    Failure(
                        slide=name,
                        region=region.index,
                        stage="label",
                        reason=f"region {region.index} of slide '{name}' has no class although '{slide.split}' is a "
                        "labelled split; give the annotation or the slide a class",
                    )
                )
                continue
            samples.append(
                Sample(
                    key=key_for(name, region.index),
                    slide=name,
                    index=region.index,
                    layout=region.layout,
                    source=source,
                    label=label,
                    class_name=region.class_name if slide.keeps_label else None,
                    name=region.name,
                    outline=region.outline,
                )
            )
    return samples, unlabelled


# Writing


def shard_pixels(shard: Shard, scans: Mapping[str, Scan], magnifications: Sequence[float]) -> int:
    """Level-0 pixels of a shard's regions."""
    total = 0
    for sample in shard.samples:
        cell = Grid(scans[sample.slide].scale, magnifications).cell_l0
        total += int(sample.layout.columns * cell * sample.layout.rows * cell)
    return total


def write_shards(
    config: BuildConfig, planned: Planned, pool: Executor, console: Console, workspace: Workspace
) -> list[ShardRecord]:
    """Write every planned shard that is not there yet.

    Returns:
        One record per shard, in the order of the plan.

    Raises:
        OutputError: The folder cannot be written to.
    """
    scans = planned.scanned.scans
    workspace.remove_unplanned(
        frozenset(shard.name for shard in planned.shards),
        tuple(map(magnification_name, config.magnifications)),
    )
    access = config.access
    pixels = {shard.name: shard_pixels(shard, scans, config.magnifications) for shard in planned.shards}
    largest_first = sorted(planned.shards, key=lambda shard: -pixels[shard.name])
    records: dict[str, ShardRecord] = {}
    faults = ShardFaults(
        workspace,
        config.slide_minutes,
        lambda job: shard_task_bytes(job.shard, scans, config.magnifications, config.image_format),
    )
    with BuildProgress(console, faults, planned.shards, pixels) as progress:
        results = pool.map(
            write_shard,
            (_shard_job(config, planned, shard, access) for shard in largest_first),
            on_crash=faults.crashed,
            on_wait=progress.refresh,
            memory=faults.memory,
            time_limit=faults,
        )
        for job, record in results:
            workspace.check_held()
            records[job.shard.name] = record
            progress.finished(job.shard.name)
    return [records[shard.name] for shard in planned.shards]


def _shard_job(config: BuildConfig, planned: Planned, shard: Shard, access: Access) -> ShardJob:
    prepared, scans = planned.prepared, planned.scanned.scans
    return ShardJob(
        out=config.out.resolve(),
        shard=shard,
        slides={
            name: SourceSlide(
                file=prepared.files[name],
                name=name,
                patient=prepared.plan.slides[name].patient,
                scale=scans[name].scale,
                fingerprint=scans[name].fingerprint,
            )
            for name in shard.slides
        },
        magnifications=config.magnifications,
        image_format=config.image_format,
        quality=config.encoded_quality,
        classes=prepared.plan.classes,
        with_sums=shard.split == "train" and any(sample.label is not None for sample in shard.samples),
        crashed={},
        access=access,
    )
