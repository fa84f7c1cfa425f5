"""Which network a phase trains: settings and a shard set in, its description out. No weights, no tar."""

from __future__ import annotations

from kdtrain.config.phases import CacheTeacherConfig, DistillConfig, TeacherConfig
from kdtrain.data.folds.opening import check_source
from kdtrain.errors import UsageError
from kdtrain.model.network import Network
from kdtrain.model.output_stride import FEW_CELLS, cells_of, median_shorter_side, stride_for
from kdtrain.shards.index import Index, union_of
from kdtrain.training.run_folder import RUN_FILE, read_run


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
        output_stride: Where the configuration says none; None for the teacher's.

    Raises:
        UsageError: As check_pair.
        ShardError: The set has no colour statistics.
    """
    check_pair(config, index, teacher)
    statistics = index.statistics_of(config.magnification)
    return Network(
        model=config.model or teacher.model,
        output_stride=settled_stride(config, index) or output_stride or teacher.output_stride,
        classes=teacher.classes,
        magnification=config.magnification,
        mean=statistics.mean,
        std=statistics.std,
        width=config.width or teacher.width,
        stem=config.stem or teacher.stem,
    )


def check_pair(config: DistillConfig | CacheTeacherConfig, index: Index, teacher: Network) -> None:
    """Refuse a student that this teacher cannot have on this set.

    Raises:
        UsageError: The student's magnification is not below the teacher's, or the classes differ.
    """
    classes = tuple(index.document.classes)
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


def settled_stride(config: Shaped, index: Index) -> int | None:
    """The output stride that a configuration asks for; None where it asks for none."""
    if config.output_stride == "auto":
        return stride_for(_training_side_px(config, index))
    return config.output_stride


def stride_note(config: Shaped, index: Index, network: Network) -> str | None:
    """A sentence about a network's output stride: what chose it, or that it leaves little; None for neither."""
    px, stride = _training_side_px(config, index), network.output_stride
    cells = cells_of(px, stride)
    said = f"output stride {stride} leaves {cells} cells on the {px} px of the median training image's shorter side"
    if config.output_stride == "auto":
        return f"--output-stride auto: {said}"
    if cells < FEW_CELLS and stride_for(px) < stride:
        return f"{said}, too few to learn a feature map from; add --output-stride auto"
    return None


def _training_side_px(config: Shaped, index: Index) -> int:
    joined, train_on = union_of(index, config.train_on)
    shards = joined.shards_of(train_on)
    return median_shorter_side(
        [size for shard in shards for size in joined.sizes_of(shard, config.magnification)]
    )
