"""What a run that was begun keeps where its settings leave the choice: the output stride of its network.

"auto" became the default later: a run begun with the defaults of before goes on with the stride that it has.
"""

from __future__ import annotations

from typing import TypeVar

from kdtrain.config.common import PhaseConfig
from kdtrain.config.phases import DistillConfig, TeacherConfig
from kdtrain.training.run_folder import RUN_FILE, read_run

Config = TypeVar("Config", bound=PhaseConfig)


def as_begun(config: Config) -> Config:
    """Settings whose "auto" is the output stride that the run in --out was given, where it was given one.

    Raises:
        UsageError: The folder holds no run that can be read.
    """
    if not isinstance(config, TeacherConfig) or config.output_stride != "auto":
        return config
    begun = _begun(config)
    given = None if begun is None else begun["settings"].get("output_stride")
    return config.model_copy(update={"output_stride": given}) if isinstance(given, int) else config


def begun_stride(config: DistillConfig) -> int | None:
    """The output stride of the student that --out holds, where the settings name none; None where it holds none.

    Raises:
        UsageError: The folder holds no run that can be read.
    """
    begun = None if config.output_stride is not None else _begun(config)
    stride = None if begun is None else begun["network"].get("output_stride")
    return stride if isinstance(stride, int) else None


def _begun(config: PhaseConfig) -> dict[str, dict[str, object]] | None:
    return read_run(config.out, what="--out") if (config.out / RUN_FILE).is_file() else None
