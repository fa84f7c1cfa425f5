"""What a build is going to write: every slide scanned, copies refused, each region given its class and its shard.

The packing itself is :mod:`slideprep.plan`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

from slideprep.config import BuildConfig
from slideprep.labels.leaks import check_leaks
from slideprep.labels.split_plan import SplitPlan
from slideprep.outputs import save_regions
from slideprep.pipeline import Executor
from slideprep.plan import Sample, Shard, plan_shards
from slideprep.prepare import Prepared
from slideprep.regions.layout import Grid
from slideprep.regions.scan import Scan
from slideprep.scan_slides import Scanned, scan_slides
from slideprep.shards.format import key_for
from slideprep.shards.models import RegionSource
from slideprep.shards.records import Failure
from slideprep.workspace import Workspace


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
    return planned_of(config, prepared, scanned, warnings=(*prepared.warnings, *copies))


def planned_of(
    config: BuildConfig,
    prepared: Prepared,
    scanned: Scanned,
    *,
    warnings: tuple[str, ...],
    first: Mapping[str, int] | None = None,
    present_bytes: float = 0.0,
) -> Planned:
    """Settle what goes into which shard, once the slides are scanned.

    Args:
        config: The settings.
        prepared: Of the same settings.
        scanned: Their regions.
        warnings: Of the run.
        first: Number of the first shard of each split of a set that grows (see
            :func:`~slideprep.plan.plan_shards`).
        present_bytes: Expected size of what such a set holds already.
    """
    samples, unlabelled = samples_of(prepared.plan, scanned.scans, source=config.tissue)
    shards = plan_shards(
        samples,
        {name: slide.split for name, slide in prepared.plan.slides.items() if slide.split is not None},
        magnifications=config.magnifications,
        image_format=config.image_format,
        shard_mb=config.shard_mb,
        seed=config.seed,
        first=first,
        present_bytes=present_bytes,
    )
    return Planned(
        prepared=prepared,
        scanned=scanned,
        shards=shards,
        failures=(*scanned.failures, *unlabelled),
        warnings=warnings,
    )


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


def shard_pixels(shard: Shard, scans: Mapping[str, Scan], magnifications: Sequence[float]) -> int:
    """Level-0 pixels of a shard's regions."""
    total = 0
    for sample in shard.samples:
        cell = Grid(scans[sample.slide].scale, magnifications).cell_l0
        total += int(sample.layout.columns * cell * sample.layout.rows * cell)
    return total
