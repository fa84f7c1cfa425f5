"""Which sample is read when, and by whom: the order of an epoch and its groups. Pure; sizes and seeds in.

In: the number of samples of every shard, a seed, an epoch. Out: the order of the epoch's samples, cut into groups
(one optimizer step each), cut into each rank's part, cut into micro-batches. No file is opened here, and nothing
depends on workers, on time or on what was read before, so a run can go on from any (epoch, group).

The order is the same for any number of ranks. Group g is the next accumulate × world_size samples of it, so that
runs with the same product make the same steps out of the same samples.

A loader is given a stream plan: the places of a pass in order, made in every worker at the start of every pass.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate as running_sums
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

_T = TypeVar("_T")

WINDOW_SHARDS = 16
"""Shards mixed with each other at a time: about 4 GB of tars of the default size, which a page cache can hold."""


SMALL_PX = 2**17
"""Pixels of images that go through a network together where nothing was asked for: eight of 128 x 128, or one of 362 x
362, so that they take no more memory than an image which is not small."""
MOST_TOGETHER = 8
"""Beyond which a pass gains little."""

ViewOrder = Literal["cycle", "sample"]


class SampleRef(NamedTuple):
    """A sample by place, and which of its views is wanted.

    Attributes:
        shard: Position of its shard in the split or set, from 0.
        position: Its own in the shard, from 0.
        view: Number of its augmentation draw, from 0; see epoch_views.
    """

    shard: int
    position: int
    view: int = 0


@dataclass(frozen=True, kw_only=True)
class Views:
    """How many augmentation draws a sample has, and which of them an epoch shows.

    Attributes:
        count: Draws of a sample; 0 for a fresh one in every epoch.
        order: "cycle" shows draw number epoch modulo count; "sample" draws one per sample and epoch.
    """

    count: int = 0
    order: ViewOrder = "cycle"


FRESH = Views()
"""A new draw in every epoch."""


@dataclass(frozen=True, kw_only=True)
class GroupPlan:
    """One rank's part of one optimizer step.

    Attributes:
        number: Number of the group in its epoch, from 0; the same on all ranks.
        global_size: Samples of the group over all ranks: what a sample's loss is divided by.
        backwards: Micro-batches of the rank that has the most, so that ranks with fewer can keep step with it.
        micro_batches: This rank's samples, in the order in which they are read; may be empty.
    """

    number: int
    global_size: int
    backwards: int
    micro_batches: tuple[tuple[SampleRef, ...], ...]


def epoch_order(
    n_per_shard: Sequence[int],
    *,
    seed: int,
    epoch: int,
    shuffle: bool = True,
    window_shards: int = WINDOW_SHARDS,
) -> tuple[SampleRef, ...]:
    """Every sample of a split exactly once, in the order of an epoch.

    Shards are shuffled, dealt into windows of nearly equal length, and samples are shuffled within their window.
    A wide window mixes better; a narrow one reads fewer tars at a time, which matters where they lie on a
    network disk and do not fit the page cache. Two samples of different windows are not near each other in this
    epoch, but other windows are drawn in the next. Slides are in seeded order over shards already, so that
    even one shard is a random part of the split.

    Args:
        n_per_shard: Samples of every shard; zeros are fine.
        seed: Seed of the run, 0 or more.
        epoch: From 0.
        shuffle: False gives the stored order, for evaluation.
        window_shards: At most so many shards are mixed with each other.
    """
    assert seed >= 0 and epoch >= 0 and window_shards > 0
    if not shuffle:
        return _refs(range(len(n_per_shard)), n_per_shard)
    random = np.random.Philox(np.random.SeedSequence([seed, epoch]))
    shards = _permutation(random, len(n_per_shard))
    order: list[SampleRef] = []
    for window in np.array_split(shards, max(1, -(-len(shards) // window_shards))):
        refs = _refs(window.tolist(), n_per_shard)
        order.extend(refs[i] for i in _permutation(random, len(refs)).tolist())
    return tuple(order)


def epoch_views(
    n_per_shard: Sequence[int], views: Views, *, seed: int, epoch: int
) -> Callable[[SampleRef], int]:
    """Which view of a sample an epoch shows; view v is the draw that an online run of the same seed makes in epoch v.

    Args:
        n_per_shard: Samples of every shard.
        views: How many there are, and their order.
        seed: Seed of the run, 0 or more.
        epoch: From 0.

    Returns:
        The view of a sample by its place, whatever view its place has.
    """
    if not views.count or views.order == "cycle":
        view = epoch % views.count if views.count else epoch
        return lambda ref: view
    first = [0, *running_sums(n_per_shard)]
    # A stream of its own beside epoch_order's; the raw one, as there.
    random = np.random.Philox(np.random.SeedSequence([seed, epoch, 1]))
    drawn = random.random_raw(first[-1]) % np.uint64(views.count)
    return lambda ref: int(drawn[first[ref.shard] + ref.position])


def _permutation(random: np.random.Philox, n: int) -> NDArray[np.intp]:
    # NumPy promises the raw stream of a bit generator for ever, but not what Generator.permutation makes of it; a
    # run that is resumed after an upgrade would see some samples twice.
    return np.argsort(random.random_raw(n), kind="stable")


def _refs(shards: Sequence[int], n_per_shard: Sequence[int]) -> tuple[SampleRef, ...]:
    return tuple(SampleRef(shard, i) for shard in shards for i in range(n_per_shard[shard]))


def n_groups(n_samples: int, *, accumulate: int, world_size: int) -> int:
    """Optimizer steps of an epoch, an unequal last one included; the same on all ranks."""
    return -(-n_samples // (accumulate * world_size))


def rank_slice(items: Sequence[_T], *, rank: int, world_size: int) -> Sequence[_T]:
    """One rank's contiguous part; parts differ by at most one item, and are empty where there are fewer than ranks."""
    return items[rank * len(items) // world_size : (rank + 1) * len(items) // world_size]


def rank_groups(
    order: Sequence[SampleRef],
    *,
    rank: int,
    world_size: int,
    accumulate: int,
    micro_batch: int = 1,
    size_of: Callable[[SampleRef], Hashable] | None = None,
    most_of: Callable[[SampleRef], int] | None = None,
    start_group: int = 0,
) -> Iterator[GroupPlan]:
    """One rank's part of every group of an epoch, from ``start_group`` on.

    Args:
        order: Order of the epoch, the same on all ranks.
        rank: From 0.
        world_size: Number of ranks.
        accumulate: Samples of a full group on each rank.
        micro_batch: Samples of one forward pass at most; 0 where ``most_of`` says it.
        size_of: A sample's image size; only samples of the same size share a micro-batch. Not needed where
            micro_batch is 1.
        most_of: Samples of one forward pass at most, of a sample's size.
        start_group: Groups that were trained on already.
    """
    assert 0 <= rank < world_size and accumulate > 0
    step = accumulate * world_size
    for number in range(start_group, n_groups(len(order), accumulate=accumulate, world_size=world_size)):
        group = order[number * step : (number + 1) * step]
        parts = [
            micro_batches(rank_slice(group, rank=r, world_size=world_size), micro_batch, size_of, most_of)
            for r in range(world_size)
        ]
        yield GroupPlan(
            number=number,
            global_size=len(group),
            backwards=max(len(part) for part in parts),
            micro_batches=parts[rank],
        )


def micro_batches(
    samples: Sequence[SampleRef],
    micro_batch: int,
    size_of: Callable[[SampleRef], Hashable] | None = None,
    most_of: Callable[[SampleRef], int] | None = None,
) -> tuple[tuple[SampleRef, ...], ...]:
    """A rank's part of a group in batches of up to ``micro_batch`` samples of one size; for 0, up to ``most_of``.

    Batches come in the order of their first samples, so with micro_batch 1 nothing moves. No sample leaves its
    group: the step's gradient is the same sum, in another order.
    """
    assert micro_batch == 1 or size_of is not None
    assert micro_batch or most_of is not None
    if micro_batch == 1 or size_of is None:
        return tuple((sample,) for sample in samples)
    batches: list[list[SampleRef]] = []
    filling: dict[Hashable, list[SampleRef]] = {}
    for sample in samples:
        size = size_of(sample)
        most = micro_batch if most_of is None or micro_batch else most_of(sample)
        if size not in filling or len(filling[size]) >= most:
            filling[size] = []
            batches.append(filling[size])
        filling[size].append(sample)
    return tuple(tuple(batch) for batch in batches)


def small_together(cells: tuple[int, int], *, cell_px: int, may_turn: bool) -> int:
    """How many images of a size go through a network together where ``micro_batch`` is 0.

    As many as are small. An oblong one whose draw may turn it goes alone: before it is read nobody knows which way it
    will lie, and it shall get the draw that it gets by itself.

    Args:
        cells: (columns, rows).
        cell_px: Side of a cell in pixels, at the highest magnification that is read.
        may_turn: Whether a draw that is not known yet may turn it by a quarter.
    """
    columns, rows = cells
    if may_turn and columns != rows:
        return 1
    return max(1, min(MOST_TOGETHER, SMALL_PX // (columns * rows * cell_px**2)))


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Places, with their views, in the order of the epoch and group that ``position`` says; sent to every worker.

    ``position`` is (epoch, start_group) in shared memory: workers live longer than an epoch, and ask it at the
    start of each.

    Attributes:
        cells: (columns, rows) of every sample, by shard.
        turned: By shard and view, "1" for every sample that is turned by a quarter; None where that is not known.
        views: How many draws a sample has, and which of them an epoch shows.
        seed: Seed of the order.
        rank: This process.
        world_size: Number of processes.
        accumulate: Samples of a full group on each rank.
        micro_batch: Samples of one forward pass at most; 0 for as many as ``small_together`` says.
        window_shards: Shards that are mixed with each other.
        position: See above.
        cell_px: Side of a cell in pixels, at the highest magnification that is read.
        may_turn: Whether draws turn images by quarters.
    """

    cells: tuple[tuple[tuple[int, int], ...], ...]
    turned: tuple[tuple[str, ...], ...] | None
    views: Views
    seed: int
    rank: int
    world_size: int
    accumulate: int
    micro_batch: int
    window_shards: int
    position: torch.Tensor
    cell_px: int = 1
    may_turn: bool = True

    def groups(self) -> Iterator[GroupPlan]:
        """This rank's part of every group."""
        epoch, start_group = self.position.tolist()
        n_per_shard = [len(shard) for shard in self.cells]
        order = epoch_order(n_per_shard, seed=self.seed, epoch=epoch, window_shards=self.window_shards)
        view_of = epoch_views(n_per_shard, self.views, seed=self.seed, epoch=epoch)
        return rank_groups(
            [ref._replace(view=view_of(ref)) for ref in order],
            rank=self.rank,
            world_size=self.world_size,
            accumulate=self.accumulate,
            micro_batch=self.micro_batch,
            size_of=self._size_of,
            most_of=self._most_of,
            start_group=start_group,
        )

    def _most_of(self, ref: SampleRef) -> int:
        return small_together(
            self.cells[ref.shard][ref.position],
            cell_px=self.cell_px,
            may_turn=self.may_turn and self.turned is None,
        )

    def _size_of(self, ref: SampleRef) -> tuple[int, int]:
        """(columns, rows) of a sample's images; as they are turned, where that is known before anything is read."""
        columns, rows = self.cells[ref.shard][ref.position]
        turned = self.turned is not None and self.turned[ref.shard][ref.view][ref.position] == "1"
        return (rows, columns) if turned else (columns, rows)

    def __call__(self) -> Iterator[SampleRef]:
        """The places in the order in which they are read."""
        return (ref for group in self.groups() for batch in group.micro_batches for ref in batch)


@dataclass(frozen=True, kw_only=True)
class FixedPlan:
    """The same places in every pass.

    Attributes:
        refs: The places.
    """

    refs: tuple[SampleRef, ...]

    def __call__(self) -> Iterator[SampleRef]:
        """The places."""
        return iter(self.refs)
