"""What the engine is told, and the DeepSpeed configuration that follows from it.

In: a phase's configuration, which becomes EngineSettings, and the number of ranks. Out: the dictionary for
    ``deepspeed.initialize``. Nothing here
imports DeepSpeed.

The batch is counted in samples per update, over all ranks: ``accumulate``. Ranks and micro-batches only divide
it, so adding a GPU changes the speed of a run and not its mathematics. DeepSpeed's own accumulation is switched
off: it assumes that every group is full, and lets an epoch's incomplete last group leak into the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from kdtrain.config.phases import PhaseConfig
from kdtrain.errors import UsageError
from kdtrain.files import parsed_json
from kdtrain.text import plural
from kdtrain.training.engine.learning_rate import LearningRateSchedule

Precision = Literal["fp32", "bf16", "fp16"]
Optimizer = Literal["adam", "sgd"]
Device = Literal["auto", "cpu", "cuda"]

_BUCKET_ELEMENTS = 25_000_000
"""DeepSpeed's default of 5e8 would reserve 2 GB; this is 100 MB and holds a ResNet-50 whole."""

_PRECISION_REASON = "precision is autocast with float32 weights here"
_REFUSED = {
    "optimizer": "use --optimizer, --lr and --weight-decay",
    "scheduler": "use --schedule",
    "fp16": f"{_PRECISION_REASON}; use --precision fp16",
    "bf16": f"{_PRECISION_REASON}; use --precision bf16",
    "bfloat16": f"{_PRECISION_REASON}; use --precision bf16",
    "torch_autocast": f"{_PRECISION_REASON}; use --precision",
    "amp": f"{_PRECISION_REASON}; use --precision",
    "elasticity": "it changes the batch; use --accumulate",
    "data_efficiency": "samples come in the order of the epoch plan",
    "curriculum_learning": "samples come in the order of the epoch plan",
    "compression_training": "it changes the weights",
    "progressive_layer_drop": "it changes the model",
    "autotuning": "it runs the training script many times; set the values by hand",
    "pipeline": "the models are not built in stages",
    "tensor_parallel": "every rank holds the whole model",
    "sequence_parallel_size": "every rank holds whole images",
    "zero_optimization.offload_optimizer": "checkpoints are not made for it, and the models are small",
    "zero_optimization.offload_param": "checkpoints are not made for it, and the models are small",
    "zero_optimization.cpu_offload": "checkpoints are not made for it, and the models are small",
}
"""Keys of a user's JSON that cannot be obeyed, with what to do or why."""


class EngineConfigError(UsageError):
    """A setting of the engine is wrong, or the user's DeepSpeed JSON contradicts an option."""


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How a model is trained, apart from its data and its loss."""

    accumulate: int = 32
    """Samples per update, over all ranks; the paper's 32."""
    micro_batch: int = 1
    """Samples of one size that go through the model together; 1 where sizes differ."""
    precision: Precision = "fp32"
    """Arithmetic of the forward pass; weights, gradients and losses stay float32."""
    zero_stage: int = 0
    """0: every rank holds all; 1: optimizer state is divided over the ranks; 2: gradients too."""
    gradient_clipping: float = 0.0
    """Largest norm of the gradient over all weights; 0 is off (DeepSpeed's own default is 1.0)."""
    ema: float = 0.0
    """Decay of a moving average of the weights; 0 is off."""
    optimizer: Optimizer = "adam"
    """torch.optim.Adam or SGD; DeepSpeed's FusedAdam would be compiled for 45 s on a CPU."""
    learning_rate: float = 1e-3
    """Per update, before the schedule's factor."""
    weight_decay: float = 1e-4
    """L2 penalty added to the gradient, as in the authors' code."""
    momentum: float = 0.0
    """Momentum of SGD."""
    schedule: LearningRateSchedule = field(default_factory=LearningRateSchedule)
    """The learning rate over the run."""
    deepspeed: Mapping[str, Any] = field(default_factory=dict)
    """The user's DeepSpeed JSON, merged over ours; "auto" stands for ours."""
    device: Device = "auto"
    """auto: a CUDA device where there is one."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            EngineConfigError: Names the field, what it was, and what it must be.
        """
        for name, kinds in (("precision", Precision), ("optimizer", Optimizer), ("device", Device)):
            self._require(
                name, getattr(self, name) in get_args(kinds), f"one of {', '.join(get_args(kinds))}"
            )
        for name in ("accumulate", "micro_batch"):
            self._require(name, getattr(self, name) >= 1, "at least 1 sample")
        self._require(
            "micro_batch", self.micro_batch <= self.accumulate, f"at most accumulate, {self.accumulate}"
        )
        self._require("zero_stage", self.zero_stage in (0, 1, 2), "0, 1 or 2: the models fit on one device")
        self._require("learning_rate", _positive(self.learning_rate), "a number above 0")
        for name in ("gradient_clipping", "weight_decay"):
            self._require(name, 0 <= getattr(self, name) < math.inf, "0 for none, or a number above 0")
        self._require("ema", 0 <= self.ema < 1, "0 for none, or a number below 1")
        self._require("momentum", 0 <= self.momentum < 1, "at least 0 and below 1")

    def _require(self, name: str, holds: bool, rule: str) -> None:
        if not holds:
            raise EngineConfigError(f"{name} is {getattr(self, name)!r}; it must be {rule}")


def deepspeed_config(settings: EngineSettings, world_size: int) -> dict[str, Any]:
    """The configuration for ``deepspeed.initialize``.

    DeepSpeed is told of an accumulation of 1: the engine weights each sample by the true size of its group and
    calls ``step`` once per group, so that no factor of DeepSpeed's may come on top.

    Args:
        settings: What was asked for.
        world_size: Number of ranks.

    Raises:
        EngineConfigError: The user's JSON contradicts an option; names the key, both values and the remedy.
    """
    _refuse_contradictions(settings, world_size)
    ours: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": settings.micro_batch,
        "gradient_accumulation_steps": 1,
        "train_batch_size": settings.micro_batch * world_size,
        "managed_gradient_accumulation": False,
        # Without ZeRO, DeepSpeed forgets the norm that it clips by; the engine clips there and keeps the norm.
        "gradient_clipping": settings.gradient_clipping if settings.zero_stage else 0.0,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": settings.zero_stage,
            "reduce_bucket_size": _BUCKET_ELEMENTS,
            "allgather_bucket_size": _BUCKET_ELEMENTS,
        },
    }
    return _merged(ours, settings.deepspeed, owned=set(_owned(settings, world_size)))


def _positive(value: float) -> bool:
    return 0 < value < math.inf


def _owned(settings: EngineSettings, world_size: int) -> dict[str, tuple[Any, str]]:
    """Value that each key of ours has in the user's terms, and the option that sets it."""
    at_once = settings.micro_batch * world_size
    steps = settings.accumulate / at_once
    whole = int(steps) if steps.is_integer() else steps
    return {
        "train_batch_size": (settings.accumulate, "--accumulate"),
        "train_micro_batch_size_per_gpu": (settings.micro_batch, "--micro-batch"),
        "gradient_accumulation_steps": (whole, f"--accumulate over {plural(at_once, 'sample')} at once"),
        "managed_gradient_accumulation": (False, "the engine, which weights groups by their true size"),
        "gradient_clipping": (settings.gradient_clipping, "--gradient-clipping"),
        "zero_allow_untested_optimizer": (True, "the engine, whose optimizers are PyTorch's"),
        "zero_optimization.stage": (settings.zero_stage, "--zero-stage"),
        "zero_optimization.compute_grad_norm": (
            True,
            "the engine, which stops at a gradient that is not finite",
        ),
    }


def _refuse_contradictions(settings: EngineSettings, world_size: int) -> None:
    owned = _owned(settings, world_size)
    for key, value in _flat(settings.deepspeed):
        if key in owned and value not in ("auto", owned[key][0]):
            ours, source = owned[key]
            reason = f"but {ours!r} follows from {source}"
            remedy = "change one of them, or leave the key out"
            raise EngineConfigError(f"DeepSpeed JSON: {key!r} is {value!r}, {reason}; {remedy}")
        if key in _REFUSED and not _is_off(value):
            raise EngineConfigError(
                f"DeepSpeed JSON: {key!r} cannot be obeyed: {_REFUSED[key]}; remove the key"
            )


def _is_off(value: Any) -> bool:
    """Whether a section is switched off, as exported configurations often spell out."""
    if isinstance(value, Mapping):
        return value.get("enabled") is False or value.get("device") == "none"
    return value is None or value is False or (value == 1 and value is not True)


def _flat(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Top-level keys, and those of the section zero_optimization by their dotted names."""
    section = config.get("zero_optimization", {})
    if not isinstance(section, Mapping):
        given = f"'zero_optimization' is {section!r}"
        raise EngineConfigError(f"DeepSpeed JSON: {given}, not a section; write {{'stage': 1}}")
    yield from config.items()
    yield from ((f"zero_optimization.{key}", value) for key, value in section.items())


def _merged(
    ours: dict[str, Any], theirs: Mapping[str, Any], owned: set[str], prefix: str = ""
) -> dict[str, Any]:
    """The user's settings laid over ours, section by section; those that we own were compared already and stay."""
    merged = dict(ours)
    for key, value in theirs.items():
        if prefix + key in owned or prefix + key in _REFUSED or value == "auto":
            continue
        if isinstance(value, Mapping):
            section = merged.get(key, {})
            merged[key] = _merged(section, value, owned, prefix=f"{prefix}{key}.")
        else:
            merged[key] = value
    return merged


def engine_settings(config: PhaseConfig, *, steps_per_epoch: int) -> EngineSettings:
    """The engine's part of a configuration.

    Args:
        config: Settings of a phase.
        steps_per_epoch: Optimizer steps; with the epochs they say where a schedule ends.

    Raises:
        UsageError: The schedule does not fit the run, or --deepspeed cannot be read.
    """
    try:
        schedule = LearningRateSchedule(
            kind=config.schedule,
            warmup_steps=config.warmup_steps,
            total_steps=config.epochs * steps_per_epoch,
            step_every=config.step_every,
        )
    except ValueError as error:
        raise UsageError(f"--schedule {config.schedule}: {error}") from None
    return EngineSettings(
        accumulate=config.accumulate,
        # What DeepSpeed is told; it counts by it, and no more.
        micro_batch=max(1, config.micro_batch),
        precision=config.precision,
        zero_stage=config.zero_stage,
        gradient_clipping=config.gradient_clipping,
        ema=config.ema,
        optimizer=config.optimizer,
        learning_rate=config.lr,
        device=config.device,
        weight_decay=config.weight_decay,
        schedule=schedule,
        deepspeed={} if config.deepspeed is None else deepspeed_json(config.deepspeed),
    )


def deepspeed_json(path: Path) -> dict[str, Any]:
    """The content of ``--deepspeed``.

    Raises:
        UsageError: It is no JSON object that can be read.
    """
    try:
        content = parsed_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"--deepspeed {path} is no JSON file that can be read: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f'--deepspeed {path} must hold an object, such as {{"prescale_gradients": true}}')
    return content
