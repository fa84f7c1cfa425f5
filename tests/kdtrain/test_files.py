"""Files that are there whole or not at all, and what is said of a disk that refuses."""

from __future__ import annotations

import errno
import os

import pytest

from kdtrain.files import is_partial, open_atomically, remove_partials, write_atomically


def test_a_file_that_fails_leaves_the_one_before(tmp_path):
    """Whatever ends the block, no temporary file stays."""
    write_atomically(tmp_path / "a", b"before")
    with pytest.raises(ZeroDivisionError), open_atomically(tmp_path / "a") as file:
        file.write(b"half" * (1 // 0))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"before")]


def test_a_full_disk_is_told_with_the_file(tmp_path, monkeypatch):
    """The system names no file where an open one cannot be written on."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(tmp_path / "log.jsonl", b"x")
    assert caught.value.filename == str(tmp_path / "log.jsonl")


def test_what_killed_commands_were_writing_is_known_by_its_name(tmp_path):
    """As the temporary name is made; a person's file that only looks like one stays."""
    names = {
        "run.json.4711.partial": True,
        "notes.partial": False,
        "run.json": False,
        "a.4711.partial.txt": False,
    }
    for name in names:
        (tmp_path / name).write_text("")
    assert {name: is_partial(name) for name in names} == names
    remove_partials(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        name for name, partial in names.items() if not partial
    }
