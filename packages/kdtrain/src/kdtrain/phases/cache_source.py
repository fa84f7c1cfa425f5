"""A teacher that is no run of kdtrain (:mod:`kdtrain.sources`) and a shard set in, a teacher cache of version 2 out."""

from __future__ import annotations

from dataclasses import asdict

from kdtrain.config.phases import CacheTeacherConfig
from kdtrain.data.sets import check_phase
from kdtrain.data.teacher_cache.document import AugmentationEntry, SourceSettings, StudentEntry
from kdtrain.errors import UsageError
from kdtrain.phases.cache_folder import CacheFolder
from kdtrain.phases.cache_teacher import CacheSummary, Start, write_cache
from kdtrain.phases.networks import cache_stride
from kdtrain.shards.index import Index
from kdtrain.sources.source import Source
from kdtrain.training.monitor import Monitor


def cache_source(
    config: CacheTeacherConfig, index: Index, source: Source, monitor: Monitor, start: Start
) -> CacheSummary:
    """Write the cache of a source, or what is missing of it.

    Args:
        config: Settings of the command.
        index: The shard set.
        source: The teacher, at work on ``start.device``.
        monitor: Shows how far it is.
        start: Of this process; made first, since it says where the source is to compute.

    Raises:
        UsageError: Source, student and set do not belong together.
        ShardError: The set lacks what is asked for, or a sample is damaged.
        TrainingError: The source fails for a sample, or its values cannot be kept.
    """
    check_phase(config, index, (*source.magnifications, config.magnification), labelled=False)
    check_source(config, index, source)
    settings = source_settings(config, index, source, begun_stride=CacheFolder(config.out).begun_stride)
    return write_cache(config, index, settings, lambda: source, source.magnifications, monitor, start)


def check_source(config: CacheTeacherConfig, index: Index, source: Source) -> None:
    """Refuse a student that a source cannot teach on this set.

    Raises:
        UsageError: The student would look closer than its teacher, or the logits are of other classes.
    """
    entry, classes = source.entry, tuple(index.document.classes)
    if entry.magnification is not None and config.magnification > entry.magnification:
        raise UsageError(
            f"--magnification {config.magnification:g} is above the {entry.magnification:g}x that {entry.name} looks "
            "at; a student learns from a teacher that sees as much or more"
        )
    if classes and source.classes and classes != source.classes:
        raise UsageError(
            f"{entry.name} has the classes {', '.join(source.classes)}, --shards {config.shards} has "
            f"{', '.join(classes)}; build the set with --classes {','.join(source.classes)}"
        )


def source_settings(
    config: CacheTeacherConfig, index: Index, source: Source, *, begun_stride: int | None = None
) -> SourceSettings:
    """What decides the bytes of a source's cache, beside the samples.

    Args:
        config: Settings of the command.
        index: The shard set.
        source: The teacher.
        begun_stride: Output stride that the folder's cache was begun for; None where none was begun.
    """
    augmentation = config.augmentation
    return SourceSettings(
        teacher=source.entry,
        student=StudentEntry(
            magnification=config.magnification,
            output_stride=cache_stride(config, index, begun_stride),
        ),
        classes=source.classes or None,
        channels=source.channels,
        augmentation=None if augmentation is None else AugmentationEntry(**asdict(augmentation)),
        augments=source.entry.augments,
        seed=config.seed,
        views=config.views,
        precision=config.precision,
    )
