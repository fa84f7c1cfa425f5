"""What a loader is told to read: the places of a pass in order, made in every worker at the start of every pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from kdtrain.epoch_plan import GroupPlan, SampleRef, Views, epoch_order, epoch_views, rank_groups


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Places, with their views, in the order of the epoch and group that ``position`` says; sent to every worker.

    ``position`` is (epoch, start_group) in shared memory: workers live longer than an epoch, and ask it at the
    start of each.

    Attributes:
        cells: (columns, rows) of every sample, by shard.
        turned: By shard and view, "1" for every sample that is turned by a quarter; None where that is not known.
        views: How many draws a sample has, and which of them an epoch shows.
        seed: Of the order.
        rank: This process.
        world_size: Number of processes.
        accumulate: Samples of a full group on each rank.
        micro_batch: Samples of one forward pass at most.
        window_shards: Shards that are mixed with each other.
        position: See above.
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
            start_group=start_group,
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
