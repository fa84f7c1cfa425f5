"""No logger ends a run."""

from __future__ import annotations

import pytest

from kdtrain.training.loggers import guarded
from kdtrain.training.loggers.guarded import Loggers
from kdtrain.training.loggers.logger import LoggedRun

LINES = [{"kind": "step", "step": step, "loss": 1 / step} for step in (1, 2, 3)]


class Fragile:
    """A logger that fails where it is told to, and notes what it takes."""

    def __init__(self, run: LoggedRun, fails: str, taken: list) -> None:
        self._fails, self._taken = fails, taken
        self._do("begin")

    def log(self, step, metrics):
        self._do("log" if step < 3 else "late", step)

    def close(self, *, failed):
        self._do("close", failed)

    def _do(self, what, *arguments):
        if what == self._fails:
            raise ConnectionError("http://ann:secret@host is away")
        self._taken.append((what, *arguments))


def followed(monkeypatch, tmp_path, fails: str):
    """(what the run was told, what a fragile and a sound logger took), over three lines of a log."""
    said: list[str] = []
    taken: dict[str, list] = {"wandb": [], "mlflow": []}
    kinds = {
        "wandb": lambda run: Fragile(run, fails, taken["wandb"]),
        "mlflow": lambda run: Fragile(run, "", taken["mlflow"]),
    }
    monkeypatch.setattr(guarded, "_KINDS", kinds)
    loggers = Loggers(("wandb", "mlflow"), LoggedRun(folder=tmp_path, say=said.append))
    for line in LINES:
        loggers.log(line)
    loggers.close(failed=False)
    return said, taken["wandb"], taken["mlflow"]


@pytest.mark.parametrize(("fails", "steps"), [("begin", 0), ("log", 0), ("late", 2), ("close", 3)])
def test_one_that_fails_is_said_once_and_the_other_goes_on(monkeypatch, tmp_path, fails, steps):
    """At its beginning, at the first line, at the third or at the end: one sentence, without a password."""
    said, fragile, sound = followed(monkeypatch, tmp_path, fails)
    assert said == [
        "warning: --logger wandb does not answer (http://host is away); the run goes on without it, and its numbers "
        "are in log.jsonl"
    ]
    assert sum(what in ("log", "late") for what, *_ in fragile) == steps
    assert sound == [("begin",), ("log", 1), ("log", 2), ("late", 3), ("close", False)]


def test_a_run_without_numbers_begins_nothing(monkeypatch, tmp_path):
    """One that was refused, or finished before, leaves no trace elsewhere."""
    begun: list[LoggedRun] = []
    monkeypatch.setattr(guarded, "_KINDS", {"wandb": begun.append})
    Loggers(("wandb",), LoggedRun(folder=tmp_path)).close(failed=True)
    assert begun == []
