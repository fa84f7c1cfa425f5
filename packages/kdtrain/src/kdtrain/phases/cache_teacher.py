"""A teacher and a shard set in, a teacher cache out (shards/TEACHER_CACHE.md): what distillation needs of the teacher.

The unit of work is one shard: its tar is written whole or not at all, so whatever moment the command is killed at, the
same command goes on and ends with the same bytes. Several processes share the shards out among them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
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
    ShardEntry,
    StudentEntry,
    TeacherEntry,
    shard_name,
)
from kdtrain.phases.cache_folder import CacheFolder
from kdtrain.phases.cache_writer import ShardWriter, deal
from kdtrain.phases.networks import check_pair, settled_stride
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
        source_bytes: Bytes of the teacher's tars that they stand for.
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


def cache_teacher(config: CacheTeacherConfig, monitor: Monitor) -> CacheSummary:
    """Write a cache, or what is missing of it."""
    began = time.monotonic()
    launch = launch_from(os.environ)
    device = pick_device(config.device, launch)
    index = read_index(config.shards, config.cache)
    teacher = load_trained(config.teacher, what="--teacher")
    check_source(config, teacher.run, what=f"--teacher {config.teacher}")
    magnifications = (teacher.network.magnification, config.magnification)
    check_phase(config, index, magnifications, labelled=False)
    check_pair(config, index, teacher.network)
    wanted = wanted_splits(config, index)
    settings = settings_of(config, index, teacher)
    folder = CacheFolder(config.out)
    folder.check_free()
    if launch.world_size > 1:
        join(launch, device)
    with folder.sole_writer() if launch.rank == 0 else nullcontext():

        def prepare() -> list[str]:
            folder.begin(settings)
            return [shard_name(s.split, s.number) for s in folder.todo(index, wanted, magnifications)]

        todo = on_first_rank(prepare, rank=launch.rank, world_size=launch.world_size)
        own = deal(index, todo, magnifications[0], launch.world_size)[launch.rank]
        maker = ViewMaker(
            teacher,
            precision=config.precision,
            device=device,
            output_stride=settings.student.output_stride,
            micro_batch=config.micro_batch,
        )
        writer = ShardWriter(folder, index, settings, maker, magnifications)
        stats = _write(writer, own, wanted, config, index, monitor, device)
        entries = _finish(folder, settings, index, magnifications, launch)
    return CacheSummary(
        folder=config.out,
        shards=len(entries),
        written=len(todo),
        samples=sum(entry.samples for entry in entries),
        views=sum(entry.samples * len(entry.turned) for entry in entries),
        bytes=sum(entry.bytes for entry in entries),
        source_bytes=_source_bytes(index, entries, magnifications[0]),
        seconds=time.monotonic() - began,
        stats=stats,
    )


def wanted_splits(config: CacheTeacherConfig, index: Index) -> dict[str, bool]:
    """Stored splits to cache, and whether each is augmented: what is trained on is, what is validated on is not."""
    joined, train_on = union_of(index, config.train_on)
    validate_on = validation_split(config, index, labelled=False)
    plain = () if validate_on is None else index.document.sets[validate_on]
    return dict.fromkeys(joined.document.sets[train_on], config.augment) | dict.fromkeys(plain, False)


def settings_of(config: CacheTeacherConfig, index: Index, teacher: Trained) -> CacheSettings:
    """What decides the bytes of a cache, beside the samples."""
    record, augmentation = teacher_record(teacher), config.augmentation
    return CacheSettings(
        teacher=TeacherEntry(
            weights_sha256=record["weights_sha256"],
            network=record["network"],
            train_on=tuple(record["train_on"]),
        ),
        student=StudentEntry(
            magnification=config.magnification,
            output_stride=settled_stride(config, index) or teacher.network.output_stride,
        ),
        classes=teacher.network.classes,
        channels=teacher.model.fc.in_features,
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
    magnifications: tuple[float, float],
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
