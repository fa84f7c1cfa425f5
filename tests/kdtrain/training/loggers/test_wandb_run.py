"""What Weights & Biases is told; by a stand-in here, by the library itself where it is installed."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace

import pytest

from kdtrain.training.loggers.kept_ids import kept_id
from kdtrain.training.loggers.logger import LoggedRun
from kdtrain.training.loggers.wandb_run import WandbLogger


class Stand:
    """wandb, as far as it is called: a service that may be away, or a user without a key."""

    class Error(Exception):
        """As wandb.errors.Error."""

    def __init__(
        self, *, mode: str = "online", key: bool = True, away: bool = False, step: int = 0, fails_at: int = 0
    ) -> None:
        self.begun: list[dict] = []
        self.taken: list[tuple] = []
        self.errors = SimpleNamespace(Error=self.Error)
        self._key, self._away, self._mode, self._step, self._fails_at = key, away, mode, step, fails_at

    def setup(self):
        return SimpleNamespace(settings=SimpleNamespace(mode=self._mode))

    def login(self, *, prompt):
        assert not prompt, "nobody may be there to answer"
        return self._key

    def teardown(self, *, exit_code):
        self.taken.append(("torn down", exit_code))

    def Settings(self, **given):  # noqa: N802
        return given

    def init(self, **given):
        if self._away and given["settings"].get("mode") != "offline":
            raise self.Error("no route to ann:secret@host\nmore")
        self.begun.append(given)
        finish = lambda exit_code: self.taken.append(("end", exit_code))  # noqa: E731
        return SimpleNamespace(step=self._step, log=self._log, finish=finish)

    def _log(self, numbers, step):
        if step == self._fails_at:
            raise ConnectionError
        self.taken.append((step, numbers))


@pytest.fixture
def logged(monkeypatch, tmp_path):
    """Gives what a stand-in was told in a start of the run, and what a person was."""

    def start(stand: Stand, steps=(1, 2)):
        monkeypatch.setitem(sys.modules, "wandb", stand)
        said: list[str] = []
        run = LoggedRun(folder=tmp_path, project="lungs", settings={"lr": 0.1}, say=said.append)
        logger = WandbLogger(run)
        for step in steps:
            logger.log(step, {"step/loss": 1 / step})
        logger.close(failed=False)
        return said

    return start


def test_a_resumed_run_goes_on_under_its_id(logged, tmp_path):
    """The second start has the first one's id, and repeats no step that is there."""
    first, second = Stand(), Stand(step=2)
    logged(first, (1, 2))
    logged(second, (1, 2, 3))
    ids = [stand.begun[0]["id"] for stand in (first, second)]
    assert ids == [kept_id(tmp_path, "wandb")] * 2
    assert first.begun[0]["project"] == "lungs"
    assert first.begun[0]["config"] == {"lr": 0.1}
    assert second.taken == [(2, {"step/loss": 0.5}), (3, {"step/loss": 1 / 3}), ("end", 0), ("torn down", 0)]


@pytest.mark.parametrize(("given", "why"), [({"key": False}, "no key"), ({"away": True}, "cannot be used")])
def test_without_a_key_or_an_answer_numbers_stay_here(logged, given, why):
    """They are kept in the run's folder, which is said once; nobody is asked for anything."""
    stand = Stand(**given)
    said = logged(stand)
    assert [begun["settings"]["mode"] for begun in stand.begun] == ["offline"]
    assert len(said) == 1
    assert why in said[0]
    assert "wandb sync" in said[0]


def test_a_failure_ends_the_librarys_own_process(logged):
    """Else it would say so at the program's end, with a trace."""
    stand = Stand(fails_at=2)
    with pytest.raises(ConnectionError):
        logged(stand, (1, 2, 3))
    assert stand.taken == [(1, {"step/loss": 1.0}), ("torn down", 1)]


def test_who_asked_for_offline_is_told_nothing(logged):
    """WANDB_MODE=offline needs no key."""
    stand = Stand(mode="offline", key=False)
    assert logged(stand) == []
    assert len(stand.begun) == 1


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
def test_the_library_itself_keeps_a_run_offline(monkeypatch, tmp_path):
    """Two starts, each a folder of the same id in RUN/wandb that holds the curve's name and no command line."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    for steps in ((1, 2), (2, 3)):
        logger = WandbLogger(LoggedRun(folder=tmp_path))
        for step in steps:
            logger.log(step, {"step/loss": 1 / step})
        logger.close(failed=False)
    files = list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    assert {path.stem for path in files} == {f"run-{kept_id(tmp_path, 'wandb')}"}
    content = b"".join(path.read_bytes() for path in files)
    assert b"step/loss" in content
    assert sys.argv[0].encode() not in content
