"""The settings of a run: a phase's options, the keys of its YAML file and the record in the run folder, one by one.

Frozen models, checked on construction. The four phases share what they share (:class:`PhaseConfig`); the paper's
numbers are the defaults (section 4.4, and the authors' published settings where the paper is silent).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from kdtrain.errors import UsageError
from kdtrain.locations import LocationField
from kdtrain.shard_cache import DEFAULT_GB, CacheSettings, cache_settings

if TYPE_CHECKING:
    from kdtrain.augment import AugmentSettings

Resize = Literal["none", "maxpool", "bicubic", "maxpool+bicubic"]
Precision = Literal["fp32", "bf16", "fp16"]
Schedule = Literal["constant", "cosine", "step", "exponential"]
ModelName = Literal["resnet10", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
SelectBy = Literal["balanced_accuracy", "accuracy", "loss"]

PATHS = frozenset(
    {"shards", "shard_cache", "out", "teacher", "teacher_cache", "student", "init", "deepspeed"}
)
"""Where things lie. What lies there is in a run's record by its content, so that a folder may be moved."""
HARMLESS = frozenset(
    {"shard_cache_gb", "workers", "device", "tensorboard", "wandb", "log_every", "keep", "checkpoint_every"}
)
"""Settings that change no weight, or only its last bits: a run may go on on another machine."""
NOT_IN_RECORD = PATHS | HARMLESS
"""What a resumed run may change."""


class SetConfig(BaseModel):
    """What every command is told that runs a network over a shard set.

    Attributes:
        shards: Folder of the shard set, or its URL: s3://, gs:// or az://, whose credentials the environment gives.
        shard_cache: Folder for shards fetched from a URL. Left out: $KDTRAIN_SHARD_CACHE, else the user's cache folder.
        shard_cache_gb: Its size in GB; what was not read for longest makes room.
        out: Folder of the run.
        train_on: Splits or named sets whose samples are trained on.
        validate_on: Split or set that chooses the best checkpoint; "none" keeps the last. Left out: val for labelled
            training sets, dev for auxiliary ones, as in the paper.
        micro_batch: Same-size samples that go through the network together.
        precision: Of the network's arithmetic.
        seed: Of weights, order and augmentation.
        augment: Whether to augment (the paper's colour jitter, flips and quarter turns).
        jitter: Strength of brightness, contrast, saturation and hue.
        workers: Loader processes.
        device: Where to compute; auto takes a GPU where there is one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    phase: ClassVar[str]

    shards: LocationField
    shard_cache: Path | None = None
    shard_cache_gb: Annotated[float, Field(gt=0)] = DEFAULT_GB
    out: Path
    train_on: Annotated[tuple[str, ...], Field(min_length=1)] = ("train",)
    validate_on: str | None = None
    micro_batch: Annotated[int, Field(ge=1)] = 1
    precision: Precision = "fp32"
    seed: Annotated[int, Field(ge=0)] = 0
    augment: bool = True
    jitter: tuple[float, float, float, float] = (0.5, 0.5, 0.5, 0.2)
    workers: Annotated[int, Field(ge=0)] = 2
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @field_validator("train_on", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("out")
    @classmethod
    def _is_folder(cls, value: Path) -> Path:
        if _is_url(value):
            raise ValueError("runs are written to a local folder or a shared file system, not to a URL")
        return value

    @field_validator("jitter", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        numbers = value.split(",") if isinstance(value, str) else value
        if isinstance(numbers, list | tuple) and len(numbers) != 4:
            raise ValueError("must be 4 numbers: of brightness, contrast, saturation and hue")
        return numbers

    @field_validator("jitter")
    @classmethod
    def _in_range(cls, value: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        *factors, hue = value
        if not (all(0 <= factor < math.inf for factor in factors) and 0 <= hue <= 0.5):
            raise ValueError("strengths are 0 or more, and that of hue, in turns of the circle, 0.5 at most")
        return value

    @property
    def cache(self) -> CacheSettings:
        """Where shards fetched from a URL are kept."""
        return cache_settings(self.shard_cache, self.shard_cache_gb)

    @property
    def augmentation(self) -> AugmentSettings | None:
        """How to augment; None for not at all."""
        # Here, because it brings torch, and --help is to answer at once.
        from kdtrain.augment import AugmentSettings

        if not self.augment:
            return None
        brightness, contrast, saturation, hue = self.jitter
        return AugmentSettings(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)


class PhaseConfig(SetConfig):
    """What every phase is told beside that.

    Attributes:
        select_by: What is best on it; the loss is the phase's own.
        epochs: Passes over the training samples (the paper's 100).
        optimizer: Adam (the paper's), or plain SGD.
        lr: Learning rate (the paper's 0.001).
        weight_decay: L2 penalty (the published settings' 1e-4).
        schedule: How the learning rate changes over the run.
        warmup_steps: Optimizer steps over which it rises first.
        accumulate: Samples per optimizer step, over all processes (the published settings' 32).
        step_every: Optimizer steps between two drops of the "step" schedule.
        checkpoint_every: Optimizer steps between two checkpoints; 0 for the ends of epochs alone.
        zero_stage: DeepSpeed's ZeRO stage.
        gradient_clipping: Largest norm of the gradient; 0 for no limit.
        deepspeed: JSON file with further DeepSpeed settings, if any.
        activation_checkpointing: Compute activations twice rather than keep them: for images that do not fit.
        keep: Checkpoints kept besides the best.
        log_every: Optimizer steps between two lines of the log.
        tensorboard: Whether to write TensorBoard events.
        wandb: Weights & Biases project to log to, if any.
    """

    select_by: SelectBy = "balanced_accuracy"
    epochs: Annotated[int, Field(ge=1)] = 100
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    schedule: Schedule = "constant"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    step_every: Annotated[int, Field(ge=0)] = 0
    checkpoint_every: Annotated[int, Field(ge=0)] = 0
    accumulate: Annotated[int, Field(ge=1)] = 32
    zero_stage: Annotated[int, Field(ge=0, le=2)] = 0
    gradient_clipping: Annotated[float, Field(ge=0)] = 0.0
    deepspeed: Path | None = None
    activation_checkpointing: bool = False
    keep: Annotated[int, Field(ge=1)] = 2
    log_every: Annotated[int, Field(ge=1)] = 1
    tensorboard: bool = True
    wandb: str | None = None

    @property
    def record(self) -> dict[str, Any]:
        """What decides the weights, JSON-able: a run is only ever resumed with the same."""
        settings: dict[str, Any] = self.model_dump(mode="json")
        return {"phase": self.phase} | {k: v for k, v in settings.items() if k not in NOT_IN_RECORD}

    @property
    def other_settings(self) -> dict[str, Any]:
        """The rest of the settings, JSON-able: a resumed run may change them."""
        return self.model_dump(mode="json", include=set(NOT_IN_RECORD))


class TeacherConfig(PhaseConfig):
    """Phase I, and the baseline: the same from scratch at a lower magnification.

    Attributes:
        magnification: Of the images (the paper's teacher: 10x).
        model: The network; teacher and student share it.
        output_stride: Input pixels per feature-map pixel; less than 32 for images of few pixels.
        init: A run or a torchvision weights file to start from. Left out: He initialisation.
    """

    phase: ClassVar[str] = "teacher"
    magnification: Annotated[float, Field(gt=0)] = 10.0
    model: ModelName = "resnet10"
    output_stride: Literal[32, 16, 8] = 32
    init: Path | None = None


class BaselineConfig(TeacherConfig):
    """A network trained from scratch at a low magnification, to compare the student with."""

    phase: ClassVar[str] = "baseline"
    magnification: Annotated[float, Field(gt=0)]


class DistillConfig(PhaseConfig):
    """Phase II: the teacher's logits and feature maps teach the student; labels are never read.

    Attributes:
        teacher: The teacher's run. Left out: the one that --teacher-cache was made with.
        teacher_cache: Folder that 'kdtrain cache-teacher' wrote. Left out: the teacher computes in every epoch.
        magnification: Of the student's images.
        resize: How teacher maps become the student's size (eq. 3; the supplement's four variants).
        temperature: T of eq. 2.
        soft_weight: Of the soft loss in eq. 1.
        pixel_weight: Of the pixel-wise loss in eq. 1.
        output_stride: Of the student. Left out: the teacher's, or what --teacher-cache was made for.
        start_from: The student's first weights: random, or the teacher's.
        views: Augmentation draws of a sample, shown again and again; 0 for a fresh one in every epoch, or for all
            that --teacher-cache has.
        view_order: Which of them an epoch shows: draw number epoch modulo --views, or one drawn for each sample.
        select_by: Always the distillation loss: this phase reads no label, not even of the validation set.
    """

    phase: ClassVar[str] = "distill"
    teacher: Path | None = None
    teacher_cache: Annotated[Path | None, Field(validate_default=True)] = None
    magnification: Annotated[float, Field(gt=0)]
    resize: Resize = "maxpool+bicubic"
    temperature: Annotated[float, Field(gt=0)] = 1.0
    soft_weight: Annotated[float, Field(ge=0)] = 1.0
    pixel_weight: Annotated[float, Field(ge=0)] = 1.0
    output_stride: Literal[32, 16, 8] | None = None
    start_from: Literal["random", "teacher"] = "random"
    views: Annotated[int, Field(ge=0)] = 0
    view_order: Literal["cycle", "sample"] = "cycle"
    select_by: Literal["loss"] = "loss"

    @field_validator("teacher_cache")
    @classmethod
    def _is_there(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and _is_url(value):
            raise ValueError(
                "a teacher cache is read from a local folder or a shared file system, not from a URL; copy it there"
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

    @field_validator("view_order")
    @classmethod
    def _has_views(cls, value: str, info: ValidationInfo) -> str:
        if value == "sample" and not info.data.get("views") and info.data.get("teacher_cache") is None:
            raise ValueError("chooses among --views, and there are none; give --views 2 or more")
        return value


class FinetuneConfig(PhaseConfig):
    """Phase III: everything frozen but the fully connected layer.

    Attributes:
        student: The distilled student's run; its magnification is kept.
        same_training_set: Allow the training set that the student was distilled on, which the paper saw overfit.
    """

    phase: ClassVar[str] = "finetune"
    student: Path
    same_training_set: bool = False


class CacheTeacherConfig(SetConfig):
    """The teacher's outputs for every sample and view, written once for students that then need no teacher.

    Attributes:
        teacher: The teacher's run.
        magnification: Of the student's images.
        views: Augmentation draws of every sample that is trained on: those of the first epochs of a run of this seed.
        output_stride: Of the student. Left out: the teacher's.
        out: Folder of the cache. Run again, the command goes on, and adds what the set has gained.
        train_on: Splits or named sets to cache with --views draws of every sample.
        validate_on: Split or set to cache without augmentation. Left out: as for distill.
        micro_batch: Views of a sample, turned alike, that go through the teacher together.
        precision: Of the teacher's arithmetic.
        seed: Of the augmentation.
    """

    phase: ClassVar[str] = "cache-teacher"
    teacher: Path
    magnification: Annotated[float, Field(gt=0)]
    views: Annotated[int, Field(ge=1, le=1000, validate_default=True)] = 8
    output_stride: Literal[32, 16, 8] | None = None

    @field_validator("views")
    @classmethod
    def _draws_differ(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and not info.data.get("augment", True):
            raise ValueError("without augmentation a sample has one view; give --views 1")
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
    given = _yaml(config_file) if config_file is not None else {}
    try:
        return kind(**{**given, **options})
    except ValidationError as error:
        raise UsageError("; ".join(_plain(problem, kind) for problem in error.errors())) from None


def _is_url(path: Path) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", path.as_posix()) is not None


def _plain(problem: Any, kind: type[SetConfig]) -> str:
    name = "-".join(str(problem["loc"][0]).split("_"))
    if problem["type"] == "missing":
        return f"--{name} is missing; give it, or set it in the file of --config"
    if problem["type"] == "extra_forbidden":
        return (
            f"'{name}' is no setting of {kind.phase}; its settings are {', '.join(sorted(kind.model_fields))}"
        )
    return f"--{name}: {problem['msg'].removeprefix('Value error, ')} (given: {problem['input']!r})"


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"--config {path} is not YAML: {error}") from None
    if not isinstance(content, dict | None):
        raise UsageError(f"--config {path} must map settings to values, such as 'epochs: 20'")
    return {str(key).replace("-", "_"): value for key, value in (content or {}).items()}
