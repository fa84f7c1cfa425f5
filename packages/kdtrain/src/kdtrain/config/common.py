"""The settings that commands share; those of each command are in :mod:`kdtrain.config.phases`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from kdtrain.config.problems import range_of
from kdtrain.shards.cache import DEFAULT_GB, CacheSettings, cache_settings
from kdtrain.shards.locations import LocationField

if TYPE_CHECKING:
    from kdtrain.augment import AugmentSettings

Decode = Literal["cpu", "device"]
Precision = Literal["fp32", "bf16", "fp16"]
Schedule = Literal["constant", "cosine", "step", "exponential"]
SelectBy = Literal["balanced_accuracy", "accuracy", "loss"]
StainNormalization = Literal["none", "macenko", "reinhard"]
Stem = Literal["standard", "small"]
# Generators take seeds of 64 bits.
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Steps = Annotated[int, Field(ge=0, le=1_000_000_000)]
Magnification = Annotated[float, Field(gt=0, le=1_000)]
MAX_JITTER = 10
"""Of brightness, contrast and saturation, whose factors are drawn from 1 - strength, not below 0, to 1 + strength."""


def whole(value: Any) -> Any:
    """A command line has no numbers, only what looks like them."""
    return int(value) if isinstance(value, str) and value.isdecimal() and value.isascii() else value


OutputStride = Annotated[Literal["auto", 32, 16, 8, 4], BeforeValidator(whole)]
"""Image pixels per feature-map cell; kdtrain.model.output_stride says what "auto" is."""


def _is_width(value: float) -> float:
    if value not in (1, 0.5, 0.25):
        raise ValueError("channels are 1, 0.5 or 0.25 times the architecture's")
    return value


Width = Annotated[float, Field(ge=0.25, le=1), AfterValidator(_is_width)]

Rgb = tuple[float, float, float]
MAX_TILE_PX = 32_768


def tile_px(value: Any) -> Any:
    """The side of a tile, or "region": also for 0, which no side is."""
    side = whole(value)
    of_tile = isinstance(side, int) and not isinstance(side, bool) and 0 <= side <= MAX_TILE_PX
    if value != "region" and not of_tile:
        raise ValueError(f"must be a whole number of pixels from 1 to {MAX_TILE_PX:,}, or region")
    return side or "region"


def three(value: Any) -> Any:
    """Numbers of red, green and blue, which a command line writes with commas."""
    numbers = value.split(",") if isinstance(value, str) else value
    if isinstance(numbers, list | tuple) and len(numbers) != 3:
        raise ValueError("must be 3 numbers: of red, green and blue")
    return numbers


PATHS = frozenset(
    {"shards", "shard_cache", "out", "folds", "teacher", "teacher_cache", "student", "init", "deepspeed"}
)
"""Where things lie. What lies there is in a run's record by its content, so that a folder may be moved."""
HARMLESS = frozenset(
    {
        "shard_cache_gb",
        "workers",
        "device",
        "compile",
        "logger",
        "log_project",
        "log_every",
        "keep",
        "checkpoint_every",
    }
)
"""Settings that change no weight, or only its last bits: a run may go on on another machine."""
NOT_IN_RECORD = PATHS | HARMLESS
"""What a resumed run may change."""
LATER: dict[str, Any] = {
    "width": (1.0, None),
    "stem": ("standard", None),
    "model": (None,),
    "hint": ("mse",),
    "label_weight": (0.0,),
    "ema": (0.0,),
    "keep_views": (False,),
    "unfreeze": (False,),
    "fold": (None,),
    "folds": (None,),
    "stain_normalization": (None, "none"),
    "stain_augmentation": (0.0,),
}
"""Settings that came later, with the values that change nothing: in the record only where they have another, so that a
run begun without them goes on."""


_NUMBERS: tuple[Any, ...] = (int, float, int | None, float | None)


LOGGERS = ("tensorboard", "wandb", "mlflow")
GONE = {
    "tensorboard": "it is part of 'logger' now: tensorboard, the default, or none for the old false",
    "wandb": "it is part of 'logger' now: wandb, with the project's name as 'log_project'",
}
"""Settings that files of earlier versions may have, with what to write in their place."""


def loggers(value: Any) -> Any:
    """Names of loggers, each once; "none" takes back those before it, as a later option does an earlier one."""
    names = list(names_in(value)) or [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not set(map(str, names)) <= {*LOGGERS, "none"}:
        raise ValueError(f"must be among {', '.join(LOGGERS)}, several with commas, or none")
    for number, name in enumerate(names):
        if name == "none":
            return loggers(names[number + 1 :])
    return tuple(name for name in LOGGERS if name in names)


def project(value: Any) -> Any:
    """A name that every logger takes."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", value):
        raise ValueError("must be 1 to 100 of the letters A to Z, digits, '.', '_' and '-'")
    return value


def names_in(text: str) -> tuple[str, ...]:
    """The splits and sets that ``--train-on`` names."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


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
        stain_augmentation: Strength of changes of the stains themselves, such as 0.05: the optical density of each is
            multiplied by up to 1 +- the strength, and up to the strength is added; 0 for none.
        workers: Loader processes.
        device: Where to compute; auto takes a GPU where there is one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    phase: ClassVar[str]

    shards: LocationField
    shard_cache: Path | None = None
    shard_cache_gb: Annotated[float, Field(gt=0, le=1_000_000)] = DEFAULT_GB
    out: Path
    train_on: Annotated[tuple[str, ...], Field(min_length=1)] = ("train",)
    validate_on: str | None = None
    micro_batch: Annotated[int, Field(ge=1, le=10_000)] = 1
    precision: Precision = "fp32"
    seed: Seed = 0
    augment: bool = True
    jitter: tuple[float, float, float, float] = (0.5, 0.5, 0.5, 0.2)
    stain_augmentation: Annotated[float, Field(ge=0, le=1)] = 0.0
    workers: Annotated[int, Field(ge=0, le=1_000)] = 2
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @field_validator("*", mode="before")
    @classmethod
    def _is_written_as_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        # Python would take "true" of a file for 1, and "1_0" for 10.
        name = str(info.field_name)
        odd = isinstance(value, bool) or (isinstance(value, str) and "_" in value)
        if odd and cls.model_fields[name].annotation in _NUMBERS:
            raise ValueError(f"must be {range_of(cls, name)}")
        return value

    @field_validator("train_on", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return names_in(value) if isinstance(value, str) else value

    @field_validator("out")
    @classmethod
    def _is_folder(cls, value: Path) -> Path:
        if is_url(value):
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
        if not (all(0 <= factor <= MAX_JITTER for factor in factors) and 0 <= hue <= 0.5):
            raise ValueError(
                f"strengths are 0 or more and {MAX_JITTER} at most, and that of hue, in turns of the circle, 0.5"
            )
        return value

    @field_validator("stain_augmentation")
    @classmethod
    def _augments(cls, value: float, info: ValidationInfo) -> float:
        if value and not info.data.get("augment", True):
            raise ValueError(
                "is augmentation, and --no-augment (augment) leaves all of it out; give one of both"
            )
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
        return AugmentSettings(
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            hue=hue,
            stain=self.stain_augmentation,
        )


class PhaseConfig(SetConfig):
    """What every phase is told beside that.

    Attributes:
        select_by: What is best on it; the loss is the phase's own. Left out, the loss chooses where the split lacks a
            class that is trained on.
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
        ema: Decay, such as 0.999, of a moving average of the weights, which is then validated and published in their
            place; 0 for none.
        stain_normalization: Bring every image into the stain of the training images first, by the method of Macenko or
            of Reinhard; evaluation and prediction then do the same. Left out: none for a teacher or a baseline, and for
            a student that of the run that it learns from.
        deepspeed: JSON file with further DeepSpeed settings, if any.
        activation_checkpointing: Compute activations twice rather than keep them: for images that do not fit.
        decode: Who decodes JPEG: the loader's processes (cpu), or the device that trains, whose pixels may differ by a
            few grey levels.
        compile: Compile the networks first, which takes minutes and a C++ compiler.
        keep: Checkpoints kept besides the best.
        log_every: Optimizer steps between two lines of the log.
        micro_batch: Same-size samples that go through the network together. 0 takes small images together, up to 8 and
            0.13 megapixels of the largest that is read, and each larger one alone.
        logger: Where the log's numbers also go: tensorboard (events in the run's folder), wandb (Weights & Biases) or
            mlflow (a folder of the run's, or MLFLOW_TRACKING_URI), several with commas; or none.
        log_project: What wandb and mlflow file the run under: a project, an experiment.
        folds: The folds.json of a sweep that was begun with --folds: which patient is in which fold.
        fold: Which of them this run is tested on, from 1; its splits are train, val and test of that fold.
    """

    select_by: SelectBy = "balanced_accuracy"
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, le=1_000)] = 1e-4
    schedule: Schedule = "constant"
    warmup_steps: Steps = 0
    step_every: Steps = 0
    checkpoint_every: Steps = 0
    micro_batch: Annotated[int, Field(ge=0, le=10_000)] = 0
    accumulate: Annotated[int, Field(ge=1, le=1_000_000, validate_default=True)] = 32
    zero_stage: Annotated[int, Field(ge=0, le=2)] = 0
    gradient_clipping: Annotated[float, Field(ge=0)] = 0.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    stain_normalization: StainNormalization | None = None
    deepspeed: Path | None = None
    activation_checkpointing: bool = False
    decode: Decode = "cpu"
    compile: bool = False
    keep: Annotated[int, Field(ge=1, le=1_000_000)] = 2
    log_every: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1
    logger: Annotated[tuple[str, ...], BeforeValidator(loggers)] = ("tensorboard",)
    log_project: Annotated[str, BeforeValidator(project)] = "kdtrain"
    folds: Path | None = None
    fold: Annotated[int | None, Field(ge=1, le=1_000, validate_default=True)] = None

    @field_validator("decode")
    @classmethod
    def _leaves_pixels(cls, value: Decode, info: ValidationInfo) -> Decode:
        if value == "device" and info.data.get("stain_normalization") not in (None, "none"):
            raise ValueError(
                "leaves the loader's processes, which do --stain-normalization (stain_normalization), without pixels; "
                "give cpu"
            )
        return value

    @field_validator("fold")
    @classmethod
    def _has_folds(cls, value: int | None, info: ValidationInfo) -> int | None:
        if (value is None) != (info.data.get("folds") is None):
            raise ValueError(
                "--folds (which patient is in which fold) and --fold (which of them is tested) go together; give both"
            )
        return value

    @field_validator("accumulate")
    @classmethod
    def _holds_a_micro_batch(cls, value: int, info: ValidationInfo) -> int:
        at_once = info.data.get("micro_batch", 0)
        if at_once > value:
            raise ValueError(
                f"is fewer samples than the {at_once} of --micro-batch (micro_batch), which are parts of a step's; "
                f"give --micro-batch {value} or less, or more here"
            )
        return value

    inherited: ClassVar[frozenset[str]] = frozenset()
    """Settings that are those of the run that this one learns from, and may be named or left out."""

    @property
    def record(self) -> dict[str, Any]:
        """What decides the weights, JSON-able: a run is only ever resumed with the same."""
        settings: dict[str, Any] = self.model_dump(mode="json", exclude={*NOT_IN_RECORD, *self.inherited})
        return {"phase": self.phase} | {k: v for k, v in settings.items() if v not in LATER.get(k, ())}

    @property
    def other_settings(self) -> dict[str, Any]:
        """The rest of the settings, JSON-able: a resumed run may change them."""
        settings = self.model_dump(mode="json", include={*NOT_IN_RECORD, *self.inherited})
        return {k: v for k, v in settings.items() if v not in LATER.get(k, ())}


def is_url(path: Path) -> bool:
    """Whether what was given as a path is a URL."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", path.as_posix()) is not None
