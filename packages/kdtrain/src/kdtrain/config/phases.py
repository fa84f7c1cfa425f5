"""The settings of a run: a phase's options, the keys of its YAML file and the record in the run folder, one by one.

Frozen models, checked on construction. The four phases share what they share (:class:`PhaseConfig`); the paper's
numbers are the defaults (section 4.4, and the authors' published settings where the paper is silent).
"""

from __future__ import annotations

from collections.abc import Mapping
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator

from kdtrain.config.common import (
    GONE,
    HARMLESS,
    MAX_TILE_PX,
    NOT_IN_RECORD,
    PATHS,
    Decode,
    Magnification,
    OutputStride,
    PhaseConfig,
    Precision,
    Rgb,
    SetConfig,
    Stem,
    Width,
    is_url,
    three,
    tile_px,
)
from kdtrain.config.problems import rule_broken
from kdtrain.config.yaml_files import yaml_mapping
from kdtrain.errors import UsageError

__all__ = [
    "HARMLESS",
    "NOT_IN_RECORD",
    "PATHS",
    "BaselineConfig",
    "CacheTeacherConfig",
    "Decode",
    "DistillConfig",
    "FinetuneConfig",
    "PhaseConfig",
    "Precision",
    "Resize",
    "SetConfig",
    "TeacherConfig",
    "load_config",
]

Resize = Literal["none", "maxpool", "bicubic", "maxpool+bicubic"]
Hint = Literal["mse", "cosine", "attention"]
TilePx = Annotated[str | int, BeforeValidator(tile_px)]
_OF_OTHERS = (
    *(
        "teacher_magnification",
        "slides",
        "annotations",
        "tile_px",
        "overlap_px",
        "tile_mean",
        "tile_std",
        "tile_range",
    ),
    *("features_output", "logits_output", "extra_tokens"),
    *("patch_size_level0", "patches", "missing_share"),
)
"""Settings of a teacher that is no run."""
ModelName = Literal["resnet10", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


class TeacherConfig(PhaseConfig):
    """Phase I, and the baseline: the same from scratch at a lower magnification.

    Attributes:
        magnification: Of the images (the paper's teacher: 10x).
        model: The network.
        output_stride: Input pixels per feature-map cell. "auto" takes the largest, of the paper's 32 at most, that
            leaves 8 cells on the shorter side of the median training image.
        width: Channels of every stage, relative to the model's: 1, 0.5 or 0.25.
        stem: 7x7 convolution and pooling (standard), or a 3x3 convolution alone, for images of few pixels (small).
        init: A run, or a weights file of torchvision's or timm's ResNets, to start from. Left out: He initialisation.
    """

    phase: ClassVar[str] = "teacher"
    magnification: Magnification = 10.0
    model: ModelName = "resnet10"
    output_stride: OutputStride = "auto"
    width: Width = 1.0
    stem: Stem = "standard"
    init: Path | None = None


class BaselineConfig(TeacherConfig):
    """A network trained from scratch at a low magnification, to compare the student with."""

    phase: ClassVar[str] = "baseline"
    magnification: Magnification


class DistillConfig(PhaseConfig):
    """Phase II: the teacher's logits and feature maps teach the student; no label is read unless --label-weight asks.

    Attributes:
        teacher: The teacher's run. Left out: the one that --teacher-cache was made with.
        teacher_cache: Folder that 'kdtrain cache-teacher' wrote. Left out: the teacher computes in every epoch.
        magnification: Of the student's images.
        resize: How teacher maps become the student's size (eq. 3; the supplement's four variants). Not for vectors of
            a teacher that is no run, which lie on the student's map.
        temperature: T of eq. 2.
        soft_weight: Of the soft loss in eq. 1.
        pixel_weight: Of the pixel-wise loss in eq. 1.
        hint: How feature maps are compared: by the mean squared error of eq. 3, by the cosine of the channels at every
            place, or by where the map is strong (attention), for which channels may differ.
        label_weight: Of the cross-entropy with the label, where a training sample has one; 0 reads no label.
        model: The student's network. Left out: the teacher's, or resnet10 where that is no run.
        output_stride: Of the student, as for a baseline. Left out: what --teacher-cache was made for, else "auto".
        width: Of the student: channels of every stage, relative to its model's: 1, 0.5 or 0.25. Where the map's
            channels are not the teacher's, a 1x1 projector stands between them in training. Left out: the teacher's.
        stem: Of the student, as for a baseline. Left out: the teacher's.
        start_from: The student's first weights: random, or the teacher's.
        views: Augmentation draws of a sample, shown again and again; 0 for a fresh one in every epoch, or for all
            that --teacher-cache has.
        view_order: Which of them an epoch shows: draw number epoch modulo --views, or one drawn for each sample.
        keep_views: Keep what the teacher says of --views draws in the run's folder, so that it computes each once, as
            for --teacher-cache, and not in every epoch.
        select_by: Always the distillation loss: this phase reads no label, not even of the validation set.
    """

    phase: ClassVar[str] = "distill"
    inherited: ClassVar[frozenset[str]] = frozenset({"stain_normalization"})
    teacher: Path | None = None
    teacher_cache: Annotated[Path | None, Field(validate_default=True)] = None
    magnification: Magnification
    resize: Resize = "maxpool+bicubic"
    temperature: Annotated[float, Field(ge=0.01, le=1_000)] = 1.0
    soft_weight: Annotated[float, Field(ge=0, le=1_000_000)] = 1.0
    pixel_weight: Annotated[float, Field(ge=0, le=1_000_000)] = 1.0
    hint: Hint = "mse"
    label_weight: Annotated[float, Field(ge=0, le=1_000_000)] = 0.0
    model: ModelName | None = None
    output_stride: OutputStride | None = None
    width: Width | None = None
    stem: Stem | None = None
    start_from: Literal["random", "teacher"] = "random"
    views: Annotated[int, Field(ge=0, le=1_000)] = 0
    view_order: Literal["cycle", "sample"] = "cycle"
    keep_views: bool = False
    select_by: Literal["loss"] = "loss"

    @property
    def compares_channels(self) -> bool:
        """Whether the loss compares feature maps channel by channel, so that both must have as many."""
        return self.resize != "none" and self.pixel_weight > 0 and self.hint != "attention"

    @field_validator("teacher_cache")
    @classmethod
    def _is_there(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and is_url(value):
            raise ValueError(
                "a teacher cache is read from a local folder or a shared file system, not from a URL; copy it there"
            )
        if value is not None and info.data.get("fold") is not None:
            raise ValueError(
                "is of one teacher and of all patients, but each fold has a teacher of its own; leave the cache out"
            )
        if value is None and info.data.get("teacher", Path()) is None:
            raise ValueError("there is no teacher; give --teacher, or a cache that was made with it")
        return value

    @field_validator("start_from")
    @classmethod
    def _has_weights(cls, value: str, info: ValidationInfo) -> str:
        if value == "teacher" and info.data.get("teacher", Path()) is None:
            raise ValueError("the teacher's weights are in no cache; give --teacher too")
        return value

    @field_validator("pixel_weight")
    @classmethod
    def _teaches(cls, value: float, info: ValidationInfo) -> float:
        if value == 0 and info.data.get("soft_weight") == 0:
            raise ValueError(
                "without --soft-weight (soft_weight) and without this the teacher teaches nothing"
            )
        return value

    @field_validator("view_order")
    @classmethod
    def _has_views(cls, value: str, info: ValidationInfo) -> str:
        if value == "sample" and not info.data.get("views") and info.data.get("teacher_cache") is None:
            raise ValueError("chooses among --views, and there are none; give --views 2 or more")
        return value

    @field_validator("keep_views")
    @classmethod
    def _has_views_to_keep(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("teacher_cache") is not None:
            raise ValueError("--teacher-cache (teacher_cache) holds views already; leave one of the two out")
        if value and info.data.get("fold") is not None:
            raise ValueError(
                "keeps views of the set's stored splits, which a fold (--folds) mixes; leave it out"
            )
        if value and not info.data.get("views"):
            raise ValueError("keeps --views (views), and there are none; give --views 8")
        if value and info.data["views"] > 1 and not info.data.get("augment", True):
            raise ValueError("keeps one view of a sample without augmentation; give --views 1 (views)")
        return value


class FinetuneConfig(PhaseConfig):
    """Phase III: everything frozen but the fully connected layer.

    Attributes:
        student: The distilled student's run; its magnification is kept. A feature network, whose teacher gave no
            logits, gets a new layer for the set's classes.
        unfreeze: Train all weights, from the student's, in place of the fully connected layer alone.
        same_training_set: Allow the training set that the student was distilled on, which the paper saw overfit.
    """

    phase: ClassVar[str] = "finetune"
    inherited: ClassVar[frozenset[str]] = frozenset({"stain_normalization"})
    student: Path
    unfreeze: bool = False
    same_training_set: bool = False


class CacheTeacherConfig(SetConfig):
    """The teacher's outputs for every sample and view, written once for students that then need no teacher.

    Attributes:
        teacher: The teacher's run; or --from.
        from_: A teacher that is no run: an ONNX file, module:function of Python, or a folder of h5 files with features.
        magnification: Of the student's images.
        teacher_magnification: What --from looks at, such as 20.
        slides: Folder of the set's slides, where --from looks at a magnification that the set lacks.
        annotations: Folder of annotation files, for --slides of a set of annotated regions.
        tile_px: Side of the tiles that --from is shown, pixels; or "region" for each region whole. Left out: the size
            that an ONNX file is fixed to.
        overlap_px: That neighbouring tiles share, pixels.
        tile_mean: Mean of red, green and blue that --from is standardised by, 0 to 1. Left out: ImageNet's
            0.485,0.456,0.406, which most take; H-optimus takes others.
        tile_std: Standard deviation, likewise. Left out: ImageNet's 0.229,0.224,0.225.
        tile_range: Numbers that --from takes: standardised values as they are, or times 255. For grey levels as such,
            add --tile-mean 0,0,0 --tile-std 1,1,1.
        features_output: Output of the ONNX file that holds tokens, a map or vectors. Left out: found by its shape.
        logits_output: Output of the ONNX file that holds logits of the set's classes; "none" for no logits. Left out:
            found by its shape.
        extra_tokens: Leading tokens that stand for no place, such as a class token and registers. Left out: the fewest
            that leave a grid.
        patch_size_level0: Side of a patch of features in level-0 pixels, for h5 files that do not say it, as CLAM's.
        patches: CLAM's folder "patches", whose files say it.
        missing_share: Share of slides, and of regions, that may have no features; those are cached without a cell
            that counts.
        views: Augmentation draws of every sample that is trained on: those of the first epochs of a run of this seed.
        output_stride: Of the student, as for distill. Left out: "auto", or what a cache was begun for.
        out: Folder of the cache. Run again, the command goes on, and adds what the set has gained.
        train_on: Splits or named sets to cache with --views draws of every sample.
        validate_on: Split or set to cache without augmentation. Left out: as for distill.
        micro_batch: Views of a sample, turned alike, that go through the teacher together; or tiles of a view.
        precision: Of the teacher's arithmetic.
        seed: Of the augmentation.
    """

    phase: ClassVar[str] = "cache-teacher"
    teacher: Path | None = None
    from_: Annotated[str | None, Field(min_length=1, validate_default=True)] = None
    magnification: Magnification
    teacher_magnification: Annotated[float | None, Field(gt=0, le=1_000)] = None
    slides: Path | None = None
    annotations: Path | None = None
    tile_px: TilePx | None = None
    overlap_px: Annotated[int, Field(ge=0, le=MAX_TILE_PX)] = 0
    tile_mean: Annotated[Rgb | None, BeforeValidator(three)] = None
    tile_std: Annotated[Rgb | None, BeforeValidator(three)] = None
    tile_range: Literal["0-1", "0-255"] = "0-1"
    features_output: str | None = None
    logits_output: str | None = None
    extra_tokens: Annotated[int | None, Field(ge=0, le=10_000)] = None
    patch_size_level0: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    patches: Path | None = None
    missing_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    views: Annotated[int, Field(ge=1, le=1000, validate_default=True)] = 8
    output_stride: OutputStride | None = None

    @field_validator("from_")
    @classmethod
    def _one_teacher(cls, value: str | None, info: ValidationInfo) -> str | None:
        run = info.data.get("teacher")
        if (value is None) == (run is None) and "teacher" in info.data:
            raise ValueError(
                "there is no teacher; give --teacher RUN, or --from with an ONNX file, module:function, or features"
                if value is None
                else "there are two teachers; give --teacher or this"
            )
        return value

    @field_validator("views")
    @classmethod
    def _draws_differ(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and not info.data.get("augment", True):
            raise ValueError("without augmentation a sample has one view; give --views 1")
        return value

    @field_validator(*_OF_OTHERS)
    @classmethod
    def _is_of_from(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[str(info.field_name)]
        if value != field.default and info.data.get("from_", "") is None:
            raise ValueError(
                "says how a teacher of --from is asked, and --teacher is a run, which says so itself"
            )
        return value

    @field_validator("tile_mean", "tile_std")
    @classmethod
    def _is_in_range(cls, value: Rgb | None, info: ValidationInfo) -> Rgb | None:
        above = info.field_name == "tile_std"
        if value is not None and (max(value) > 1 or min(value) < 0 or (above and min(value) == 0)):
            raise ValueError(
                f"numbers are {'above 0' if above else 'from 0'} to 1, in parts of the brightest level"
            )
        return value


Config = TypeVar("Config", bound=SetConfig)


def load_config(kind: type[Config], options: Mapping[str, Any], config_file: Path | None) -> Config:
    """Merge the command line over a YAML file over the defaults.

    Args:
        kind: The command's model.
        options: Options that were given, by field name.
        config_file: ``--config``.

    Raises:
        UsageError: A value or a combination is refused; the message names the option or the key.
    """
    written = {} if config_file is None else yaml_mapping(config_file, f"--config {config_file}")
    given = {field_of(key): value for key, value in written.items()}
    if len(given) < len(written):
        raise UsageError(
            f"--config {config_file} names a setting twice, with '-' and with '_'; leave one out"
        )
    try:
        return kind(**{**given, **options})
    except ValidationError as error:
        from_file = given.keys() - options.keys()
        problems = (
            _plain(problem, kind, config_file if problem["loc"][0] in from_file else None)
            for problem in error.errors()
        )
        raise UsageError("; ".join(problems)) from None


def key_of(field: str) -> str:
    """A setting's key in a file: its field's name, without the mark of a word of Python's (``from``)."""
    return field.removesuffix("_")


def option_of(field: str) -> str:
    """A setting's option: ``--tile-px``."""
    return f"--{key_of(field).replace('_', '-')}"


def field_of(key: str) -> str:
    """The field of a key, written with '-' or '_'."""
    name = key.replace("-", "_")
    return f"{name}_" if iskeyword(name) else name


def _plain(problem: Any, kind: type[SetConfig], file: Path | None) -> str:
    key = str(problem["loc"][0])
    option = option_of(key)
    if problem["type"] == "missing":
        return f"{option} is missing; give it, or set it in the file of --config"
    if problem["type"] == "extra_forbidden":
        known = ", ".join(sorted(map(key_of, kind.model_fields)))
        return f"'{option[2:]}' is no setting of {kind.phase}; {GONE.get(key) or f'its settings are {known}'}"
    # As it was written: an option is not to be looked for in a file, nor a key on the command line.
    return f"{option if file is None else f'{key_of(key)} in {file}'}: {rule_broken(problem, kind)}"
