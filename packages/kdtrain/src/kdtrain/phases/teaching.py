"""Where a distillation's teacher comes from: a run that computes in every epoch, or a cache of what it said once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kdtrain.config.phases import DistillConfig
from kdtrain.data.folds.opening import check_source, open_set
from kdtrain.data.plan import Views
from kdtrain.data.sets import check_phase, validation_split
from kdtrain.data.teacher_cache.binding import check_cache
from kdtrain.data.teacher_cache.document import TeacherCache
from kdtrain.data.teacher_cache.opening import open_cache
from kdtrain.data.teacher_cache.reader import CacheReader
from kdtrain.model.network import Network
from kdtrain.phases.networks import settled_stride
from kdtrain.shards.index import Index, union_of
from kdtrain.training.monitor import Monitor
from kdtrain.training.trained import Trained, load_trained


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """Where the teacher's outputs come from.

    Attributes:
        index: The shard set, its files checked at the magnifications that are read.
        network: The teacher's.
        teacher: With its weights, where they were given.
        cache: Where its views are read, if they are.
        output_stride: That the cache was made for.
        views: Augmentation draws, and which of them an epoch shows.
        provenance: For the run's record.
    """

    index: Index
    network: Network
    teacher: Trained | None
    cache: CacheReader | None = None
    output_stride: int | None = None
    views: Views
    provenance: Mapping[str, Any]


def teaching_of(config: DistillConfig, monitor: Monitor) -> Teaching:
    """Open the shard set, and the teacher or its cache; refuse what does not belong together.

    Raises:
        UsageError: The teacher is none, or the cache is, or does not fit.
        ShardError: The set lacks what is asked for, or set or cache is damaged.
    """
    return _computed(config) if config.teacher_cache is None else _from_cache(config, monitor)


def _computed(config: DistillConfig) -> Teaching:
    assert config.teacher is not None
    index = open_set(config)
    teacher = load_trained(config.teacher, what="--teacher")
    check_source(config, teacher.run, what=f"--teacher {config.teacher}")
    check_phase(config, index, (teacher.network.magnification, config.magnification), labelled=False)
    return Teaching(
        index=index,
        network=teacher.network,
        teacher=teacher,
        views=Views(count=config.views, order=config.view_order),
        provenance={"teacher": teacher_record(teacher)},
    )


def _from_cache(config: DistillConfig, monitor: Monitor) -> Teaching:
    """The teacher's tars are not even looked for."""
    assert config.teacher_cache is not None
    index = open_set(config, magnifications=[config.magnification])
    cache = open_cache(config.teacher_cache)
    teacher = None if config.teacher is None else load_trained(config.teacher, what="--teacher")
    check_phase(config, index, [config.magnification], labelled=False)
    settled = config.model_copy(update={"output_stride": settled_stride(config, index)})
    _check_cache(cache, settled, index, teacher)
    document = cache.document
    if config.augment and document.seed != config.seed:
        monitor.say(
            f"the views of the teacher cache are draws of seed {document.seed}, not of --seed {config.seed}"
        )
    return Teaching(
        index=index,
        network=cache.network,
        teacher=teacher,
        cache=CacheReader(cache, index),
        output_stride=document.student.output_stride,
        views=Views(count=config.views or document.views, order=config.view_order),
        provenance={
            "teacher": document.teacher.model_dump(mode="json"),
            "teacher_cache": {"sha256": cache.sha256, "views": document.views, "seed": document.seed},
        },
    )


def _check_cache(cache: TeacherCache, config: DistillConfig, index: Index, teacher: Trained | None) -> None:
    joined, train_on = union_of(index, config.train_on)
    validate_on = validation_split(config, index, labelled=False)
    check_cache(
        cache,
        config,
        index,
        teacher_sha256=None if teacher is None else teacher.sha256,
        train_on=joined.document.sets[train_on],
        validate_on=() if validate_on is None else index.document.sets[validate_on],
    )


def teacher_record(teacher: Trained) -> dict[str, Any]:
    """What a run, and a cache, keep of their teacher."""
    return {
        "weights_sha256": teacher.sha256,
        "network": teacher.network.record,
        "train_on": teacher.run["shard_set"]["train_on"],
    }
