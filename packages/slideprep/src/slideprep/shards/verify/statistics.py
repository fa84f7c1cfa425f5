"""The colour statistics against the images that they count: rule F29 of shards/SHARD_FORMAT.md.

Statistics of decoded images are computed again. Those of the pixels before encoding cannot be, where the encoding is
not lossless: ``pixels`` must be exact, and the rest as near as the encoding keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator

from slideprep.shards.format import INDEX_NAME, Index, ShardEntry, magnification_name, statistics_from_sums
from slideprep.shards.verify.image import PixelSums
from slideprep.shards.verify.report import Fault
from slideprep.shards.verify.tar import STATISTICS_SPLIT, TarFacts

EXACT = 0.01
"""Grey levels. Sums are exact, but another version of a decoder may round a pixel otherwise."""
ROUNDING = {"jpeg": 2.0, "webp": 15.0}
"""Grey levels that an encoding can change a mean or a deviation by at the highest quality: JPEG rounds colours (1.0 was
the most on an image of one colour), WebP halves the resolution of colours (12 on noise)."""
QUANTISATION = 10.0
"""Grey levels more for each unit of the scale of libjpeg's tables; of JPEG's mean, 2.9 are what the tables allow."""


def statistics_tolerance(index: Index) -> float:
    """Grey levels by which mean and deviation may differ from those of the decoded images."""
    image = index.image
    if index.statistics_of != "unencoded" or image.quality is None or image.format not in ROUNDING:
        return EXACT
    scale = (100 - image.quality) / 50 if image.quality >= 50 else 50 / image.quality
    return ROUNDING[image.format] + QUANTISATION * scale


def statistics_faults(index: Index, facts: list[TarFacts]) -> tuple[list[Fault], list[str]]:
    """Faults of the colour statistics, and what could not be checked of them.

    Args:
        index: The set's index.
        facts: What was read, one per shard and magnification.
    """
    train = index.splits.get(STATISTICS_SPLIT)
    wanted = train is not None and train.labelled and train.samples > 0
    if not wanted or index.statistics is None:
        if wanted == (index.statistics is not None):
            return [], []
        message = "statistics must be there if, and only if, there is a labelled training split with samples"
        return [Fault(rule="F29 statistics", path=INDEX_NAME, message=message)], []
    counted = {shard.number: shard.samples for shard in _counted(index)}
    named = index.statistics_shards
    if not sum(counted.values()) or (named is not None and list(counted) != list(named)):
        message = (
            f"statistics_shards is {named and list(named)}; it names shards of {STATISTICS_SPLIT} in order, each "
            "once, with samples in one of them at least"
        )
        return [Fault(rule="F29 statistics", path=INDEX_NAME, message=message)], []
    faults: list[Fault] = []
    unchecked: list[str] = []
    for m in index.magnifications:
        own = [
            fact
            for fact in facts
            if fact.place.shard.split == STATISTICS_SPLIT
            and fact.place.shard.number in counted
            and fact.place.magnification == m
        ]
        name = magnification_name(m)
        if sum(fact.decoded for fact in own) != sum(counted.values()) or name not in index.statistics:
            unchecked.append(f"statistics at {name}: not every image that they count decodes")
            continue
        faults += _compare(index, name, sum((fact.sums for fact in own), PixelSums()))
    return faults, unchecked


def _counted(index: Index) -> list[ShardEntry]:
    """The shards whose images the statistics count."""
    numbers = index.statistics_shards
    return [
        shard
        for shard in index.shards
        if shard.split == STATISTICS_SPLIT and (numbers is None or shard.number in numbers)
    ]


def _compare(index: Index, name: str, sums: PixelSums) -> Iterator[Fault]:
    assert index.statistics is not None, "the caller looked"
    given = index.statistics[name]
    found = statistics_from_sums(pixels=sums.pixels, sums=sums.sums, squares=sums.squares)
    tolerance = statistics_tolerance(index)
    differences = [abs(a - b) for a, b in zip(given.mean + given.std, found.mean + found.std, strict=True)]
    if given.pixels != found.pixels or max(differences) > tolerance:
        message = (
            f"statistics at {name} are ({given}), but the decoded images give ({found}); "
            f"mean and std may differ by {tolerance:g} grey levels, pixels not at all"
        )
        yield Fault(rule="F29 statistics", path=INDEX_NAME, message=message)
