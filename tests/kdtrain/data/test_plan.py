"""Every sample once an epoch, in an order that depends on nothing but sizes, seed and epoch."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdtrain.data.plan import (
    GroupPlan,
    SampleRef,
    Views,
    epoch_order,
    epoch_views,
    micro_batches,
    n_groups,
    rank_groups,
    rank_slice,
    small_together,
)

sizes = st.lists(st.integers(0, 6), max_size=9)
seeds = st.integers(0, 2**40)
windows = st.integers(1, 5)
ranks = st.integers(1, 5)
accumulations = st.integers(1, 4)


def _all(n_per_shard: list[int]) -> list[SampleRef]:
    return [SampleRef(shard, i) for shard, n in enumerate(n_per_shard) for i in range(n)]


def _parts(
    order: list[SampleRef], world_size: int, accumulate: int, start_group: int = 0
) -> list[list[GroupPlan]]:
    return [
        list(
            rank_groups(order, rank=r, world_size=world_size, accumulate=accumulate, start_group=start_group)
        )
        for r in range(world_size)
    ]


def _flat(plan: GroupPlan) -> list[SampleRef]:
    return [ref for batch in plan.micro_batches for ref in batch]


@given(sizes, seeds, st.integers(0, 1000), windows)
def test_an_epoch_is_a_permutation(n_per_shard: list[int], seed: int, epoch: int, window: int) -> None:
    """Whatever the sizes, seed, epoch and window, every sample comes exactly once, and the same order again."""
    order = epoch_order(n_per_shard, seed=seed, epoch=epoch, window_shards=window)
    assert sorted(order) == _all(n_per_shard)
    assert order == epoch_order(n_per_shard, seed=seed, epoch=epoch, window_shards=window)


def test_order_is_pinned() -> None:
    """Seed 3, epoch 1 over shards of 2, 0 and 3 samples gives this order, today and after any upgrade."""
    order = epoch_order([2, 0, 3], seed=3, epoch=1)
    assert [(ref.shard, ref.position) for ref in order] == [(2, 0), (2, 1), (0, 0), (2, 2), (0, 1)]


def test_stored_order_without_shuffling() -> None:
    """For evaluation the shards come one after the other, whatever the seed."""
    order = epoch_order([2, 0, 1], seed=9, epoch=9, shuffle=False)
    assert list(order) == [SampleRef(0, 0), SampleRef(0, 1), SampleRef(2, 0)]


def test_seed_and_epoch_change_the_order() -> None:
    """Ten epochs of two seeds are twenty different orders of 100 samples."""
    orders = {epoch_order([50, 50], seed=seed, epoch=epoch) for seed in (0, 1) for epoch in range(10)}
    assert len(orders) == 20


def test_all_orders_come_up_equally_often() -> None:
    """Over 600 epochs of three samples in two shards, each of the six orders comes 100 times, within 5 sigma."""
    counts = Counter(epoch_order([2, 1], seed=0, epoch=epoch) for epoch in range(600))
    assert len(counts) == 6
    assert all(abs(n - 100) < 46 for n in counts.values())


@given(st.lists(st.integers(1, 6), min_size=1, max_size=9), seeds, windows)
def test_reads_stay_within_a_window(n_per_shard: list[int], seed: int, window: int) -> None:
    """A shard is read to its end within one window: no more than ``window`` shards are begun and not finished."""
    order = epoch_order(n_per_shard, seed=seed, epoch=0, window_shards=window)
    left = dict(enumerate(n_per_shard))
    begun: set[int] = set()
    for ref in order:
        begun.add(ref.shard)
        left[ref.shard] -= 1
        assert sum(left[shard] > 0 for shard in begun) <= window


def test_windows_are_nearly_equal() -> None:
    """Five shards in windows of at most four are read as three and two, so that none is left to itself."""
    order = epoch_order([20] * 5, seed=0, epoch=0, window_shards=4)
    assert {ref.shard for ref in order[:60]} | {ref.shard for ref in order[60:]} == set(range(5))
    assert len({ref.shard for ref in order[:60]}) == 3
    assert len({ref.shard for ref in order[60:]}) == 2


@given(sizes, seeds, ranks, accumulations)
def test_every_sample_is_on_one_rank_once(
    n_per_shard: list[int], seed: int, world_size: int, accumulate: int
) -> None:
    """Over all ranks every sample comes once, all ranks have the same groups, and a group is a slice of the order."""
    order = list(epoch_order(n_per_shard, seed=seed, epoch=0))
    parts = _parts(order, world_size, accumulate)
    steps = n_groups(len(order), accumulate=accumulate, world_size=world_size)
    assert [len(part) for part in parts] == [steps] * world_size
    together = [[ref for plan in group for ref in _flat(plan)] for group in zip(*parts, strict=True)]
    assert [ref for group in together for ref in group] == order
    for number, group in enumerate(zip(*parts, strict=True)):
        assert {(plan.number, plan.global_size) for plan in group} == {(number, len(together[number]))}
        assert {plan.backwards for plan in group} == {max(len(plan.micro_batches) for plan in group)}


@given(sizes, seeds, ranks, accumulations, st.data())
def test_resuming_gives_the_tail(
    n_per_shard: list[int], seed: int, world_size: int, accumulate: int, data: st.DataObject
) -> None:
    """From any group on, the groups are those that an unbroken epoch would have had."""
    order = list(epoch_order(n_per_shard, seed=seed, epoch=2))
    steps = n_groups(len(order), accumulate=accumulate, world_size=world_size)
    start = data.draw(st.integers(0, steps))
    whole = _parts(order, world_size, accumulate)
    assert _parts(order, world_size, accumulate, start) == [part[start:] for part in whole]


@given(sizes, st.sampled_from([(1, 4), (2, 2), (4, 1)]))
def test_groups_depend_on_the_product_alone(n_per_shard: list[int], split: tuple[int, int]) -> None:
    """Four samples a step are the same four as 1 rank × 4, 2 × 2 and 4 × 1."""
    order = list(epoch_order(n_per_shard, seed=0, epoch=0))
    world_size, accumulate = split
    parts = _parts(order, world_size, accumulate)
    groups = [[ref for plan in group for ref in _flat(plan)] for group in zip(*parts, strict=True)]
    assert groups == [order[i : i + 4] for i in range(0, len(order), 4)]


def test_unequal_last_group() -> None:
    """11 samples in groups of 2 ranks × 2: two full ones, then three, of which rank 0 gets one and rank 1 two."""
    parts = _parts(_all([11]), world_size=2, accumulate=2)
    assert [[len(_flat(plan)) for plan in part] for part in parts] == [[2, 2, 1], [2, 2, 2]]
    assert [plan.global_size for plan in parts[0]] == [4, 4, 3]
    assert [plan.backwards for plan in parts[0]] == [2, 2, 2]


def test_ranks_may_have_none() -> None:
    """One sample over three ranks: two have an empty group, and know that the third runs one backward."""
    parts = _parts(_all([1]), world_size=3, accumulate=2)
    assert sorted(len(plan.micro_batches) for (plan,) in parts) == [0, 0, 1]
    assert [(plan.global_size, plan.backwards) for (plan,) in parts] == [(1, 1)] * 3


def test_more_batches_elsewhere_are_counted() -> None:
    """Where one rank's four samples are of one size and another's of four, both count four micro-batches."""
    order = _all([8])
    plans = [
        next(
            rank_groups(
                order,
                rank=r,
                world_size=2,
                accumulate=4,
                micro_batch=4,
                size_of=lambda ref: max(0, ref.position - 3),
            )
        )
        for r in range(2)
    ]
    assert [len(plan.micro_batches) for plan in plans] == [1, 4]
    assert [plan.backwards for plan in plans] == [4, 4]


@given(st.lists(st.integers(0, 2), max_size=12), st.integers(1, 4))
def test_micro_batches_only_regroup(sample_sizes: list[int], micro_batch: int) -> None:
    """Batches hold the same samples, each of one size and no longer than allowed, as few as that permits."""
    refs = _all([len(sample_sizes)])
    batches = micro_batches(refs, micro_batch, lambda ref: sample_sizes[ref.position])
    assert sorted(ref for batch in batches for ref in batch) == refs
    assert all(len({sample_sizes[ref.position] for ref in batch}) == 1 for batch in batches)
    assert all(len(batch) <= micro_batch for batch in batches)
    assert len(batches) == sum(-(-n // micro_batch) for n in Counter(sample_sizes).values())


@pytest.mark.parametrize(
    ("cells", "cell_px", "may_turn", "together"),
    [
        ((64, 64), 1, True, 8),
        ((128, 128), 1, True, 8),
        ((32, 32), 4, True, 8),
        ((200, 200), 1, True, 3),
        ((256, 256), 1, True, 2),
        ((257, 257), 1, True, 1),
        ((64, 64), 8, True, 1),
        ((4_000, 4_000), 4, True, 1),
        ((96, 64), 1, True, 1),
        ((96, 64), 1, False, 8),
        ((512, 128), 1, False, 2),
    ],
)
def test_small_images_go_together(
    cells: tuple[int, int], cell_px: int, may_turn: bool, together: int
) -> None:
    """Eight at most and 131,072 pixels, a large image alone, and an oblong one that a draw may turn alone too."""
    assert small_together(cells, cell_px=cell_px, may_turn=may_turn) == together


def test_single_samples_keep_their_order() -> None:
    """With one sample a batch, no size is asked for and nothing moves."""
    refs = _all([4])[::-1]
    assert micro_batches(refs, 1) == tuple((ref,) for ref in refs)


@given(st.integers(0, 20), ranks)
def test_rank_slices_are_even(n: int, world_size: int) -> None:
    """Slices follow each other without gap or overlap, and none is longer than another by more than one."""
    parts = [rank_slice(range(n), rank=rank, world_size=world_size) for rank in range(world_size)]
    assert [i for part in parts for i in part] == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(("count", "wanted"), [(0, [0, 1, 2, 3, 4]), (1, [0] * 5), (3, [0, 1, 2, 0, 1])])
def test_views_cycle_through_the_epochs(count: int, wanted: list[int]) -> None:
    """Fresh draws have the epoch's number, one view is always the first, three come in turn; for every sample."""
    for epoch, view in enumerate(wanted):
        view_of = epoch_views([2, 0, 3], Views(count=count), seed=1, epoch=epoch)
        assert {view_of(ref) for ref in epoch_order([2, 0, 3], seed=1, epoch=epoch)} == {view}


def test_views_drawn_for_each_sample_depend_on_seed_epoch_and_place() -> None:
    """All of four views come up about as often; the same seed and epoch give the same, another of either others."""
    views = Views(count=4, order="sample")
    refs = epoch_order([400, 0, 600], seed=0, epoch=0, shuffle=False)

    def drawn(seed: int, epoch: int) -> list[int]:
        view_of = epoch_views([400, 0, 600], views, seed=seed, epoch=epoch)
        return [view_of(ref) for ref in refs]

    counts = [drawn(3, 5).count(view) for view in range(4)]
    assert sum(counts) == 1000 and all(200 < n < 300 for n in counts)
    assert drawn(3, 5) == drawn(3, 5)
    assert drawn(3, 5) != drawn(3, 6) and drawn(3, 5) != drawn(4, 5)
