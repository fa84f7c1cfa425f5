"""Weights & Biases: a run there, or in RUN/wandb where there is no key, no answer, or ``WANDB_MODE=offline``.

What is sent: names of project and run, the settings that decide the weights, the numbers. Not sent: the command line,
the machine, its use, installed packages, the state of a git repository, what is printed. Key, server and entity are
said as wandb has it, by ``wandb login`` and the environment.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from kdtrain.training.loggers.kept_ids import keep_id, kept_id
from kdtrain.training.loggers.logger import LoggedRun, reason_of

ANSWER_S = 30.0
"""How long a run waits for the service at its beginning, and, twice that, for what is still to be sent at its end."""
_NOT_SENT: dict[str, Any] = {
    "console": "off",
    "silent": True,
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
}


class WandbLogger:
    """Begins the run there, or goes on with it.

    Args:
        run: The run.
    """

    def __init__(self, run: LoggedRun) -> None:
        # Before wandb is imported: its reports of faults would go to another address than the one asked for.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        with _torn_down():
            self._run = _begin(run)
        self._from_step = int(self._run.step)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Hand numbers to wandb's own process, which sends them when it can; what is there already is left out."""
        if step >= self._from_step:
            with _torn_down():
                self._run.log(dict(metrics), step=step)

    def close(self, *, failed: bool) -> None:
        """Wait a while for what is still to be sent; the rest stays in RUN/wandb, for ``wandb sync``."""
        import wandb

        with _torn_down():
            self._run.finish(exit_code=int(failed))
            with suppress(SystemExit):  # its way to say that its own process ended with an error
                wandb.teardown(exit_code=int(failed))


@contextmanager
def _torn_down() -> Iterator[None]:
    """Where something fails, end wandb's own process: if that is what failed, wandb says so by a trace at exit."""
    import wandb

    try:
        yield
    except Exception:
        with suppress(Exception, SystemExit):
            wandb.teardown(exit_code=1)
        raise


def _begin(run: LoggedRun) -> Any:
    import wandb

    run_id = kept_id(run.folder, "wandb")
    if run_id is None:
        run_id = uuid.uuid4().hex
        keep_id(run.folder, "wandb", run_id)

    def begin(**mode: Any) -> Any:
        return wandb.init(
            project=run.project,
            id=run_id,
            name=run.folder.resolve().name,
            config=dict(run.settings),
            dir=str(run.folder),
            resume="allow",
            allow_val_change=True,  # a run that is lengthened has more epochs
            settings=wandb.Settings(init_timeout=ANSWER_S, finish_timeout=2 * ANSWER_S, **_NOT_SENT, **mode),
        )

    if wandb.setup().settings.mode != "online":
        return begin()
    try:
        # Without a key wandb.init would ask for one on the terminal, and the run would wait for an answer.
        if wandb.login(prompt=False):
            return begin()
        why = "there is no key ('wandb login' keeps one)"
    except wandb.errors.Error as error:
        why = f"the service cannot be used ({reason_of(error)})"
    run.say(
        f"warning: --logger wandb: {why}; the numbers are kept in {run.folder / 'wandb'}, and 'wandb sync' of its "
        "folders sends them"
    )
    return begin(mode="offline")
