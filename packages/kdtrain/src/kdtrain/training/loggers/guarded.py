"""The loggers of a run, none of which may end it: what fails is said once and left out from then on.

They begin with the first numbers, so that a run that is refused, or was finished before, leaves no trace elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from kdtrain.errors import UsageError
from kdtrain.training.loggers.logger import LoggedRun, Logger, metrics_of, reason_of
from kdtrain.training.loggers.mlflow_run import MlflowLogger
from kdtrain.training.loggers.tensorboard import TensorboardLogger
from kdtrain.training.loggers.wandb_run import WandbLogger

_KINDS: dict[str, Callable[[LoggedRun], Logger]] = {
    "tensorboard": TensorboardLogger,
    "wandb": WandbLogger,
    "mlflow": MlflowLogger,
}
_EXTRAS = {"wandb": "Weights & Biases", "mlflow": "MLflow"}


def check_installed(names: Sequence[str]) -> None:
    """Refuse loggers whose library is not there, before any work.

    Args:
        names: As ``--logger`` has them.

    Raises:
        UsageError: Names the extra.
    """
    for name in names:
        if name in _EXTRAS and find_spec(name) is None:
            raise UsageError(
                f"--logger {name} needs {_EXTRAS[name]}: pip install 'kdtrain[{name}]', or leave it out of the option"
            )


class Loggers:
    """All loggers of a run.

    Args:
        names: As ``--logger`` has them.
        run: The run.
    """

    def __init__(self, names: Sequence[str], run: LoggedRun) -> None:
        self._waiting = tuple(names)
        self._run = run
        self._open: dict[str, Logger] = {}

    def log(self, entry: Mapping[str, Any]) -> None:
        """Hand a line of the log to each."""
        step, metrics = metrics_of(entry)
        waiting, self._waiting = self._waiting, ()
        for name in waiting:
            with self._guarded(name):
                self._open[name] = _KINDS[name](self._run)
        for name, logger in tuple(self._open.items()):
            with self._guarded(name):
                logger.log(step, metrics)

    def close(self, *, failed: bool) -> None:
        """The run has ended, or failed."""
        for name, logger in tuple(self._open.items()):
            with self._guarded(name):
                logger.close(failed=failed)
        self._open = {}

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - libraries and services have errors of any kind, and none is the run's
            self._open.pop(name, None)
            self._run.say(
                f"warning: --logger {name} does not answer ({reason_of(error)}); the run goes on without it, and its "
                "numbers are in log.jsonl"
            )
