"""What is said of a folder without index.json: that its build is not finished, or that it is no set."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.commands import run_of
from slideprep.cli.main import main
from slideprep.shards.absent import why_no_index
from slideprep.storage.open import open_store


def test_a_build_that_has_not_ended_is_to_be_finished(tmp_path: Path) -> None:
    """The workspace says that a build began here."""
    (tmp_path / ".slideprep").mkdir()
    assert "run the same build-shards command again to finish it" in why_no_index(open_store(tmp_path))


@pytest.mark.parametrize(
    "command",
    [("verify",), ("add-slides", "a.svs"), ("remove-slides", "a.svs"), ("relabel", "--labels", "l.csv")],
)
def test_a_folder_that_is_no_set_is_not_to_be_finished(command: tuple[str, ...], tmp_path: Path) -> None:
    """No command advises to finish what was never begun; a set directly above or below is named."""
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "a.svs").touch()
    (tmp_path / "l.csv").write_text("slide,label\na,b\n")
    arguments = [tmp_path / "l.csv" if word == "l.csv" else word for word in command[1:]]
    told = run_of(main, command[0], tmp_path / "slides", *arguments)
    assert told.code in (1, 2)
    assert "is no shard set, it holds neither index.json nor .slideprep" in told.said
    assert "finish" not in told.said.replace("holds no finished shard set", "")
    (tmp_path / "index.json").write_text("{}")
    assert f"perhaps {tmp_path}" in run_of(main, command[0], tmp_path / "slides", *arguments).said


def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    """A misspelt path."""
    assert "no such folder" in why_no_index(open_store(tmp_path / "mispelt"))
