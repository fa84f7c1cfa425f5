"""What a run that was begun keeps where its settings leave the choice: how many samples go through together.

Small images go together since the default is 0. A run that was begun with single images, the default of before, goes on
with them: sums in another order would change its last digits.
"""

from __future__ import annotations

from typing import TypeVar

from kdtrain.config.common import PhaseConfig
from kdtrain.training.run_folder import RUN_FILE, read_run

Config = TypeVar("Config", bound=PhaseConfig)


def with_begun_micro_batch(config: Config) -> Config:
    """Settings whose ``micro_batch`` is 0, with that of the run in --out, if there is one.

    Raises:
        UsageError: The folder holds no run that can be read.
    """
    if config.micro_batch or not (config.out / RUN_FILE).is_file():
        return config
    begun = read_run(config.out, what="--out")["settings"].get("micro_batch")
    return config.model_copy(update={"micro_batch": begun}) if isinstance(begun, int) else config
