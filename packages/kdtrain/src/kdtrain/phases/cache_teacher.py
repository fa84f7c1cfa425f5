"""A teacher and a shard set in, a teacher cache out (shards/TEACHER_CACHE.md): what distillation needs of the teacher.

The unit of work is one shard: its tar is written whole or not at all, so whatever moment the command is killed at, the
same command goes on and ends with the same bytes. Several processes share the shards out among them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed

from kdtrain.config.phases import CacheTeacherConfig
from kdtrain.data.folds.opening import check_source
from kdtrain.data.loader import LoadStats
from kdtrain.data.sets import check_phase, validation_split
from kdtrain.data.teacher_cache.document import (
    AugmentationEntry,
    CacheSettings,
    RunSettings,
    ShardEntry,
    StudentEntry,
    TeacherEntry,
    shard_name,
)
from kdtrain.phases.cache_folder import CacheFolder
from kdtrain.phases.cache_writer import ShardWriter, Teaches, deal
from kdtrain.phases.networks import cache_stride, check_pair, stride_note
from kdtrain.phases.teacher_views import ViewMaker
from kdtrain.phases.teaching import teacher_record
from kdtrain.shards.index import Index, read_index, union_of
from kdtrain.shards.models import magnification_name
from kdtrain.training.engine.launch import Launch, join, launch_from, on_first_rank, pick_device
from kdtrain.training.monitor import Monitor
from kdtrain.training.trained import Trained, load_trained


@dataclass(frozen=True, kw_only=True)
class CacheSummary:
    """How a cache ended.

    Attributes:
        folder: The cache.
        shards: Tars in it.
        written: Tars that this command wrote, over all processes.
        samples: In all tars.
        views: In all tars.
        bytes: Bytes of all tars.
        source_bytes: Bytes of the teacher's tars that they stand for; 0 where it looks at none.
        seconds: Seconds of this process.
        stats: What this process read.
    """

    folder: Path
    shards: int
    written: int
    samples: int
    views: int
    bytes: int
    source_bytes: int
    seconds: float
    stats: LoadStats


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where and when this process began.

    Attributes:
        launch: Its place among the ranks.
        device: Where to compute.
        began: ``time.monotonic()``.
    """

    launch: Launch
    device: torch.device
    began: float

    @classmethod
    def of(cls, config: CacheTeacherConfig) -> Start:
        """Of this process, now."""
        launch = launch_from(os.environ)
        return cls(launch=launch, device=pick_device(config.device, launch), began=time.monotonic())


def cache_teacher(config: CacheTeacherConfig, monitor: Monitor) -> CacheSummary:
    """Write the cache of a run, or what is missing of it."""
    assert config.teacher is not None, "another teacher has a source, and kdtrain.phases.cache_source"
    start = Start.of(config)
    index = read_index(config.shards, config.cache)
    teacher = load_trained(config.teacher, what="--teacher")
    check_source(config, teacher.run, what=f"--teacher {config.teacher}")
    check_phase(config, index, (teacher.network.magnification, config.magnification), labelled=False)
    check_pair(config, index, teacher.network)
    settings = settings_of(config, index, teacher, begun_stride=CacheFolder(config.out).begun_stride)

    def maker() -> ViewMaker:
        return ViewMaker(
            teacher,
            precision=config.precision,
            device=start.device,
            output_stride=settings.student.output_stride,
            micro_batch=config.micro_batch,
        )

    return write_cache(config, index, settings, maker, (teacher.network.magnification,), monitor, start)


def write_cache(
    config: CacheTeacherConfig,
    index: Index,
    settings: CacheSettings,
    teacher_of: Callable[[], Teaches],
    read: tuple[float, ...],
    monitor: Monitor,
    start: Start,
) -> CacheSummary:
    """Write a cache of any teacher, or what is missing of it.

    Args:
        config: Settings of the command.
        index: The shard set, which holds what is asked for.
        settings: Of the cache.
        teacher_of: The teacher, made once the folder is known to take it.
        read: Magnifications of the set that it looks at.
        monitor: Shows how far it is.
        start: Of this process.
    """
    launch, magnifications = start.launch, (*read, config.magnification)
    wanted = wanted_splits(config, index)
    folder = CacheFolder(config.out)
    if note := stride_note(config, index, settings.student.output_stride):
        monitor.say(note)
    folder.check_free()
    if launch.world_size > 1:
        join(launch, start.device)
    with folder.sole_writer() if launch.rank == 0 else nullcontext():

        def prepare() -> list[str]:
            folder.begin(settings)
            return [shard_name(s.split, s.number) for s in folder.todo(index, wanted, magnifications)]

        todo = on_first_rank(prepare, rank=launch.rank, world_size=launch.world_size)
        own = deal(index, todo, magnifications[0], launch.world_size)[launch.rank]
        writer = ShardWriter(
            folder, index, settings, teacher_of(), config.magnification, stain=settings.stain
        )
        stats = _write(writer, own, wanted, config, index, monitor, start.device)
        entries = _finish(folder, settings, index, magnifications, launch)
    return CacheSummary(
        folder=config.out,
        shards=len(entries),
        written=len(todo),
        samples=sum(entry.samples for entry in entries),
        views=sum(entry.samples * len(entry.turned) for entry in entries),
        bytes=sum(entry.bytes for entry in entries),
        source_bytes=sum(_source_bytes(index, entries, magnification) for magnification in read),
        seconds=time.monotonic() - start.began,
        stats=stats,
    )


def wanted_splits(config: CacheTeacherConfig, index: Index) -> dict[str, bool]:
    """Stored splits to cache, and whether each is augmented: what is trained on is, what is validated on is not."""
    joined, train_on = union_of(index, config.train_on)
    validate_on = validation_split(config, index, labelled=False)
    plain = () if validate_on is None else index.document.sets[validate_on]
    return dict.fromkeys(joined.document.sets[train_on], config.augment) | dict.fromkeys(plain, False)


def settings_of(
    config: CacheTeacherConfig, index: Index, teacher: Trained, *, begun_stride: int | None = None
) -> RunSettings:
    """What decides the bytes of a run's cache, beside the samples.

    Args:
        config: Settings of the command.
        index: The shard set.
        teacher: The teacher.
        begun_stride: Output stride that the folder's cache was begun for; None where none was begun.
    """
    record, augmentation = teacher_record(teacher), config.augmentation
    return RunSettings(
        teacher=TeacherEntry(
            weights_sha256=record["weights_sha256"],
            network=record["network"],
            train_on=tuple(record["train_on"]),
        ),
        student=StudentEntry(
            magnification=config.magnification,
            output_stride=cache_stride(config, index, begun_stride),
        ),
        classes=teacher.network.classes,
        channels=teacher.network.spec.feature_channels,
        augmentation=None if augmentation is None else AugmentationEntry(**asdict(augmentation)),
        seed=config.seed,
        views=config.views,
        precision=config.precision,
    )


def _write(
    writer: ShardWriter,
    names: Sequence[str],
    wanted: dict[str, bool],
    config: CacheTeacherConfig,
    index: Index,
    monitor: Monitor,
    device: torch.device,
) -> LoadStats:
    samples = sum(s.samples for s in index.document.shards if shard_name(s.split, s.number) in names)
    with monitor.samples("teaching", samples) as bar:
        return writer.write(
            names,
            wanted,
            workers=config.workers,
            pin_memory=device.type == "cuda",
            on_sample=bar.step,
        )


def _finish(
    folder: CacheFolder,
    settings: CacheSettings,
    index: Index,
    magnifications: tuple[float, ...],
    launch: Launch,
) -> list[ShardEntry]:
    """cache.json, once all ranks have written their tars."""
    if launch.world_size > 1:
        torch.distributed.barrier()
    return on_first_rank(
        lambda: folder.finish(settings, index, magnifications),
        rank=launch.rank,
        world_size=launch.world_size,
    )


def _source_bytes(index: Index, entries: Sequence[ShardEntry], magnification: float) -> int:
    cached = {shard_name(entry.split, entry.number) for entry in entries}
    name = magnification_name(magnification)
    return sum(s.files[name].bytes for s in index.document.shards if shard_name(s.split, s.number) in cached)
