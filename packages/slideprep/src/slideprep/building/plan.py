"""Scanned slides in, the plan out: each region with its class, each sample in its shard. Pure and seeded.

A shard is a packed group of whole slides, so each slide is opened by exactly one task and a failure stays inside it.
Slides come in seeded order, samples are shuffled inside their shard. The order is a rank by hash: adding a slide moves
no other slide relative to the rest, and the number of workers changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from slideprep.building.config import BuildConfig
from slideprep.building.prepare import Prepared
from slideprep.building.scans import Scanned
from slideprep.labels.split_plan import SplitPlan
from slideprep.regions.layout import Grid, Layout, sizes_px
from slideprep.regions.scan import Scan
from slideprep.shards.format import key_for, shard_name
from slideprep.shards.models import ImageFormat, RegionSource
from slideprep.shards.records import Failure
from slideprep.tissue.annotations import AnnotatedRegion

BYTES_PER_PX: dict[ImageFormat, float] = {"jpeg": 0.6, "png": 2.0, "webp": 0.3}
"""Expected size of encoded tissue at quality 95; measured on H&E slides, used for planning only."""

SHARDS_WANTED = 16
"""A small set gets smaller shards, so that its building, and a loader's workers, have something to share."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a build is going to write.

    Attributes:
        prepared: Slides, labels, splits.
        scanned: Regions.
        shards: The plan.
        failures: Regions of labelled splits that have no class, and failed slides.
        warnings: Warnings of the run.
    """

    prepared: Prepared
    scanned: Scanned
    shards: tuple[Shard, ...]
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]


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
        prepared: Slides, labels and splits of the same settings.
        scanned: Their regions.
        warnings: Warnings of the run.
        first: Number of the first shard of each split of a set that grows (see
            :func:`~slideprep.building.plan.plan_shards`).
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


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One region, to be stored at every magnification.

    Attributes:
        key: The sample's key.
        slide: Name of its slide.
        index: Number of the region on its slide.
        layout: Where it lies.
        source: The tissue mode that found it.
        label: Its class, or None in unlabelled splits.
        class_name: Class of the annotation it came from, or None.
        name: The annotation's own name, or None.
        outline: The annotation, where everything outside it is to be blanked.
    """

    key: str
    slide: str
    index: int
    layout: Layout
    source: RegionSource
    label: str | None
    class_name: str | None = None
    name: str | None = None
    outline: AnnotatedRegion | None = None


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What one task writes: the same samples, in this order, at every magnification.

    Attributes:
        split: The stored split.
        number: From 0 in each split.
        samples: In the order of the tars.
    """

    split: str
    number: int
    samples: tuple[Sample, ...]

    @property
    def name(self) -> str:
        """How messages and records call it: ``train-000000``."""
        return shard_name(self.split, self.number)

    @property
    def slides(self) -> tuple[str, ...]:
        """Names of the shard's slides, sorted."""
        return tuple(sorted({sample.slide for sample in self.samples}))


def rank(seed: int, purpose: str, name: str) -> bytes:
    """Sorts names in a random order that depends on the seed alone."""
    return hashlib.sha256(f"{seed}\n{purpose}\n{name}".encode()).digest()


def plan_shards(
    samples: Iterable[Sample],
    split_of: Mapping[str, str],
    *,
    magnifications: Sequence[float],
    image_format: ImageFormat,
    shard_mb: int,
    seed: int,
    first: Mapping[str, int] | None = None,
    present_bytes: float = 0.0,
) -> tuple[Shard, ...]:
    """Pack whole slides into shards, split by split.

    Args:
        samples: Every sample of the set.
        split_of: Stored split of each slide.
        magnifications: The set's magnifications; sizes are taken at the highest.
        image_format: The set's encoding.
        shard_mb: Largest size aimed at; a slide larger than that is a shard of its own.
        seed: Seed of the orders.
        first: Number of the first shard of each split of a set that grows; 0 where it says nothing.
        present_bytes: Expected size of what such a set holds already, so that its shards do not become
            smaller with every addition (see :func:`estimated_bytes`).
    """
    by_slide: dict[str, list[Sample]] = {}
    for sample in samples:
        by_slide.setdefault(sample.slide, []).append(sample)
    size = {slide: _bytes(group, magnifications, image_format) for slide, group in by_slide.items()}
    target = min(shard_mb * 1e6, (present_bytes + sum(size.values())) / SHARDS_WANTED)
    shards = []
    for split in sorted({split_of[slide] for slide in by_slide}):
        names = [slide for slide in by_slide if split_of[slide] == split]
        names.sort(key=lambda slide: (rank(seed, "slides", slide), slide))
        for number, group in enumerate(_packs(names, size, target), (first or {}).get(split, 0)):
            inside = [sample for slide in group for sample in by_slide[slide]]
            inside.sort(key=lambda sample: (rank(seed, "samples", sample.key), sample.key))
            shards.append(Shard(split=split, number=number, samples=tuple(inside)))
    return tuple(shards)


def _bytes(samples: Sequence[Sample], magnifications: Sequence[float], image_format: ImageFormat) -> float:
    return sum(estimated_bytes(sample.layout, magnifications, image_format) for sample in samples)


def estimated_bytes(layout: Layout, magnifications: Sequence[float], image_format: ImageFormat) -> float:
    """Expected size of a region's image at the highest magnification, bytes."""
    width, height = sizes_px(layout, magnifications)[max(magnifications)]
    return width * height * BYTES_PER_PX[image_format]


def _packs(names: Sequence[str], size: Mapping[str, float], target: float) -> list[list[str]]:
    packs: list[list[str]] = []
    filled = 0.0
    for name in names:
        if not packs or filled + size[name] > target:
            packs.append([])
            filled = 0.0
        packs[-1].append(name)
        filled += size[name]
    return packs
