"""A finished build in, index.json's content out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata

import slideprep
from slideprep.finished import Finished
from slideprep.images.sums import PixelSums
from slideprep.labels.split_plan import LABELLED_SPLITS
from slideprep.plan import Sample
from slideprep.shards.format import (
    FORMAT_NAME,
    FORMAT_VERSION,
    Counts,
    CreatedBy,
    ImageEncoding,
    Index,
    ShardEntry,
    SplitEntry,
    Statistics,
    keys_sha256,
    magnification_name,
    statistics_from_sums,
)
from slideprep.units import grid_px

LIBRARIES = (
    "imagecodecs", "llvmlite", "numpy", "openslide-bin", "openslide-python", "pillow", "pydicom", "pyvips-binary",
    "scipy", "simplejpeg", "tifffile",
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


def build_index(finished: Finished) -> Index:
    """index.json of a finished build."""
    config, plan, past = finished.config, finished.prepared.plan, finished.past
    samples = finished.samples
    stored = sorted({record.split for record in finished.records})
    patients = {name: slide.patient for name, slide in plan.slides.items()}
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
        statistics=_statistics(finished),
        statistics_shards=None if past is None else past.statistics_shards,
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
