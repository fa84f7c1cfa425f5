"""What ties samples to each other and to the index: rules F23 to F28 of shards/SHARD_FORMAT.md, and F29."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import isclose

from pydantic import ValidationError

from slideprep.shards.format import (
    INDEX_NAME,
    Index,
    SampleRecord,
    ShardEntry,
    magnification_name,
    slide_hash,
    valid_box,
)
from slideprep.shards.verify.report import Fault
from slideprep.shards.verify.statistics import statistics_faults
from slideprep.shards.verify.tar import TarFacts
from slideprep.units import MPP_AT_1X

TOLERANCE = 1e-6
"""Relative; numbers are stored as 64-bit floats."""


@dataclass(frozen=True, kw_only=True)
class _Sample:
    key: str
    record: SampleRecord
    shard: ShardEntry
    path: str


def check_set(index: Index, shards: list[ShardEntry], facts: list[TarFacts]) -> tuple[list[Fault], list[str]]:
    """Faults between samples, tars and the index, and what could not be checked.

    Args:
        index: The set's index.
        shards: The shards that were read.
        facts: One per shard and magnification.
    """
    faults = [fault for fact in facts for fault in _geometry_faults(fact)]
    faults += _paired_faults(facts)
    first: dict[tuple[str, str, int], _Sample] = {}
    for fact in facts:
        for key, record in fact.records.items():
            if record is not None:
                shard = fact.place.shard
                sample = _Sample(key=key, record=record, shard=shard, path=fact.place.path)
                first.setdefault((key, shard.split, shard.number), sample)
    samples = list(first.values())
    faults += [*_key_faults(samples), *_split_faults(samples)]
    unchecked = []
    if len(samples) == sum(shard.samples for shard in index.shards) and all(fact.complete for fact in facts):
        faults += _count_faults(index, samples)
    else:
        unchecked.append("counts of slides, patients and classes: some samples cannot be read")
    statistics, skipped = statistics_faults(index, facts)
    return faults + statistics, unchecked + skipped


def _geometry_faults(fact: TarFacts) -> Iterator[Fault]:
    for key, record in fact.records.items():
        for message in _geometry(record) if record is not None else ():
            yield Fault(rule="F24 geometry", path=fact.place.path, key=key, message=message)


def _geometry(record: SampleRecord) -> Iterator[str]:
    region, image, level0, factor = record.region, record.image, record.level0, record.factor
    for side, pixels, extent in (
        ("width", image.width, region.width),
        ("height", image.height, region.height),
    ):
        if not isclose(pixels * factor, extent, rel_tol=TOLERANCE):
            yield f"region.{side} is {extent}, but {pixels} px at factor {factor} are {pixels * factor}"
    physical = None if level0.mpp is None else MPP_AT_1X / level0.mpp
    scan = level0.objective if record.magnification_by == "objective" else physical
    if scan is None or not isclose(factor * record.magnification, scan, rel_tol=TOLERANCE):
        yield f"factor {factor} at {record.magnification:g}x does not lead to the scan's {scan}x"
    mpp = None if level0.mpp is None else level0.mpp * factor
    if (mpp is None) != (record.mpp is None) or not isclose(mpp or 0, record.mpp or 0, rel_tol=TOLERANCE):
        yield f"mpp is {record.mpp}, but level 0 has {level0.mpp} and the factor is {factor}"
    try:
        valid = valid_box(
            x=region.x,
            y=region.y,
            width=image.width,
            height=image.height,
            factor=Fraction(factor),
            level0_width=level0.width,
            level0_height=level0.height,
        )
    except ValidationError:
        yield "the region lies wholly outside the slide"
        return
    if image.valid != valid:
        yield f"image.valid is ({image.valid}), but the region's part on the slide is ({valid})"


def _paired_faults(facts: list[TarFacts]) -> Iterator[Fault]:
    same = ("slide", "patient", "label", "region", "level0", "reader")
    first: dict[tuple[str, str, int], SampleRecord] = {}
    for fact in facts:
        for key, record in fact.records.items():
            if record is None:
                continue
            other = first.setdefault((key, fact.place.shard.split, fact.place.shard.number), record)
            differing = [name for name in same if getattr(record, name) != getattr(other, name)]
            if differing:
                message = (
                    f"{', '.join(differing)} differ from those at {magnification_name(other.magnification)}"
                )
                yield Fault(rule="F23 record-paired", path=fact.place.path, key=key, message=message)


def _key_faults(samples: list[_Sample]) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for sample in samples:
        ending = f"-{slide_hash(sample.record.slide)}-r{sample.record.region.index:04d}"
        if not sample.key.endswith(ending):
            message = (
                f"the key of slide {sample.record.slide!r}, region {sample.record.region.index} ends {ending}"
            )
            yield Fault(rule="F25 key-derived", path=sample.path, key=sample.key, message=message)
        if sample.key in seen:
            message = f"the key is in {seen[sample.key]} too"
            yield Fault(rule="F25 key-derived", path=sample.path, key=sample.key, message=message)
        seen.setdefault(sample.key, sample.path)


def _split_faults(samples: list[_Sample]) -> Iterator[Fault]:
    patients: dict[str, set[str]] = defaultdict(set)
    owners: dict[str, set[str]] = defaultdict(set)
    places: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for sample in samples:
        patients[sample.record.patient].add(sample.shard.split)
        owners[sample.record.slide].add(sample.record.patient)
        places[sample.record.slide].add((sample.shard.split, sample.shard.number))
    for patient, splits in patients.items():
        if len(splits) > 1:
            yield _leak(f"patient {patient!r} is in the splits {sorted(splits)}")
    for slide, names in owners.items():
        if len(names) > 1:
            yield _leak(f"slide {slide!r} belongs to the patients {sorted(names)}")
    for slide, where in places.items():
        # A slide in two splits brings its patient with it, which was said above.
        if len(where) > 1 and len({split for split, _ in where}) == 1:
            message = f"slide {slide!r} is in the shards {sorted(where)}"
            yield Fault(rule="F27 slide-shard", path=INDEX_NAME, message=message)


def _leak(message: str) -> Fault:
    return Fault(rule="F26 patient-split", path=INDEX_NAME, message=message)


def _count_faults(index: Index, samples: list[_Sample]) -> Iterator[Fault]:
    pairs: dict[str, tuple[object, object]] = {
        "counts.regions": (index.counts.regions, len(samples)),
        "counts.slides": (index.counts.slides, len({s.record.slide for s in samples})),
        "counts.patients": (index.counts.patients, len({s.record.patient for s in samples})),
    }
    for name, entry in index.splits.items():
        own = [sample.record for sample in samples if sample.shard.split == name]
        pairs[f"splits.{name}.slides"] = (entry.slides, len({record.slide for record in own}))
        pairs[f"splits.{name}.patients"] = (entry.patients, len({record.patient for record in own}))
        if entry.per_class is not None:
            labels = Counter(record.label for record in own)
            pairs[f"splits.{name}.per_class"] = (entry.per_class, {c: labels[c] for c in entry.per_class})
    for name, (given, found) in pairs.items():
        if given != found:
            message = f"{name} is {given}, but the samples add up to {found}"
            yield Fault(rule="F28 counts", path=INDEX_NAME, message=message)
