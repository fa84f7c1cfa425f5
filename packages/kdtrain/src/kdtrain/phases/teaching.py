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
from kdtrain.data.teacher_cache.document import RunDocument, SourceDocument, TeacherCache
from kdtrain.data.teacher_cache.opening import open_cache
from kdtrain.data.teacher_cache.reader import CacheReader
from kdtrain.errors import UsageError
from kdtrain.model.network import Network
from kdtrain.phases.networks import settled_stride
from kdtrain.phases.stain import check_same_stain, method_of
from kdtrain.shards.index import Index, union_of
from kdtrain.training.monitor import Monitor
from kdtrain.training.trained import Trained, load_trained


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """Where the teacher's outputs come from.

    Attributes:
        index: The shard set, its files checked at the magnifications that are read.
        network: The teacher's; None where it is no run.
        source: What the cache says of a teacher that is none.
        teacher: With its weights, where they were given.
        cache: Where its views are read, if they are.
        output_stride: That the cache was made for.
        views: Augmentation draws, and which of them an epoch shows.
        provenance: For the run's record.
    """

    index: Index
    network: Network | None
    source: SourceDocument | None = None
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
    check_same_stain(config, method_of(teacher.network), what=f"--teacher {config.teacher}")
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
    check_fits(cache, config, index, teacher)
    document = cache.document
    if isinstance(document, SourceDocument):
        check_source_cache(config, document)
    else:
        theirs = method_of(Network.of(document.teacher.network))
        check_same_stain(config, theirs, what=f"the teacher of --teacher-cache {config.teacher_cache}")
    if config.augment and document.seed != config.seed:
        monitor.say(
            f"the views of the teacher cache are draws of seed {document.seed}, not of --seed {config.seed}"
        )
    return Teaching(
        index=index,
        network=Network.of(document.teacher.network) if isinstance(document, RunDocument) else None,
        source=document if isinstance(document, SourceDocument) else None,
        teacher=teacher,
        cache=CacheReader(cache, index),
        output_stride=document.student.output_stride,
        views=Views(count=config.views or document.views, order=config.view_order),
        provenance={
            "teacher": document.teacher.model_dump(mode="json"),
            "teacher_cache": {"sha256": cache.sha256, "views": document.views, "seed": document.seed}
            | ({"augments": document.augments} if isinstance(document, SourceDocument) else {}),
        },
    )


def check_source_cache(config: DistillConfig, document: SourceDocument) -> None:
    """Refuse settings that a cache of another teacher than a run leaves no meaning.

    Raises:
        UsageError: Names the option, and why.
    """
    if config.stain_normalization not in (None, "none"):
        raise UsageError(
            f"--stain-normalization {config.stain_normalization}: {document.teacher.name} saw slides in their own "
            "stain, and both must see a slide in one; leave it out (--stain-augmentation has the student see many)"
        )
    name, usual = document.teacher.name, {k: field.default for k, field in DistillConfig.model_fields.items()}
    if config.resize != usual["resize"]:
        raise UsageError(
            f"--resize {config.resize}: the vectors of {name} lie on the student's map already, and nothing is "
            "resized; leave it out"
        )
    if config.hint == "attention":
        raise UsageError(
            f"--hint attention: cells of {name} may be without a vector, and attention compares whole maps; give mse "
            "or cosine"
        )
    if document.classes is None:
        for option in ("soft_weight", "temperature"):
            if getattr(config, option) != usual[option]:
                raise UsageError(
                    f"--{option.replace('_', '-')} {getattr(config, option):g}: {name} gives no logits, so there is no "
                    "soft loss; leave it out"
                )
        if config.pixel_weight == 0:
            raise UsageError(
                f"--pixel-weight 0: {name} gives no logits, and without its map it teaches nothing; leave it out"
            )


def check_fits(
    cache: TeacherCache, config: DistillConfig, index: Index, teacher: Trained | None = None
) -> None:
    """Refuse a cache that was made for something else.

    Args:
        cache: That was opened.
        config: Settings of the run.
        index: The shard set.
        teacher: That of --teacher, where it was given.

    Raises:
        UsageError: Names everything that differs, and a command that makes a cache that fits.
    """
    joined, train_on = union_of(index, config.train_on)
    validate_on = validation_split(config, index, labelled=False)
    check_cache(
        cache,
        config.model_copy(update={"output_stride": settled_stride(config, index)}),
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
