"""Which network a phase trains: settings and a shard set in, its description out. No weights, no tar."""

from __future__ import annotations

from collections.abc import Sequence

from kdtrain.config.phases import CacheTeacherConfig, DistillConfig, TeacherConfig
from kdtrain.data.folds.opening import check_source
from kdtrain.data.teacher_cache.document import SourceDocument
from kdtrain.errors import UsageError
from kdtrain.model.network import Network
from kdtrain.model.output_stride import (
    FEW_CELLS,
    Chosen,
    cells_of,
    cells_sentence,
    chosen_for,
    median_shorter_side,
    stride_for,
)
from kdtrain.model.projector import Projection
from kdtrain.model.resnet import ModelSpec
from kdtrain.shards.index import Index, union_of
from kdtrain.shards.models import Shard
from kdtrain.training.run_folder import RUN_FILE, read_run

DEFAULT_MODEL = TeacherConfig.model_fields["model"].default
"""Of a student whose teacher is no network of ours, as of a baseline."""


def labelled_network(config: TeacherConfig, index: Index) -> Network:
    """The network of a teacher or a baseline.

    Raises:
        ShardError: The set has no colour statistics, or lacks the magnification.
    """
    statistics = index.statistics_of(config.magnification)
    stride = settled_stride(config, index)
    assert stride is not None
    return Network(
        model=config.model,
        output_stride=stride,
        classes=tuple(index.document.classes),
        magnification=config.magnification,
        mean=statistics.mean,
        std=statistics.std,
        width=config.width,
        stem=config.stem,
    )


def student_network(
    config: DistillConfig, index: Index, teacher: Network, *, output_stride: int | None = None
) -> Network:
    """The student: at its own magnification, and of the teacher's shape where it is given none of its own.

    Colours are standardised by the labelled training split's statistics: of this set, or where it has none, refused.

    Args:
        config: Settings of the run.
        index: The shard set.
        teacher: The teacher's network.
        output_stride: Where the configuration says none: of the run that was begun, or of its cache; None
            to choose one.

    Raises:
        UsageError: As check_pair.
        ShardError: The set has no colour statistics.
    """
    check_pair(config, index, teacher)
    statistics = index.statistics_of(config.magnification)
    elsewhere = output_stride if config.output_stride is None else None
    return Network(
        model=config.model or teacher.model,
        output_stride=elsewhere or settled_stride(config, index) or teacher.output_stride,
        classes=teacher.classes,
        magnification=config.magnification,
        mean=statistics.mean,
        std=statistics.std,
        width=config.width or teacher.width,
        stem=config.stem or teacher.stem,
        stain=teacher.stain,
    )


def source_student(config: DistillConfig, index: Index, source: SourceDocument) -> Network:
    """The student of a teacher that is no run: a feature network where neither teacher nor labels know classes.

    Raises:
        UsageError: --label-weight on a set without classes.
        ShardError: The set has no colour statistics.
    """
    statistics = index.statistics_of(config.magnification)
    classes = source.classes or ()
    if config.label_weight and not classes:
        classes = tuple(index.document.classes)
        if not classes:
            raise UsageError(
                f"--label-weight {config.label_weight:g}: neither {source.teacher.name} nor --shards {config.shards} "
                "has classes; leave it out, and make the classifier by 'kdtrain finetune' on a set that has"
            )
    return Network(
        model=config.model or DEFAULT_MODEL,
        output_stride=source.student.output_stride,
        classes=classes,
        magnification=config.magnification,
        mean=statistics.mean,
        std=statistics.std,
        width=config.width or 1.0,
        stem=config.stem or "standard",
    )


def check_pair(config: DistillConfig | CacheTeacherConfig, index: Index, teacher: Network) -> None:
    """Refuse a student that this teacher cannot have on this set.

    Raises:
        UsageError: The student's magnification is not below the teacher's, or the classes differ.
    """
    classes = tuple(index.document.classes)
    if not teacher.classes:
        raise UsageError(
            f"--teacher {config.teacher} is a feature network, which gives no logits; give the run of "
            "'kdtrain finetune' that made a classifier of it"
        )
    if config.magnification >= teacher.magnification:
        raise UsageError(
            f"--magnification {config.magnification:g} is not below the teacher's {teacher.magnification:g}x; "
            "distillation goes from a high magnification to a lower one"
        )
    if classes and classes != teacher.classes:
        raise UsageError(
            f"--teacher {config.teacher} was trained on the classes {', '.join(teacher.classes)}, --shards "
            f"{config.shards} has {', '.join(classes)}; build the set with --classes {','.join(teacher.classes)}"
        )


def projection_of(
    config: DistillConfig,
    student: ModelSpec,
    teacher: Network | None,
    source: SourceDocument | None = None,
) -> Projection | None:
    """What stands between a student's map and its teacher's while it learns; None for nothing.

    Args:
        config: Settings of the run.
        student: The student.
        teacher: The teacher's network; None where it is no run.
        source: The cache of a teacher that is none.
    """
    if source is not None:
        return Projection.to_vectors(source.channels) if config.pixel_weight else None
    assert teacher is not None
    return Projection.to_network(student, teacher.spec) if config.compares_channels else None


def check_init(config: TeacherConfig) -> None:
    """Refuse, by UsageError, first weights of a run that has seen what this one will be measured on."""
    if config.init is None:
        return
    folder = config.init if config.init.is_dir() else config.init.parent
    if not (folder / RUN_FILE).is_file():
        return
    if config.fold is not None:
        raise UsageError(
            f"--init {config.init} is of a run, which may have learnt from patients that fold {config.fold} tests; "
            "begin with weights of other images, such as torchvision's, or leave it out"
        )
    check_source(config, read_run(folder, what="--init"), what=f"--init {config.init}")


def check_same_shape(teacher: Network, student: Network) -> None:
    """Refuse, by UsageError, a student that cannot begin with the teacher's weights."""
    theirs, ours = ((network.model, network.width, network.stem) for network in (teacher, student))
    if theirs != ours:
        raise UsageError(
            f"--start-from teacher: the teacher is a {theirs[0]} of width {theirs[1]:g} and {theirs[2]} stem, the "
            f"student a {ours[0]} of width {ours[1]:g} and {ours[2]} stem, so its weights do not fit; leave out "
            "--model, --width and --stem, or --start-from"
        )


Shaped = TeacherConfig | DistillConfig | CacheTeacherConfig


def leaves_choice(config: Shaped) -> bool:
    """Whether settings leave the output stride to the rule: "auto", or nothing said and no cache to follow."""
    if config.output_stride is None:
        return not (isinstance(config, DistillConfig) and config.teacher_cache is not None)
    return config.output_stride == "auto"


def settled_stride(config: Shaped, index: Index) -> int | None:
    """The output stride that a configuration asks for or leaves to the rule; None where a cache has it."""
    chosen = chosen_stride(config, index)
    if chosen is not None:
        return chosen.stride
    assert config.output_stride != "auto"
    return config.output_stride


def cache_stride(config: CacheTeacherConfig, index: Index, begun: int | None) -> int:
    """The output stride of the student that a cache is for.

    Args:
        config: Settings of the command.
        index: The shard set.
        begun: What the folder's cache was begun for, if one was: a set that has grown may have another median image,
            and its cache goes on all the same.

    Raises:
        UsageError: There is no training image to choose by.
    """
    if begun is not None and leaves_choice(config):
        return begun
    stride = settled_stride(config, index)
    assert stride is not None
    return stride


def chosen_stride(config: Shaped, index: Index, *, taken: int | None = None) -> Chosen | None:
    """What "auto" chose, and by what; None where the output stride was given.

    Args:
        config: Settings of the run.
        index: The shard set.
        taken: The network's output stride, where it is settled: a run that was begun may have another than "auto"
            would choose.

    Raises:
        UsageError: There is no training image to choose by.
    """
    if not leaves_choice(config):
        return None
    chosen = chosen_for(_training_side_px(config, index))
    return chosen if taken in (None, chosen.stride) else None


def stride_note(config: Shaped, index: Index, stride: int) -> str | None:
    """A sentence about a network's output stride: what chose it, or that it leaves little; None for neither."""
    if chosen_stride(config, index, taken=stride) is not None:
        said = cells_sentence(stride, _training_side_px(config, index))
        return f"--output-stride auto: {said}"
    if few := few_cells(config, index, stride):
        return f"{few}; give --output-stride auto"
    return None


def few_cells(config: Shaped, index: Index, stride: int) -> str | None:
    """That an output stride leaves too few cells, and "auto" would leave more; None where it does not."""
    px = _training_side_px(config, index)
    if cells_of(px, stride) >= FEW_CELLS or stride_for(px) >= stride:
        return None
    return f"{cells_sentence(stride, px)}, too few to learn a feature map from"


def _training_side_px(config: Shaped, index: Index) -> int:
    joined, train_on = union_of(index, config.train_on)
    shards = _training_shards(joined, joined.document.sets[train_on])
    sizes = [size for shard in shards for size in joined.sizes_of(shard, config.magnification)]
    if not sizes:
        raise UsageError(
            f"--output-stride auto chooses by the training images, and --train-on {','.join(config.train_on)} has "
            "none; name a split with samples"
        )
    return median_shorter_side(sizes)


def _training_shards(index: Index, parts: Sequence[str]) -> Sequence[Shard]:
    """Those of splits; where the set is seen by a fold, those that any fold trains on: all folds have one network."""
    if index.view_of is None:
        return [shard for shard in index.document.shards if shard.split in parts]
    labelled = {name for name, split in index.document.splits.items() if split.labelled}
    dealt_out = [shard for shard in index.document.shards if shard.split in labelled]
    others = [s for s in index.stored.document.shards if s.split in parts and s.split not in labelled]
    return [*(dealt_out if labelled & set(parts) else []), *others]
