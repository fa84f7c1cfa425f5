"""Keys of samples in, small JPEGs of them out: read from a shard set, the few that are wanted alone.

An index has no keys, so the headers of tars are walked until all keys are found, those of the evaluated split first and
of the lowest magnification, whose tars are the smallest. What cannot be read becomes a reason, and stops nothing: a
report is of numbers, and these are there.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from kdtrain.errors import UsageError
from kdtrain.report.runs.shard_set import fault_of
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import Index
from kdtrain.shards.locations import Location
from kdtrain.shards.models import Shard
from kdtrain.shards.open_tars import tars_of
from kdtrain.shards.sample import DAMAGE, decode_sample, open_image
from kdtrain.shards.tar import SamplePlace, checked_places, read_place

SIDE_PX = 192
"""Longest side of a thumbnail."""
MOST_BYTES = 9_000
"""Of a thumbnail's JPEG, by the first of the qualities that reaches it, else by the last."""
_QUALITIES = (82, 70, 55, 40, 25)
_FAULTS = (ShardError, UsageError, OSError)
_ABSENT = "no tar of the set has its key"


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A small image: JPEG data, (width, height) in pixels."""

    jpeg: bytes
    size_px: tuple[int, int]


def read_thumbnails(
    index: Index, keys: Collection[str], *, split: str, magnification: float
) -> tuple[Mapping[str, Thumbnail], Mapping[str, str]]:
    """Thumbnails of samples.

    Args:
        index: The shard set that they are of.
        keys: Of the samples.
        split: Where to look first; a fold's test samples are stored anywhere.
        magnification: Highest to read, that of the network: what it saw, as far as a thumbnail can show it.

    Returns:
        Thumbnails by key, and reasons by key for the others.
    """
    try:
        samples = _Samples(index, magnification)
    except (UsageError, OSError) as error:
        return {}, dict.fromkeys(keys, fault_of(error))
    found: dict[str, Thumbnail] = {}
    reasons: dict[str, str] = {}
    wanted = set(keys)
    for shard in _shards(index, split):
        try:
            places = samples.positions(shard, wanted)
        except _FAULTS as error:
            # It may be the shard that has them: where no other has, this is why they are not found.
            reasons |= {key: fault_of(error) for key in wanted if key not in reasons}
            continue
        for key, position in places.items():
            wanted.discard(key)
            try:
                found[key] = samples.thumbnail(shard, position)
            except _FAULTS as error:
                reasons[key] = fault_of(error)
        if not wanted:
            break
    samples.close()
    return found, {key: reasons.get(key, _ABSENT) for key in keys if key not in found}


def _shards(index: Index, split: str) -> list[Shard]:
    """Of the labelled splits, those of the wanted one first."""
    labelled = [shard for shard in index.document.shards if index.document.splits[shard.split].labelled]
    first = index.document.sets.get(split, ())
    return sorted(labelled, key=lambda shard: shard.split not in first)


class _Samples:
    """Samples of a set, found by key; the headers of each tar are walked once.

    Args:
        index: The opened set.
        highest: Magnification up to which images are read; of a set that has none so low, its lowest.

    Raises:
        UsageError: The set's shards cannot be cached.
    """

    def __init__(self, index: Index, highest: float) -> None:
        everywhere = sorted(index.document.magnifications)
        self._index, self._tars = index, tars_of(index)
        self._magnifications = [one for one in everywhere if one <= highest] or everywhere[:1]
        self._places: dict[Location, tuple[SamplePlace, ...]] = {}

    def positions(self, shard: Shard, keys: Collection[str]) -> dict[str, int]:
        """Where a shard has the keys that it has, from its smallest tar."""
        with self._opened(shard, self._magnifications[0]) as (_, _, places):
            return {place.key: number for number, place in enumerate(places) if place.key in keys}

    def thumbnail(self, shard: Shard, position: int) -> Thumbnail:
        """At the lowest magnification that fills a thumbnail; none is decoded larger than it takes."""
        sizes = {one: self._index.sizes_of(shard, one)[position] for one in self._magnifications}
        enough = (one for one, size in sizes.items() if max(size) >= SIDE_PX)
        magnification = next(enough, self._magnifications[-1])
        with self._opened(shard, magnification) as (tar, path, places):
            raw = read_place(tar, path, places[position])
        size = sizes[magnification]
        sample = decode_sample(
            raw, self._index, split=shard.split, magnification=magnification, size=size, pixels=False
        )
        image = open_image(self._index.document.image.format, io.BytesIO(sample.data))
        try:
            return thumbnail(image)
        except DAMAGE as error:
            raise ShardError("F22 image-data", path, f"the image cannot be decoded: {error}") from error

    def close(self) -> None:
        """Close all tars."""
        self._tars.close()

    @contextmanager
    def _opened(
        self, shard: Shard, magnification: float
    ) -> Iterator[tuple[BinaryIO, Location, tuple[SamplePlace, ...]]]:
        path = self._index.path_of(shard, magnification)
        with self._tars.borrow(shard, magnification) as tar:
            if path not in self._places:
                tar.seek(0)
                self._places[path] = checked_places(tar, path, shard)
            yield tar, path, self._places[path]


def thumbnail(image: Image.Image) -> Thumbnail:
    """An image made small; one that is smaller already stays as it is.

    Args:
        image: RGB; of a JPEG that was opened, no more is decoded than the size takes.
    """
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    for quality in _QUALITIES:
        if len(data := _jpeg(image, quality)) <= MOST_BYTES:
            break
    return Thumbnail(jpeg=data, size_px=image.size)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=True, icc_profile=None, exif=b"", comment=b"")
    return file.getvalue()
