"""Samples of a shard set by number: a set and a split in, a dataset for torch's DataLoader out.

Nothing is augmented, shuffled or stacked here: that is the program's that trains.
"""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate
from typing import SupportsIndex

import torch

from kdtrain.config.common import names_in
from kdtrain.data.plan import SampleRef
from kdtrain.data.samples import PairedSample, SampleReader
from kdtrain.errors import UsageError
from kdtrain.shards.cache import CacheSettings
from kdtrain.shards.index import Index, read_index, union_of
from kdtrain.shards.locations import Location
from kdtrain.shards.models import magnification_name
from kdtrain.shards.open_tars import shards_ahead


class Dataset(torch.utils.data.Dataset[PairedSample]):
    """Samples of a shard set by number, from 0 in stored order, for :class:`torch.utils.data.DataLoader`.

    Images differ in size, so nothing stacks them: give DataLoader ``batch_size=None`` for single samples, or
    ``collate_fn=list`` for lists of them. Worker processes may be forked or spawned; each opens its own tars. What a
    sample raises, torch raises again as RuntimeError if a worker read it, with the same words.

    Args:
        shards: The folder that ``slideprep build-shards --out`` wrote, or its URL.
        magnifications: One or more; the images of a sample at all of them come together. None for all of the set.
        split: A split, a set such as "aux2", or several of them with commas between, as for ``--train-on``; a sample
            that is in two of them comes once.
        transform: What becomes of each sample, its images at all magnifications at once; spawned workers need one that
            can be pickled.
        cache: For the shards of a URL, which must all find room: samples are asked for in any order. None takes the
            defaults.

    Attributes:
        index: The set.
        split: The split as given.
        magnifications: Magnifications of the images.

    Raises:
        ShardError: The set is unfinished or damaged, or lacks the split or a magnification.
        UsageError: No split or no magnification is named; a URL that cannot be read, or a cache that is too small.
    """

    def __init__(
        self,
        shards: Location | str,
        *,
        magnifications: Sequence[float] | None = None,
        split: str = "train",
        transform: Callable[[PairedSample], PairedSample] | None = None,
        cache: CacheSettings | None = None,
    ) -> None:
        self.index: Index = read_index(shards, cache, magnifications=magnifications)
        self.split = split
        self.magnifications = tuple(
            self.index.document.magnifications if magnifications is None else magnifications
        )
        names = names_in(split)
        if not names or not self.magnifications:
            lacking = "magnification" if names else "split"
            given = f"magnifications={magnifications!r}" if names else f"split={split!r}"
            raise UsageError(f"{given} names no {lacking}; {self._there()}")
        joined, name = union_of(self.index, names)
        self._reader = SampleReader(joined, name, self.magnifications)
        shards_ahead(joined, name, self.magnifications, at_once=len(self._reader.shards))
        self._starts = [0, *accumulate(shard.samples for shard in self._reader.shards)]
        self._transform = transform

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, number: SupportsIndex) -> PairedSample:
        """A sample, read and checked.

        Args:
            number: Below 0 from the end, as in a list.

        Raises:
            IndexError: There is no such sample.
            ShardError: It is damaged.
        """
        given, count = operator.index(number), len(self)
        place = given + count if given < 0 else given
        if not 0 <= place < count:
            raise IndexError(
                f"no sample {given}: {self.split!r} of {self.index.directory} has {count}, so numbers go from 0 to "
                f"{count - 1}, or from -1 down to {-count}"
            )
        shard = bisect_right(self._starts, place) - 1
        loaded = self._reader.load(SampleRef(shard, place - self._starts[shard]))
        sample = PairedSample(
            key=loaded.key, images=loaded.images, label=loaded.label, shard=loaded.shard, record=loaded.record
        )
        return sample if self._transform is None else self._transform(sample)

    @property
    def classes(self) -> tuple[str, ...]:
        """What labels mean, by number."""
        return self.index.document.classes

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The key of every sample, in order. Reads the headers of all tars, once; those of a URL are fetched for it.

        Raises:
            ShardError: A tar is damaged.
        """
        return tuple(key for shard in range(len(self._reader.shards)) for key in self._reader.keys(shard))

    @cached_property
    def labels(self) -> tuple[int | None, ...]:
        """The class number of every sample, in order; None where its split has no labels. Reads no image.

        Raises:
            ShardError: A tar is damaged, or a label is none.
        """
        return tuple(
            label for shard in range(len(self._reader.shards)) for label in self._reader.labels(shard)
        )

    def sizes(self, magnification: float) -> tuple[tuple[int, int], ...]:
        """(width, height) of every sample's image in pixels, in order. Opens no tar.

        Args:
            magnification: Any of the set.

        Raises:
            ShardError: The set has no such magnification.
        """
        index = self._reader.index
        return tuple(size for shard in self._reader.shards for size in index.sizes_of(shard, magnification))

    def _there(self) -> str:
        document = self.index.document
        magnifications = ", ".join(map(magnification_name, document.magnifications))
        return (
            f"{self.index.directory} has the magnifications {magnifications} and the splits and sets "
            + ", ".join(sorted(document.sets))
        )
