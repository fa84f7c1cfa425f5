"""A phase's configuration in, what the engine is told of it out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kdtrain.config.phases import PhaseConfig
from kdtrain.engine_config import EngineSettings
from kdtrain.errors import UsageError
from kdtrain.schedules import Schedule


def engine_settings(config: PhaseConfig, *, steps_per_epoch: int) -> EngineSettings:
    """The engine's part of a configuration.

    Args:
        config: Of a phase.
        steps_per_epoch: Optimizer steps; with the epochs they say where a schedule ends.

    Raises:
        UsageError: The schedule does not fit the run, or --deepspeed cannot be read.
    """
    try:
        schedule = Schedule(
            kind=config.schedule,
            warmup_steps=config.warmup_steps,
            total_steps=config.epochs * steps_per_epoch,
            step_every=config.step_every,
        )
    except ValueError as error:
        raise UsageError(f"--schedule {config.schedule}: {error}") from None
    return EngineSettings(
        accumulate=config.accumulate,
        micro_batch=config.micro_batch,
        precision=config.precision,
        zero_stage=config.zero_stage,
        gradient_clipping=config.gradient_clipping,
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
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--deepspeed {path} is no JSON file that can be read: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f'--deepspeed {path} must hold an object, such as {{"prescale_gradients": true}}')
    return content
