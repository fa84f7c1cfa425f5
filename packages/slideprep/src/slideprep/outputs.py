"""Finished shards in, the files that describe the set out: index.json last, its sidecars before it."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path

import slideprep
from slideprep.annotations_io import regions_geojson
from slideprep.config import BuildConfig
from slideprep.encode import PixelSums
from slideprep.files import output_errors, write_atomically
from slideprep.geometry import Box
from slideprep.layout import Grid, sizes_px
from slideprep.plan import Sample, Shard
from slideprep.prepare import Prepared
from slideprep.preview import PreviewRegion, PreviewSet, PreviewSlide, PreviewTable, write_preview
from slideprep.records import Failure, ShardRecord
from slideprep.scan import FoundRegion, Scan
from slideprep.shard_format import (
    FORMAT_NAME,
    FORMAT_VERSION,
    INDEX_NAME,
    Counts,
    CreatedBy,
    ImageEncoding,
    Index,
    ShardEntry,
    SplitEntry,
    Statistics,
    dump_index,
    keys_sha256,
    magnification_name,
    statistics_from_sums,
)
from slideprep.split_plan import LABELLED_SPLITS
from slideprep.split_table import SplitTable, split_table
from slideprep.units import grid_px

LIBRARIES = (
    "numpy", "openslide-bin", "openslide-python", "pillow", "pydicom", "pyvips-binary", "scipy", "simplejpeg",
    "tifffile",
)  # fmt: skip
"""Libraries that decide pixels, regions or bytes."""


@cache
def created_by() -> CreatedBy:
    """Versions of slideprep and of the libraries behind its output."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # a system-wide libvips or OpenSlide
            versions[name] = "system"
    return CreatedBy(slideprep=slideprep.__version__, libraries=versions)


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
        warnings: Of the run.
    """

    config: BuildConfig
    prepared: Prepared
    scans: Mapping[str, Scan]
    shards: Sequence[Shard]
    records: Sequence[ShardRecord]
    failures: Sequence[Failure]
    warnings: Sequence[str]

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


def write_outputs(finished: Finished, out: Path) -> Index:
    """Write the sidecars, then index.json.

    Raises:
        OutputError: The folder cannot be written to.
    """
    write_sidecars(finished, out)
    index = build_index(finished)
    write_atomically(out / INDEX_NAME, dump_index(index))
    return index


def write_sidecars(finished: Finished, out: Path) -> None:
    """Write the files that people read: preview.html and the CSV tables."""
    table = class_table(finished.prepared, finished.samples.values())
    write_atomically(out / "failures.csv", _rows_csv(finished.all_failures))
    write_atomically(out / "left_out.csv", _rows_csv(finished.left_out))
    write_atomically(out / "slides.csv", _slides_csv(finished))
    write_atomically(out / "splits.csv", table.as_csv().encode())
    with output_errors(out):
        write_preview(_preview(finished, table, out.resolve().name), out / "preview.html")


def class_table(prepared: Prepared, samples: Iterable[Sample]) -> SplitTable:
    """The paper's Tables 1 and 2 for this set."""
    counts: dict[str, Counter[str | None]] = {}
    for sample in samples:
        counts.setdefault(sample.slide, Counter())[sample.class_name] += 1
    return split_table(prepared.plan, counts)


def build_index(finished: Finished) -> Index:
    """index.json of a finished build."""
    config, plan = finished.config, finished.prepared.plan
    samples = finished.samples
    stored = sorted({record.split for record in finished.records})
    patients = {name: slide.patient for name, slide in plan.slides.items()}
    return Index(
        format=FORMAT_NAME,
        version=FORMAT_VERSION,
        created_by=created_by(),
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
        statistics=_statistics(finished),
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
    for record in finished.records:
        for name, sums in (record.sums or {}).items():
            totals[name].merge(PixelSums(pixels=sums.pixels, sums=sums.sums, squares=sums.squares))
    if not all(total.pixels for total in totals.values()):
        return None
    return {
        name: statistics_from_sums(pixels=total.pixels, sums=total.sums, squares=total.squares)
        for name, total in totals.items()
    }


def _rows_csv(rows: Iterable[Failure]) -> bytes:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["slide", "region", "stage", "reason"])
    writer.writerows(
        [row.slide, "" if row.region is None else row.region, row.stage, row.reason] for row in rows
    )
    return table.getvalue().encode()


_SLIDE_COLUMNS = (
    "slide", "patient", "label", "split", "regions", "width", "height", "mpp", "mpp_source", "objective",
    "objective_source", "vendor", "reader", "fingerprint", "warnings",
)  # fmt: skip


def _slides_csv(finished: Finished) -> bytes:
    regions = Counter(sample.slide for sample in finished.samples.values())
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(_SLIDE_COLUMNS)
    for name, slide in sorted(finished.prepared.plan.slides.items()):
        scan = finished.scans.get(name)
        known = [""] * 10
        if scan is not None:
            scale = scan.scale
            known = [
                str("" if value is None else value)
                for value in (
                    scan.width, scan.height, scale.mpp, scale.mpp_source, scale.objective, scale.objective_source,
                    scan.vendor, scan.reader, scan.fingerprint, "; ".join(scan.warnings),
                )
            ]  # fmt: skip
        label = slide.label if slide.keeps_label else None
        writer.writerow([name, slide.patient, label or "", slide.split or "", regions[name], *known])
    return table.getvalue().encode()


def save_regions(scans: Iterable[Scan], folder: Path) -> None:
    """Write each slide's regions as GeoJSON that QuPath opens and ``--annotations`` takes."""
    for scan in scans:
        regions = [
            (region.tissue, region.class_name, region.name or f"r{region.index}") for region in scan.regions
        ]
        text = json.dumps(regions_geojson(regions), indent=1, ensure_ascii=False)
        write_atomically(folder / f"{scan.name}.geojson", text.encode())


def _preview(finished: Finished, table: SplitTable, title: str) -> PreviewSet:
    config, plan = finished.config, finished.prepared.plan
    shape = table.as_dict()
    slide_failures: dict[str, list[str]] = {}
    for failure in finished.failures:
        if failure.region is None:  # a region's own are shown with the region
            slide_failures.setdefault(failure.slide, []).append(failure.reason)
    names = sorted({*plan.slides, *slide_failures})
    return PreviewSet(
        title=title,
        slides=tuple(_preview_slide(name, finished, tuple(slide_failures.get(name, ()))) for name in names),
        synthetic=is_synthetic(finished),
        magnifications=config.magnifications,
        classes=plan.classes,
        table=PreviewTable(
            caption="Tissues, slides and patients by class and set.",
            header=tuple(map(str, shape["header"])),
            rows=tuple(tuple(map(str, row)) for row in shape["rows"]),
        ),
        settings={name: json.dumps(value, ensure_ascii=False) for name, value in config.record.items()},
        tool_versions={"slideprep": slideprep.__version__, **created_by().libraries},
    )


def _preview_slide(name: str, finished: Finished, failures: tuple[str, ...]) -> PreviewSlide:
    plan = finished.prepared.plan.slides.get(name)
    scan = finished.scans.get(name)
    warnings = (*(scan.warnings if scan else ()), *([plan.left_out] if plan and plan.left_out else []))
    return PreviewSlide(
        name=name,
        patient=plan.patient if plan else None,
        label=plan.label if plan and plan.keeps_label else None,
        split=plan.split if plan else None,
        reader=scan.reader if scan else None,
        vendor=scan.vendor if scan else None,
        width_l0=scan.width if scan else None,
        height_l0=scan.height if scan else None,
        mpp=scan.scale.mpp if scan else None,
        mpp_source=scan.scale.mpp_source if scan else None,
        objective=scan.scale.objective if scan else None,
        objective_source=scan.scale.objective_source if scan else None,
        thumbnail_jpeg=scan.thumbnail if scan else None,
        regions=tuple(_preview_region(region, name, finished) for region in (scan.regions if scan else ())),
        warnings=warnings,
        failures=failures,
    )


def _preview_region(region: FoundRegion, slide: str, finished: Finished) -> PreviewRegion:
    failed = finished.failed_regions.get((slide, region.index))
    box: Box = region.tissue
    sizes: tuple[tuple[float, int, int], ...] = ()
    if region.layout is not None:
        pixels = sizes_px(region.layout, finished.config.magnifications)
        sizes = tuple((m, *pixels[m]) for m in finished.config.magnifications)
        scan = finished.scans[slide]
        cell = Grid(scan.scale, finished.config.magnifications).cell_l0
        box = Box(
            x=region.layout.x,
            y=region.layout.y,
            width=round(region.layout.columns * cell),
            height=round(region.layout.rows * cell),
        )
    return PreviewRegion(
        box=box,
        name=f"r{region.index}",
        class_name=region.class_name,
        status="failed" if failed else "left out" if region.left_out else "written",
        reason=failed or region.left_out,
        sizes=sizes,
    )
