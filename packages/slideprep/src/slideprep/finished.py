"""Everything known at the end of a build, and what follows from it: the input of all that describes the set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from slideprep.config import BuildConfig
from slideprep.labels.split_table import SplitTable, split_table
from slideprep.plan import Sample, Shard
from slideprep.prepare import Prepared
from slideprep.regions.scan import Scan
from slideprep.shards.models import Change, CreatedBy
from slideprep.shards.records import Failure, ShardRecord


@dataclass(frozen=True, kw_only=True)
class Past:
    """What a set that was changed after its build keeps of it.

    Attributes:
        created_by: Versions of the software that built it.
        synthetic: Whether every slide was generated.
        statistics_shards: Numbers of the shards of ``train`` that the colour statistics count; None for all.
        changes: What was done to it, in order.
    """

    created_by: CreatedBy
    synthetic: bool
    statistics_shards: tuple[int, ...] | None
    changes: tuple[Change, ...]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Everything known at the end of a build.

    Attributes:
        config: The settings.
        prepared: Slides, labels and splits.
        scans: By slide name; slides that failed are missing.
        shards: As planned.
        records: One per shard, in the same order.
        failures: Of slides, before any shard was begun; those of regions are in the records.
        pictures: Thumbnails of slides that failed, by name, where they could be opened.
        warnings: Of the run.
        past: What a set keeps that was there before; None for a new one.
    """

    config: BuildConfig
    prepared: Prepared
    scans: Mapping[str, Scan]
    shards: Sequence[Shard]
    records: Sequence[ShardRecord]
    failures: Sequence[Failure]
    pictures: Mapping[str, bytes]
    warnings: Sequence[str]
    past: Past | None = None

    @cached_property
    def all_failures(self) -> list[Failure]:
        """Failed slides, then failed regions, in a fixed order."""
        found = [*self.failures, *(failure for record in self.records for failure in record.failures)]
        return sorted(found, key=lambda f: (f.slide, -1 if f.region is None else f.region, f.stage))

    @cached_property
    def left_out(self) -> list[Failure]:
        """What was left out by a rule, not by a fault: slides that no split holds, regions that are too small."""
        rows = [
            Failure(slide=name, region=None, stage="split", reason=reason)
            for name, reason in self.prepared.plan.left_out.items()
        ]
        rows += [
            Failure(slide=scan.name, region=region.index, stage="layout", reason=region.left_out)
            for scan in self.scans.values()
            for region in scan.regions
            if region.left_out is not None
        ]
        return sorted(rows, key=lambda f: (f.slide, -1 if f.region is None else f.region))

    @cached_property
    def failed_regions(self) -> dict[tuple[str, int | None], str]:
        """Reason by (slide, region) of the regions that failed."""
        return {(f.slide, f.region): f.reason for f in self.all_failures if f.region is not None}

    @cached_property
    def samples(self) -> dict[str, Sample]:
        """The samples that are in the shards, by key."""
        planned = {sample.key: sample for shard in self.shards for sample in shard.samples}
        return {key: planned[key] for record in self.records for key in record.keys}


def class_table(prepared: Prepared, samples: Iterable[Sample]) -> SplitTable:
    """The paper's Tables 1 and 2 for this set."""
    counts: dict[str, Counter[str | None]] = {}
    for sample in samples:
        counts.setdefault(sample.slide, Counter())[sample.class_name] += 1
    return split_table(prepared.plan, counts)
