"""What a run leaves of itself beside its checkpoints: log lines, the cost of training, the chosen network.

Rank 0 writes; on the others every method does nothing. Whatever a clock decides stays out of run.json, the log's
losses and the network, so that two runs of one command can be compared byte by byte: it is in sessions.json.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kdtrain.config.phases import PhaseConfig
from kdtrain.errors import NotFiniteError
from kdtrain.model.finite import first_not_finite
from kdtrain.model.projector import without_projector
from kdtrain.training import checkpoints
from kdtrain.training.engine.engine import Engine, GroupResult
from kdtrain.training.monitor import Monitor
from kdtrain.training.run_folder import MODEL_FILE, RunFolder, Session


class TrainingRecord:
    """Writes a run's log and its sessions.

    Args:
        folder: The run's.
        config: Says how often a step is logged.
        engine: Knows step, rank and device.
        monitor: Shows what is logged.
        began: ``time.monotonic()`` when this start of the run began to cost.
    """

    def __init__(
        self, folder: RunFolder, config: PhaseConfig, engine: Engine, monitor: Monitor, *, began: float
    ) -> None:
        self._folder = folder
        self._log_every = config.log_every
        self._engine = engine
        self._monitor = monitor
        self._began = began
        self._from_step = 0
        self._earlier: list[Session] = []

    def step(self, epoch: int, result: GroupResult, wait_share: float) -> None:
        """Log an update, if its turn has come."""
        if result.step % self._log_every:
            return
        self._log(
            {
                "kind": "step",
                "step": result.step,
                "epoch": epoch,
                "loss": result.loss,
                **{f"loss_{name}": value for name, value in result.parts.items()},
                # JSON has no infinity: an update that fp16 skipped has no norm.
                "grad_norm": result.grad_norm if math.isfinite(result.grad_norm) else None,
                "lr": result.learning_rate,
                "skipped": result.skipped,
                "wait_share": wait_share,
            }
        )

    def validated(self, epoch: int, split: str, metrics: Mapping[str, float]) -> None:
        """Log and show an epoch's validation."""
        self._log(
            {"kind": "validation", "step": self._engine.step, "epoch": epoch, "split": split, **metrics}
        )
        self._monitor.validated(epoch, metrics)

    def begin_session(self) -> None:
        """Training starts here, or goes on.

        Raises:
            UsageError: sessions.json is damaged.
        """
        self._from_step = self._engine.step
        self._earlier = self._engine.on_first_rank(self._folder.sessions)

    def save_session(self) -> None:
        """Write the cost of this start so far; a killed run loses the time since."""
        engine = self._engine
        if engine.rank:
            return
        now = Session(
            seconds=round(time.monotonic() - self._began, 3),
            device=device_name(engine.device),
            processes=engine.world_size,
            threads=torch.get_num_threads(),
            from_step=self._from_step,
            to_step=engine.step,
        )
        self._folder.write_sessions([*self._earlier, now])

    def _log(self, entry: Mapping[str, Any]) -> None:
        if self._engine.rank == 0:
            self._folder.log(entry)
            self._monitor.record(entry)


def device_name(device: torch.device) -> str:
    """What a GPU calls itself, "NVIDIA H200"; else "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def publish(checkpoint: Path, run: Path, origin: Mapping[str, Any]) -> None:
    """Write a checkpoint's weights, or their average where it has one, to model.safetensors, without a projector.

    Args:
        checkpoint: The chosen one.
        run: The run's folder.
        origin: JSON-able: which step it is, what chose it, how the network is built.

    Raises:
        NotFiniteError: A weight is not finite, as in a checkpoint that an earlier version wrote.
    """
    state, _ = checkpoints.load(checkpoint)
    if name := first_not_finite(state.chosen):
        raise NotFiniteError(
            f"the weights of {checkpoint} are not finite, {name} first, so they are no network; train again with a "
            "lower --lr or --gradient-clipping 1, and a new --out"
        )
    # In one entry: safetensors writes several in an order of chance, and the file's hash would change with it.
    metadata = {"kdtrain": json.dumps(origin, sort_keys=True, allow_nan=False)}
    checkpoints.write_weights(run / MODEL_FILE, without_projector(state.chosen), metadata)
