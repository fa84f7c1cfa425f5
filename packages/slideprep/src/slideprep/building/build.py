"""The build, step by step: prepare, scan, check for copies, plan, write shards, describe the set.

Each step is a function of the one before; what can be finished is finished, whatever fails on the way. A build that is
stopped at any moment goes on where it was when the same command is run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from rich.console import Console

from slideprep.building.config import BuildConfig
from slideprep.building.finished import Finished
from slideprep.building.identity import identity
from slideprep.building.outputs import save_regions, write_outputs, write_sidecars
from slideprep.building.plan import Planned, planned_of
from slideprep.building.prepare import Prepared
from slideprep.building.scans import scan_slides
from slideprep.building.tasks.write import write_shards
from slideprep.building.workspace import Workspace
from slideprep.errors import InputError
from slideprep.labels.leaks import check_leaks
from slideprep.shards.format import Index
from slideprep.shards.journal import refuse_unfinished
from slideprep.shards.records import ShardRecord
from slideprep.slides.fetch import forget_idle
from slideprep.text import count, sayer
from slideprep.workers.executor import Executor, executor


@dataclass(frozen=True, kw_only=True)
class Built:
    """A finished build.

    Attributes:
        index: What index.json holds.
        finished: Everything behind it.
    """

    index: Index
    finished: Finished


def build_shards(config: BuildConfig, prepared: Prepared, console: Console) -> Built:
    """Build a shard set.

    Args:
        config: The settings.
        prepared: Slides, labels and splits of the same settings (see :func:`slideprep.building.prepare.prepare`).
        console: For progress.

    Raises:
        UsageError: The folder or the inputs do not fit together.
        OutputError: The folder cannot be written to.
    """
    workspace = Workspace(config.out, scratch=config.scratch)
    say = sayer(console)
    with workspace.locked(say):
        refuse_unfinished(config.out)
        workspace.begin(identity(config, prepared))
        with ExitStack() as stack:
            with console.status("Starting workers"):
                pool = stack.enter_context(
                    executor(
                        workers=config.workers,
                        ray_address=config.ray_address,
                        start_seconds=config.start_seconds,
                        say=say,
                    )
                )
            planned = plan_set(config, prepared, pool, console, workspace)
            records = write_shards(config, planned, pool, console, workspace)
        finished = finished_build(config, planned, records)
        if not planned.shards:
            write_sidecars(finished, config.out, scratch=config.scratch)
            raise InputError(
                f"nothing can be written: no region of {count(len(prepared.files), 'slide')} is usable; "
                f"{config.out / 'failures.csv'} and {config.out / 'left_out.csv'} say why"
            )
        if finished.refused_regions and not finished.samples:
            write_sidecars(finished, config.out, scratch=config.scratch)
            raise InputError(
                f"nothing is left to write: {count(len(finished.refused_regions), 'region')} of "
                f"{count(len(prepared.files), 'slide')} lie beyond the limits of quality, which "
                f"{config.out / 'left_out.csv'} names with their numbers; give wider ones, and a new --out"
            )
        workspace.check_held()
        index = write_outputs(finished, config.out, scratch=config.scratch)
        if any(file.remote is not None for file in prepared.files.values()):
            forget_idle(config.access)
        return Built(index=index, finished=finished)


def finished_build(config: BuildConfig, planned: Planned, records: Sequence[ShardRecord]) -> Finished:
    """What is known once every shard is written.

    Args:
        config: The settings.
        planned: The plan of the same settings.
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


def plan_set(
    config: BuildConfig, prepared: Prepared, pool: Executor, console: Console, workspace: Workspace | None
) -> Planned:
    """Scan every slide that a split holds, and settle what goes into which shard.

    Args:
        config: The settings.
        prepared: Slides, labels and splits of the same settings.
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
    return planned_of(config, prepared, scanned, warnings=(*prepared.warnings, *copies))
