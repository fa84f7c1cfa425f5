"""Streams over shard sets: every sample once an epoch, on any ranks and workers, from any group on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.shard_sets import write_set
from kdtrain.data import loader
from kdtrain.data.loader import Loader, LoadStats
from kdtrain.data.plan import SampleRef
from kdtrain.data.samples import LoadedSample, SampleReader
from kdtrain.data.stream import EvaluationStream, SampleStream, class_counts
from kdtrain.errors import TrainingError
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import Index, read_index

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

SHARDS = {"train": [5, 0, 2, 4], "val": [3], "one": [2], "none": [0], "aux1": [2, 1], "added": [2]}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Eleven training samples in three shards and an empty one, and a union of two unlabelled splits."""
    folder = tmp_path_factory.mktemp("sets") / "set"
    return read_index(
        write_set(folder, SHARDS, unlabelled=["aux1", "added"], sets={"aux2": ["aux1", "added"]})
    )


@pytest.fixture
def streams() -> Iterator[list[Any]]:
    """Streams that are closed after the test."""
    opened: list[Any] = []
    yield opened
    for stream in opened:
        stream.close()


def _keys(stream: SampleStream, epoch: int, start_group: int = 0) -> list[list[str]]:
    return [[s.key for s in group.samples()] for group in stream.epoch(epoch, start_group=start_group)]


def _all_keys(index: Index, split: str) -> list[str]:
    return [sample.key for sample in EvaluationStream(index, split, [2.5])]


def test_two_ranks_with_more_workers_than_shards(index: Index, streams: list[Any]) -> None:
    """Two ranks with five workers each over three shards and eleven samples: each sample once, in every epoch."""
    streams.extend(
        SampleStream(index, "train", [2.5], rank=rank, world_size=2, accumulate=2, workers=5)
        for rank in (0, 1)
    )
    orders = []
    for epoch in range(3):
        parts = [_keys(stream, epoch) for stream in streams]
        assert [[len(group) for group in part] for part in parts] == [[2, 2, 1], [2, 2, 2]]
        orders.append([key for part in parts for group in part for key in group])
        assert sorted(orders[-1]) == sorted(_all_keys(index, "train"))
    assert orders[0] != orders[1] != orders[2]


def test_workers_change_nothing(index: Index, streams: list[Any]) -> None:
    """With no worker, one, and four, in micro-batches of two, the batches are the same in the same order."""
    streams.extend(
        SampleStream(index, "train", [2.5], accumulate=4, micro_batch=2, workers=workers, prefetch=1)
        for workers in (0, 1, 4)
    )
    seen = [
        [[tuple(s.key for s in batch) for batch in group] for group in stream.epoch(1)] for stream in streams
    ]
    assert seen[0] == seen[1] == seen[2]
    assert sorted(len(batch) for group in seen[0] for batch in group) != [1] * 11


@pytest.mark.parametrize(("may_turn", "most"), [(True, [1, 1, 3]), (False, [1, 2, 3])])
def test_small_images_go_together_where_nothing_is_asked(
    tmp_path: Path, may_turn: bool, most: list[int]
) -> None:
    """Of 3 squares of 64 px, 2 oblongs and one of 1,200 px, squares share a pass, and oblongs if no draw turns them."""
    cells = [(64, 64), (64, 64), (96, 64), (64, 64), (96, 64), (1_200, 1_200)]
    index = read_index(write_set(tmp_path / "set", {"train": [6]}, cells=cells, magnifications=[2.5]))
    stream = SampleStream(index, "train", [2.5], accumulate=6, micro_batch=0, may_turn=may_turn)
    seen = {batch[0].sizes[2.5]: len(batch) for group in stream.epoch(0) for batch in group}
    assert sorted(seen.values()) == most
    assert seen[64, 64] == 3


def test_micro_batches_are_of_one_size_and_stay_in_their_group(index: Index) -> None:
    """Groups hold the same samples with and without micro-batches of three, whose images can be stacked."""
    single = SampleStream(index, "train", [10, 2.5], accumulate=5)
    batched = SampleStream(index, "train", [10, 2.5], accumulate=5, micro_batch=3)
    for alone, group in zip(_keys(single, 0), batched.epoch(0), strict=True):
        batches = list(group)
        assert group.backwards == group.n_micro_batches == len(batches)
        assert len(batches) < len(alone) or len(alone) == 1
        assert sorted(s.key for batch in batches for s in batch) == sorted(alone)
        for batch in batches:
            assert torch.stack([s.images[10] for s in batch]).shape[0] == len(batch) <= 3


@pytest.mark.parametrize("start_group", [0, 1, 3, 4, 6])
def test_resuming_gives_the_tail(index: Index, start_group: int) -> None:
    """A new stream that starts at a group gives what was left of the epoch's six, to the pixel."""
    whole = [group.samples() for group in SampleStream(index, "train", [2.5], accumulate=2).epoch(7)]
    stream = SampleStream(index, "train", [2.5], accumulate=2)
    tail = [group.samples() for group in stream.epoch(7, start_group=start_group)]
    assert [[s.key for s in group] for group in tail] == [
        [s.key for s in group] for group in whole[start_group:]
    ]
    for got, wanted in zip(tail, whole[start_group:], strict=True):
        assert all(a.images[2.5].equal(b.images[2.5]) for a, b in zip(got, wanted, strict=True))


def test_an_epoch_left_early_does_not_leak(index: Index, streams: list[Any]) -> None:
    """After two groups the workers have read ahead; another epoch, begun then, is whole and from its start."""
    stream = SampleStream(index, "train", [2.5], accumulate=2, workers=3)
    streams.append(stream)
    groups = stream.epoch(0)
    for _ in range(2):
        next(groups).samples()
    assert _keys(stream, 1) == _keys(SampleStream(index, "train", [2.5], accumulate=2), 1)


def test_ranks_without_samples(index: Index) -> None:
    """Three samples over four ranks: one group on each, of global size three, empty on one rank."""
    parts = [
        [(group.global_size, group.backwards, len(group.samples())) for group in stream.epoch(0)]
        for rank in range(4)
        for stream in [SampleStream(index, "val", [2.5], rank=rank, world_size=4, accumulate=2)]
    ]
    assert sorted(parts) == [[(3, 1, 0)], [(3, 1, 1)], [(3, 1, 1)], [(3, 1, 1)]]


def test_sizes_of_an_epoch_are_known_before(index: Index) -> None:
    """Eleven samples in groups of two ranks × two are three steps, on the rank that asks as on the other."""
    stream = SampleStream(index, "train", [2.5], world_size=2, accumulate=2)
    assert (stream.n_samples, stream.n_groups) == (11, 3)


def test_magnifications_come_in_pairs(index: Index) -> None:
    """Distillation gets both magnifications of a sample, 4 : 1 in size, from a union of splits, without labels."""
    stream = SampleStream(index, "aux2", [10, 2.5])
    samples = next(stream.epoch(0)).samples()
    assert sorted(s.key for s in samples) == sorted(_all_keys(index, "aux2"))
    for sample in samples:
        assert sample.sizes[10] == tuple(4 * side for side in sample.sizes[2.5])
        assert sample.label is None


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_sample_is_named(tmp_path: Path, streams: list[Any], workers: int) -> None:
    """A truncated image stops the stream with its rule and key, after the samples before it, in or out of workers."""
    damage = {"edit_members": lambda path, members: [_cut(member) for member in members]}
    index = read_index(write_set(tmp_path / "set", {"val": [4]}, **damage))
    stream = EvaluationStream(index, "val", [2.5], workers=workers)
    streams.append(stream)
    seen: list[str] = []
    with pytest.raises(ShardError, match=r"'val-2-.*cannot be decoded") as caught:
        seen.extend(sample.slide for sample in stream)
    assert seen == ["val-0.svs", "val-1.svs"]
    assert caught.value.rule == "F22 image-data"
    assert "Traceback" not in str(caught.value)


def _cut(member: Any) -> Any:
    damaged = member.name.startswith("val-2") and member.name.endswith(".jpg")
    return type(member)(name=member.name, data=member.data[:-80]) if damaged else member


class _Killed(SampleReader):
    def load(self, ref: SampleRef) -> LoadedSample:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_killed_worker_is_said_plainly(index: Index) -> None:
    """A worker that the system kills ends the pass with what to change, and does not hang it."""
    samples = Loader(lambda: iter([SampleRef(0, 0)]), _Killed(index, "train", [2.5]), workers=1)
    with pytest.raises(
        TrainingError, match=r"a loader worker was killed.*use fewer workers or a smaller prefetch"
    ):
        next(iter(samples))


def test_pipeline_travels_to_any_worker(index: Index) -> None:
    """The pipeline, sent as the spawn and forkserver start methods send it, reads the same samples."""
    stream = SampleStream(index, "train", [2.5], accumulate=11)
    wanted = _keys(stream, 0)[0]
    pipeline = ForkingPickler.loads(ForkingPickler.dumps(stream._loader._pipeline))
    assert [sample.key for sample in pipeline] == wanted


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_evaluation_counts_every_sample_once(index: Index, world_size: int) -> None:
    """The ranks' samples one after the other are the three stored ones in order: none is repeated or left out."""
    parts = [
        [s.slide for s in EvaluationStream(index, "val", [2.5], rank=rank, world_size=world_size)]
        for rank in range(world_size)
    ]
    assert [slide for part in parts for slide in part] == ["val-0.svs", "val-1.svs", "val-2.svs"]


def test_evaluation_can_be_repeated(index: Index, streams: list[Any]) -> None:
    """A validation stream with two workers gives the same samples after every epoch, and after it was closed."""
    stream = EvaluationStream(index, "val", [2.5], workers=2)
    streams.append(stream)
    passes = [[s.slide for s in stream] for _ in range(2)]
    stream.close()
    passes.append([s.slide for s in stream])
    assert passes == [["val-0.svs", "val-1.svs", "val-2.svs"]] * 3
    assert stream.n_samples == 3


def _one_class_set(folder: Path) -> Index:
    return read_index(write_set(folder, {"train": [2]}, classes=["stroma"]))


def test_unlabelled_split_is_refused_in_a_labelled_phase(index: Index) -> None:
    """Training on labels of aux2 fails before anything is read and names the labelled splits."""
    with pytest.raises(
        ShardError, match=r"'aux2' carries no labels.*labelled are: none, one, train, val; only"
    ):
        SampleStream(index, "aux2", [2.5], labelled=True)


def test_single_class_is_refused_in_a_labelled_phase(tmp_path: Path) -> None:
    """A training split of nothing but stroma cannot be learned from; distillation, without labels, may take it."""
    index = _one_class_set(tmp_path / "set")
    with pytest.raises(ShardError, match="'train' holds the single class 'stroma'"):
        SampleStream(index, "train", [2.5], labelled=True)
    assert SampleStream(index, "train", [2.5]).n_samples == 2


def test_split_without_samples_is_refused(index: Index) -> None:
    """A split whose slides all failed says that it is empty."""
    with pytest.raises(ShardError, match="'none' holds no samples"):
        SampleStream(index, "none", [2.5])


@pytest.mark.parametrize(
    ("split", "magnifications", "message"),
    [("aux3", [10], "no split or set 'aux3'"), ("train", [10, 1.25], r"no 1\.25x here; there is 10x, 2\.5x")],
)
def test_absent_split_or_magnification(
    index: Index, split: str, magnifications: Sequence[float], message: str
) -> None:
    """What the set does not hold is refused when the stream is made, naming what there is."""
    for stream in (SampleStream, EvaluationStream):
        with pytest.raises(ShardError, match=message):
            stream(index, split, magnifications)


def test_class_counts(index: Index) -> None:
    """Labels are given in turn, so eleven training samples are six glands and five stromata."""
    assert class_counts(index, "train") == {"gland": 6, "stroma": 5}


class _Clock:
    now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_waiting_is_told_from_working(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three samples at 2 s of reading and 3 s of work between them: 6 s of 12 s are waiting."""
    clock = _Clock()
    monkeypatch.setattr(loader, "time", clock)
    load = SampleReader.load

    def slow_load(self: SampleReader, ref: SampleRef) -> LoadedSample:
        clock.now += 2
        return load(self, ref)

    monkeypatch.setattr(SampleReader, "load", slow_load)
    stream = EvaluationStream(index, "val", [2.5])
    for _ in stream:
        clock.now += 3
    stats = stream.stats
    pixels = 32 * 32 + 40 * 32 + 32 * 48
    assert stats == LoadStats(samples=3, pixels=pixels, wait_s=6, elapsed_s=12)
    assert (stats.wait_share, stats.samples_per_s, stats.megapixels_per_s) == (0.5, 0.25, pixels / 12e6)
    for _ in stream:
        clock.now += 3
    assert stream.stats - stats == stats


def test_nothing_delivered_yet(index: Index) -> None:
    """Before the first sample all rates are zero."""
    stats = SampleStream(index, "train", [2.5]).stats
    assert (stats.samples, stats.wait_share, stats.samples_per_s, stats.megapixels_per_s) == (0, 0, 0, 0)
