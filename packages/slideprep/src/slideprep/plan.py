"""Which sample goes into which shard: pure, seeded, independent of the number of workers.

A shard is a packed group of whole slides, so each slide is opened by exactly one task and a failure stays inside it.
Slides come in seeded order, samples are shuffled inside their shard. The order is a rank by hash: adding a slide moves
no other slide relative to the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from slideprep.regions.layout import Layout, sizes_px
from slideprep.shards.format import shard_name
from slideprep.shards.models import ImageFormat, RegionSource
from slideprep.tissue.annotations import AnnotatedRegion

BYTES_PER_PX: dict[ImageFormat, float] = {"jpeg": 0.6, "png": 2.0, "webp": 0.3}
"""Expected size of encoded tissue at quality 95; measured on H&E slides, used for planning only."""

SHARDS_WANTED = 16
"""A small set gets smaller shards, so that its building, and a loader's workers, have something to share."""


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
        """Its slides, by name."""
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
