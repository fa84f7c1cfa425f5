"""Everything known at the end of a build, and index.json's content, which follows from it.

:class:`Finished` is the input of all that describes the set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from slideprep.building.config import BuildConfig
from slideprep.building.identity import created_by
from slideprep.building.plan import Sample, Shard
from slideprep.building.prepare import Prepared
from slideprep.images.sums import PixelSums
from slideprep.labels.split_plan import LABELLED_SPLITS
from slideprep.labels.split_table import SplitTable, split_table
from slideprep.regions.scan import Scan
from slideprep.shards.format import (
    FORMAT_NAME,
    FORMAT_VERSION,
    Counts,
    ImageEncoding,
    Index,
    ShardEntry,
    SplitEntry,
    Statistics,
    keys_sha256,
    magnification_name,
    statistics_from_sums,
)
from slideprep.shards.models import Change, CreatedBy, StatisticsOf
from slideprep.shards.records import Failure, Quality, ShardRecord
from slideprep.units import grid_px


def build_index(finished: Finished) -> Index:
    """index.json of a finished build."""
    config, plan, past = finished.config, finished.prepared.plan, finished.past
    samples = finished.samples
    stored = sorted({record.split for record in finished.records})
    patients = {name: slide.patient for name, slide in plan.slides.items()}
    statistics = _statistics(finished)
    kind: StatisticsOf = "unencoded" if past is None else past.statistics_of
    return Index(
        format=FORMAT_NAME,
        version=FORMAT_VERSION,
        created_by=created_by() if past is None else past.created_by,
        config=config.record,
        synthetic=is_synthetic(finished),
        magnification_by=config.magnification_by,
        magnifications=config.magnifications,
        grid={magnification_name(m): px for m, px in grid_px(config.magnifications).items()},
        image=ImageEncoding(format=config.image_format, quality=config.encoded_quality),
        classes=plan.classes,
        splits={name: _split(name, finished, samples, patients) for name in stored},
        sets=_sets(plan.sets, stored),
        shards=tuple(
            ShardEntry(
                split=record.split,
                number=record.number,
                samples=len(record.keys),
                keys_sha256=keys_sha256(record.keys),
                cells=record.cells,
                files=record.files,
            )
            for record in sorted(finished.records, key=lambda r: (r.split, r.number))
        ),
        statistics=statistics,
        statistics_shards=None if past is None else past.statistics_shards,
        statistics_of=None if statistics is None else kind,
        changes=() if past is None else past.changes,
        counts=Counts(
            slides=len({sample.slide for sample in samples.values()}),
            slides_failed=len({failure.slide for failure in finished.failures if failure.region is None}),
            regions=len(samples),
            regions_left_out=sum(
                row.region is not None for row in (*finished.left_out, *finished.all_failures)
            ),
            patients=len({patients[sample.slide] for sample in samples.values()}),
        ),
    )


def is_synthetic(finished: Finished) -> bool:
    """Whether every slide's file says that it was generated; its pseudonym would not."""
    if finished.past is not None:
        return finished.past.synthetic
    names = [finished.prepared.files[name].name for name in finished.scans]
    return bool(names) and all(name.startswith("synthetic-") for name in names)


def _sets(planned: Mapping[str, tuple[str, ...]], stored: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Every stored split by itself, and the planned unions of those that are stored."""
    unions = {name: tuple(part for part in parts if part in stored) for name, parts in planned.items()}
    return {name: (name,) for name in stored} | {name: parts for name, parts in unions.items() if parts}


def _split(
    name: str, finished: Finished, samples: Mapping[str, Sample], patients: Mapping[str, str]
) -> SplitEntry:
    records = [record for record in finished.records if record.split == name]
    inside = [samples[key] for record in records for key in record.keys]
    slides = {sample.slide for sample in inside}
    labelled = name in LABELLED_SPLITS
    per_class = Counter(sample.label for sample in inside)
    return SplitEntry(
        labelled=labelled,
        shards=len(records),
        samples=len(inside),
        slides=len(slides),
        patients=len({patients[slide] for slide in slides}),
        per_class={label: per_class[label] for label in finished.prepared.plan.classes} if labelled else None,
    )


def _statistics(finished: Finished) -> dict[str, Statistics] | None:
    totals = {magnification_name(m): PixelSums() for m in finished.config.magnifications}
    counted = None if finished.past is None else finished.past.statistics_shards
    for record in finished.records:
        if counted is not None and record.number not in counted:
            continue
        for name, sums in (record.sums or {}).items():
            totals[name].merge(PixelSums(pixels=sums.pixels, sums=sums.sums, squares=sums.squares))
    if not all(total.pixels for total in totals.values()):
        return None
    return {
        name: statistics_from_sums(pixels=total.pixels, sums=total.sums, squares=total.squares)
        for name, total in totals.items()
    }


@dataclass(frozen=True, kw_only=True)
class Past:
    """What a set that was changed after its build keeps of it.

    Attributes:
        created_by: Versions of the software that built it.
        synthetic: Whether every slide was generated.
        statistics_shards: Numbers of the shards of ``train`` that the colour statistics count; None for all.
        statistics_of: The pixels that the records' sums are of; one kind all the set's life, since pixels from before
            encoding are nowhere kept.
        changes: What was done to it, in order.
    """

    created_by: CreatedBy
    synthetic: bool
    statistics_shards: tuple[int, ...] | None
    statistics_of: StatisticsOf
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
        failures: Failures of slides, before any shard was begun; those of regions are in the records.
        pictures: Thumbnails of slides that failed, by name, where they could be opened.
        warnings: Warnings of the run.
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
        """What was left out by a rule, not by a fault: slides that no split holds, regions too small or below a limit.

        Stained tissue that is in no region counts as one, numbered after the slide's regions.
        """
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
        rows += [
            Failure(
                slide=scan.name,
                region=None if piece.box is None else number,
                stage="tissue",
                reason=piece.reason,
            )
            for scan in self.scans.values()
            for number, piece in enumerate(scan.left_out, start=len(scan.regions))
        ]
        rows += [row for record in self.records for row in record.left_out]
        return sorted(rows, key=lambda f: (f.slide, -1 if f.region is None else f.region))

    @cached_property
    def failed_regions(self) -> dict[tuple[str, int | None], str]:
        """Reason by (slide, region) of the regions that failed."""
        return {(f.slide, f.region): f.reason for f in self.all_failures if f.region is not None}

    @cached_property
    def refused_regions(self) -> dict[tuple[str, int | None], str]:
        """Reason by (slide, region) of the regions whose quality is beyond a limit."""
        return {(row.slide, row.region): row.reason for record in self.records for row in record.left_out}

    @cached_property
    def quality(self) -> dict[str, Quality]:
        """Of the regions that were read, by key; empty for shards of earlier versions."""
        return {key: quality for record in self.records for key, quality in record.quality.items()}

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
