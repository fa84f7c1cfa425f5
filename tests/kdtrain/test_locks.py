"""One command at a time in a folder, whoever it is and however the one before ended."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from pathlib import Path

import pytest

from fixtures.locks import held_elsewhere
from kdtrain.errors import UsageError
from kdtrain.locks import LOCK_FILE, held, is_free, sole_writer


def test_the_second_is_told_who_the_first_is(tmp_path):
    """Command, process, host and start are named, and what to do; nothing is written."""
    lock = tmp_path / LOCK_FILE
    with held_elsewhere(lock, "kdtrain teacher", tmp_path) as other:
        before = lock.read_text()
        with pytest.raises(UsageError) as caught, sole_writer(tmp_path, "kdtrain distill"):
            pass
        assert lock.read_text() == before
    said = str(caught.value)
    assert said.startswith(f"another 'kdtrain teacher' writes to {tmp_path} (process {other.pid} on ")
    assert f"on {socket.gethostname()}, since 20" in said
    assert said.endswith("UTC); wait for it, stop it, or give another --out")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_command_is_in_no_ones_way(tmp_path):
    """SIGKILL leaves the file; the next command has the folder at once, and the file is gone after it."""
    lock = tmp_path / LOCK_FILE
    with held_elsewhere(lock, "kdtrain teacher", tmp_path) as other:
        other.kill()
        other.wait()
        assert lock.exists()
        with sole_writer(tmp_path, "kdtrain teacher"):
            assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert not lock.exists()


def test_a_folder_that_was_made_for_nothing_goes(tmp_path):
    """A command that is refused after it had the lock leaves no folder; one that wrote leaves what it wrote."""
    with pytest.raises(ZeroDivisionError), sole_writer(tmp_path / "a", "x"):
        raise ZeroDivisionError
    with sole_writer(tmp_path / "b", "x"):
        (tmp_path / "b" / "run.json").write_text("{}")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "b",
        "b/run.json",
    ]


def test_patience_ends_with_a_sentence(tmp_path):
    """Who waits says for how long it did."""
    lock = tmp_path / "lock"
    with (
        held_elsewhere(lock, "kdtrain sweep", tmp_path),
        pytest.raises(UsageError, match=r"for the 0.2 s that were waited; wait for it"),
        held(lock, "x", tmp_path, patience_s=0.2),
    ):
        pass


@pytest.fixture
def no_locks(monkeypatch):
    """A file system that knows no locks."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)


def owner(folder: Path, **changes: object) -> Path:
    """What a command leaves that holds the lock on such a file system, or was killed."""
    path = folder / f"{LOCK_FILE}.owner"
    path.write_text(
        json.dumps({"command": "kdtrain teacher", "host": socket.gethostname(), "since": "x", **changes})
    )
    return path


@pytest.mark.usefixtures("no_locks")
def test_where_there_are_no_locks_a_file_stands_for_one(tmp_path):
    """It is there while the folder is held and gone after; a second command is refused meanwhile."""
    with sole_writer(tmp_path, "x"):
        with pytest.raises(UsageError, match=r"delete .*kdtrain.lock.owner"), sole_writer(tmp_path, "y"):
            pass
        assert (tmp_path / f"{LOCK_FILE}.owner").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({"pid": 2**22 + 1, "began": "1"}, True),  # no such process: numbers end at 2^22
        ({"pid": os.getpid(), "began": "1"}, True),  # its number was given to another process since
        ({"pid": 2**22 + 1, "began": "1", "host": "elsewhere"}, False),
    ],
)
def test_where_there_are_no_locks_the_dead_of_this_machine_are_known(tmp_path, changes, taken):
    """A killed command's file is taken over, by process and start; of another machine nobody can tell."""
    left = owner(tmp_path, **changes)
    if taken:
        with sole_writer(tmp_path, "x"):
            assert json.loads(left.read_text())["command"] == "x"
        return
    with pytest.raises(UsageError, match=r"delete .*kdtrain.lock.owner"), sole_writer(tmp_path, "x"):
        pass
    assert left.exists()


def test_an_error_of_another_kind_comes_through(tmp_path, monkeypatch):
    """A disk that fails is not taken for one without locks."""

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "lockf", fail)
    with pytest.raises(OSError, match="Input/output"), sole_writer(tmp_path, "x"):
        pass


@pytest.mark.parametrize(
    ("names", "free"),
    [
        ([], True),
        ([LOCK_FILE, "run.json.4711.partial"], True),
        (["notes.partial"], False),
        (["run.json"], False),
    ],
)
def test_a_lock_and_what_a_kill_left_fill_no_folder(tmp_path, names, free):
    """A start that was killed while it wrote its first file does not keep the next one out; a person's file does."""
    for name in names:
        (tmp_path / name).write_text("")
    assert is_free(tmp_path) is free
    assert is_free(tmp_path / "absent")
