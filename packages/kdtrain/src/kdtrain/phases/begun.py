"""What a run that was begun keeps where its settings leave the choice: the output stride of its network.

"auto" became the default later: a run begun with the defaults of before goes on with the stride that it has, and runs
that join it in a sweep's table have that stride too.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from kdtrain.config.common import PhaseConfig
from kdtrain.config.phases import DistillConfig, TeacherConfig
from kdtrain.training.micro_batch import with_begun_micro_batch
from kdtrain.training.run_folder import RUN_FILE, read_run

Config = TypeVar("Config", bound=PhaseConfig)


def as_begun(config: Config) -> Config:
    """Settings that leave output stride or micro-batch open, with what the run in --out was given, if it was given any.

    Raises:
        UsageError: The folder holds no run that can be read.
    """
    config = with_begun_micro_batch(config)
    if not _leaves_open(config):
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


def as_others(config: Config, others: Iterable[Path], chosen: int | None) -> Config:
    """Settings that leave the output stride of a new run open, with that of runs that will be averaged with it.

    Args:
        config: Settings of a run.
        others: Folders of runs of the same method that differ in the seed or the fold; they need not be there.
        chosen: What the rule makes of the training images.

    Raises:
        UsageError: One of the folders holds no run that can be read.
    """
    if not _leaves_open(config) or (config.out / RUN_FILE).is_file():
        return config
    there = [read_run(folder, what="run") for folder in others if (folder / RUN_FILE).is_file()]
    strides = [run["network"].get("output_stride") for run in there]
    stride = next((one for one in strides if isinstance(one, int) and one != chosen), None)
    return config if stride is None else config.model_copy(update={"output_stride": stride})


def _leaves_open(config: PhaseConfig) -> bool:
    shaped = isinstance(config, TeacherConfig | DistillConfig)
    return shaped and getattr(config, "output_stride", None) in ("auto", None)


def _begun(config: PhaseConfig) -> dict[str, dict[str, object]] | None:
    return read_run(config.out, what="--out") if (config.out / RUN_FILE).is_file() else None
