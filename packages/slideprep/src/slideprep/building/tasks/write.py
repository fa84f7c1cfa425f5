"""The planned shards in, their records out: one task a shard, the largest first, finished ones kept.

What a task writes is :mod:`slideprep.building.tasks.shard`'s.
"""

from __future__ import annotations

from rich.console import Console

from slideprep.building.config import BuildConfig
from slideprep.building.plan import Planned, Shard, shard_pixels
from slideprep.building.tasks.faults import ShardFaults
from slideprep.building.tasks.job import ShardJob, SourceSlide
from slideprep.building.tasks.memory import shard_task_bytes
from slideprep.building.tasks.progress import BuildProgress
from slideprep.building.tasks.shard import write_shard
from slideprep.building.workspace import Workspace
from slideprep.shards.format import magnification_name
from slideprep.shards.models import StatisticsOf
from slideprep.shards.records import ShardRecord
from slideprep.storage.access import Access
from slideprep.workers.executor import Executor


def write_shards(
    config: BuildConfig,
    planned: Planned,
    pool: Executor,
    console: Console,
    workspace: Workspace,
    *,
    statistics_of: StatisticsOf = "unencoded",
) -> list[ShardRecord]:
    """Write every planned shard that is not there yet.

    Args:
        config: The settings.
        planned: The shards.
        pool: Who writes them.
        console: Told how far it is.
        workspace: That of the folder.
        statistics_of: The pixels that the set's colour statistics are of.

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
            (_shard_job(config, planned, shard, access, statistics_of) for shard in largest_first),
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


def _shard_job(
    config: BuildConfig, planned: Planned, shard: Shard, access: Access, statistics_of: StatisticsOf
) -> ShardJob:
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
        statistics_of=statistics_of,
        crashed={},
        limits=config.limits,
        access=access,
    )
