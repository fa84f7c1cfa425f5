"""Samples as they are needed: an index and a split in, decoded samples out, each exactly once over all ranks.

SampleStream gives training its groups (one optimizer step each), EvaluationStream gives evaluation its samples.
What cannot be trained on is refused from the index alone, before anything is read. The order is epoch_plan's, the
reading sample_io's and the loading ahead loader's.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from itertools import islice

import torch

from kdtrain.config.phases import Decode
from kdtrain.data.loader import PREFETCH, Loader, LoadStats
from kdtrain.data.plan import (
    FRESH,
    WINDOW_SHARDS,
    FixedPlan,
    GroupPlan,
    TrainingPlan,
    Views,
    epoch_order,
    n_groups,
    rank_slice,
)
from kdtrain.data.samples import LoadedSample, SampleReader
from kdtrain.data.teacher_cache.reader import CacheReader
from kdtrain.model.stain.target import StainTarget
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import Index
from kdtrain.shards.models import magnification_name
from kdtrain.shards.open_tars import shards_ahead


class AccumulationGroup:
    """One rank's samples of one optimizer step, delivered as they arrive: iterate once over its micro-batches.

    They are not gathered first, so that the engine computes on one while the workers read the next, and memory holds
    what was read ahead and not a whole group.

    Attributes:
        number: Number of the group in its epoch, from 0.
        global_size: Samples of the group over all ranks: what a sample's loss is divided by.
        backwards: Micro-batches of the rank that has the most; a rank with fewer adds zero-weight ones.
        n_micro_batches: Micro-batches of this rank; 0 where the epoch's last group is smaller than the ranks.
    """

    def __init__(self, plan: GroupPlan, samples: Iterator[LoadedSample]) -> None:
        self.number = plan.number
        self.global_size = plan.global_size
        self.backwards = plan.backwards
        self.n_micro_batches = len(plan.micro_batches)
        self._plan = plan
        self._taken = 0
        self._samples = samples

    def __iter__(self) -> Iterator[tuple[LoadedSample, ...]]:
        for refs in self._plan.micro_batches[self._taken :]:
            self._taken += 1
            batch = tuple(islice(self._samples, len(refs)))
            assert len(batch) == len(refs), "the loader gives as many samples as the plan has"
            yield batch

    @property
    def used_up(self) -> bool:
        """Whether every micro-batch was taken."""
        return self._taken == self.n_micro_batches

    def samples(self) -> list[LoadedSample]:
        """All samples that were not taken yet, in memory at once."""
        return [sample for batch in self for sample in batch]


class SampleStream:
    """The training samples of one rank, epoch by epoch.

    Args:
        index: The opened set.
        split: A split or a set.
        magnifications: One, or the teacher's and the student's; the images of a sample come together.
        labelled: The phase reads labels: an unlabelled split, or one with a single class, is refused at once.
        views: Augmentation draws of a sample, and which of them an epoch shows.
        teacher_cache: Where the teacher's views are read; it has at least ``views.count`` of each sample.
        decode: "device" delivers JPEG images as they are stored, for the device to decode.
        stain: To bring images into; None for none.
        seed: Seed of the order of samples, 0 or more.
        rank: This process, from 0.
        world_size: Number of processes.
        accumulate: Samples of a full group on each rank.
        micro_batch: Samples of one forward pass at most; they have the same size. 0 for as many as are small.
        may_turn: Whether draws turn images by quarters; asked where ``micro_batch`` is 0.
        workers: Loader processes, kept from epoch to epoch; 0 reads in this process.
        prefetch: Samples that each worker reads ahead.
        window_shards: See epoch_plan.epoch_order.
        pin_memory: Deliver images in page-locked memory, for a GPU.

    Raises:
        ShardError: The set does not hold what is asked for, or not so that it can be trained on.
        UsageError: The set is at a URL, and the shard cache is too small or cannot be written.
    """

    def __init__(
        self,
        index: Index,
        split: str,
        magnifications: Sequence[float],
        *,
        labelled: bool = False,
        views: Views = FRESH,
        teacher_cache: CacheReader | None = None,
        decode: Decode = "cpu",
        stain: StainTarget | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 32,
        micro_batch: int = 1,
        may_turn: bool = True,
        workers: int = 0,
        prefetch: int = PREFETCH,
        window_shards: int = WINDOW_SHARDS,
        pin_memory: bool = False,
    ) -> None:
        check_training_set(index, split, labelled=labelled)
        reader = SampleReader(
            index, split, magnifications, teacher_cache=teacher_cache, decode=decode, stain=stain
        )
        position = torch.zeros(2, dtype=torch.int64)
        if workers:
            position.share_memory_()  # type: ignore[no-untyped-call]
        self._plan = TrainingPlan(
            cells=tuple(shard.cells for shard in reader.shards),
            turned=None if teacher_cache is None else tuple(map(teacher_cache.turned, reader.shards)),
            views=views,
            seed=seed,
            rank=rank,
            world_size=world_size,
            accumulate=accumulate,
            micro_batch=micro_batch,
            window_shards=window_shards,
            position=position,
            cell_px=max(index.document.grid[magnification_name(m)] for m in magnifications),
            may_turn=may_turn,
        )
        self._loader = Loader(
            self._plan,
            reader,
            workers=workers,
            prefetch=prefetch,
            pin_memory=pin_memory,
            ahead=shards_ahead(index, split, magnifications, at_once=window_shards),
        )

    @property
    def n_samples(self) -> int:
        """Samples of an epoch over all ranks."""
        return sum(map(len, self._plan.cells))

    @property
    def n_groups(self) -> int:
        """Groups, and so optimizer steps, of an epoch; the same on all ranks."""
        plan = self._plan
        return n_groups(self.n_samples, accumulate=plan.accumulate, world_size=plan.world_size)

    @property
    def stats(self) -> LoadStats:
        """What this rank got so far."""
        return self._loader.stats

    def epoch(self, epoch: int, *, start_group: int = 0) -> Iterator[AccumulationGroup]:
        """The groups of an epoch in order; each must be used up before the next is asked for.

        Args:
            epoch: From 0.
            start_group: The group to go on with: as many as were trained on already.

        Raises:
            ShardError: At the first damaged sample.
        """
        self._plan.position[:] = torch.tensor([epoch, start_group])
        samples = iter(self._loader)
        for plan in self._plan.groups():
            group = AccumulationGroup(plan, samples)
            yield group
            assert group.used_up, "a group is used up before the next is asked for"
        left_over = next(samples, None)
        assert left_over is None, "the loader gives as many samples as the plan has"

    def close(self) -> None:
        """End the loader's workers."""
        self._loader.close()


class EvaluationStream:
    """The samples of one rank in stored order, once: iterate over it. No sample is repeated to fill up a rank.

    Ranks get contiguous parts whose lengths differ by at most one, so results gathered in the order of ranks are in
    the stored order. Arguments as for SampleStream, and ``shards``: positions in the split or set of those that are
    read, where not all are. Of a teacher cache, each sample comes with its first view.

    Raises:
        ShardError: The set does not hold what is asked for; while iterating, at the first damaged sample.
        UsageError: The set is at a URL, and the shard cache is too small or cannot be written.
    """

    def __init__(
        self,
        index: Index,
        split: str,
        magnifications: Sequence[float],
        *,
        shards: Container[int] | None = None,
        teacher_cache: CacheReader | None = None,
        decode: Decode = "cpu",
        stain: StainTarget | None = None,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        prefetch: int = PREFETCH,
        pin_memory: bool = False,
    ) -> None:
        reader = SampleReader(
            index, split, magnifications, teacher_cache=teacher_cache, decode=decode, stain=stain
        )
        order = epoch_order([shard.samples for shard in reader.shards], seed=0, epoch=0, shuffle=False)
        if shards is not None:
            order = tuple(ref for ref in order if ref.shard in shards)
        self.n_samples = len(order)
        plan = FixedPlan(refs=tuple(rank_slice(order, rank=rank, world_size=world_size)))
        self._loader = Loader(
            plan,
            reader,
            workers=workers,
            prefetch=prefetch,
            pin_memory=pin_memory,
            ahead=shards_ahead(index, split, magnifications, at_once=1),
        )

    @property
    def stats(self) -> LoadStats:
        """What this rank got so far."""
        return self._loader.stats

    def __iter__(self) -> Iterator[LoadedSample]:
        return iter(self._loader)

    def close(self) -> None:
        """End the loader's workers."""
        self._loader.close()


def check_training_set(index: Index, split: str, *, labelled: bool) -> None:
    """Refuse what cannot be trained on, from the index alone.

    Args:
        index: The opened set.
        split: A split or a set.
        labelled: Whether the phase reads labels.

    Raises:
        ShardError: No such split, no samples, no labels, or a single class.
    """
    if not sum(shard.samples for shard in index.shards_of(split)):
        _refuse(index, f"{split!r} holds no samples", "choose another split, or build a set with more slides")
    if not labelled:
        return
    if not index.is_labelled(split):
        names = [name for name in index.document.sets if index.is_labelled(name)]
        remedy = f"labelled are: {', '.join(sorted(names)) or 'none'}; only 'kdtrain distill' trains without"
        _refuse(index, f"{split!r} carries no labels, and this phase learns from them", remedy)
    present = [name for name, n in class_counts(index, split).items() if n]
    if len(present) < 2:
        reason = f"{split!r} holds the single class {', '.join(map(repr, present))}: there is nothing to tell apart"
        _refuse(index, reason, "build a set whose training split has two classes or more")


def class_counts(index: Index, split: str) -> dict[str, int]:
    """Samples of every class in a labelled split or set, in the order of the set's classes, zeros included."""
    parts = [index.document.splits[part].per_class for part in index.document.sets[split]]
    return {name: sum((part or {}).get(name, 0) for part in parts) for name in index.document.classes}


def _refuse(index: Index, reason: str, remedy: str) -> None:
    raise ShardError("request", index.directory, reason, remedy=remedy)
