"""TensorBoard: RUN/events.*, one file a start; what a kill left after the last checkpoint is purged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdtrain.training.loggers.logger import LoggedRun


class TensorboardLogger:
    """Writes events into the run's folder.

    Args:
        run: The run.
    """

    def __init__(self, run: LoggedRun) -> None:
        self._folder = run.folder
        self._writer: Any = None

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One point of each curve, all in one event: ``add_scalar`` makes one each, in four times the time."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # Earlier starts may have written this step and later ones.
            self._writer = SummaryWriter(str(self._folder), purge_step=step)
        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self._writer.file_writer.add_summary(Summary(value=values), step)

    def close(self, *, failed: bool) -> None:
        """Write out what is buffered."""
        if self._writer is not None:
            self._writer.close()
