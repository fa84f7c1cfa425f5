"""docs/python.md works as it stands: every command and every example, in order, and what it is said to print."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from docs.pages import DOCS, Block, blocks, command_lines
from docs.running import plain, run
from fixtures.bundles import make_bundle

PAGE = DOCS / "python.md"
KDTRAIN = PAGE.read_text(encoding="utf-8").splitlines().index("## kdtrain") + 1
"""The line where the part on kdtrain begins, which takes a set and a run as given."""


def work(shown_blocks: Iterable[Block]) -> tuple[int, int]:
    """Run blocks one after the other in one session, and compare what is said to be printed, numbers aside.

    Returns:
        Examples that ran, and lines that were compared.
    """
    names: dict[str, Any] = {"__name__": "example"}
    printed, ran, shown = "", 0, 0
    for block in shown_blocks:
        if block.language == "sh":
            for line in command_lines(block):
                if not line.startswith("pip install"):
                    run(line)
        elif block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as heard:
                exec(compile(block.text, f"{PAGE.name}, line {block.line}", "exec"), names)
            printed, ran = heard.getvalue(), ran + 1
        else:
            for line in block.text.splitlines():
                assert plain(line) in plain(printed), f"python.md shows {line!r}, printed was:\n{printed}"
                shown += 1
    return ran, shown


@pytest.mark.usefixtures("shared_ray")
@pytest.mark.slow
def test_the_examples_of_slideprep_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each runs after those before it, on slides that the page makes."""
    monkeypatch.chdir(tmp_path)
    ran, shown = work(block for block in blocks(PAGE) if block.line < KDTRAIN)
    assert ran >= 7
    assert shown >= 5
    assert {"synthetic-0001"} == {path.name.rpartition("-r")[0][:14] for path in tmp_path.glob("*.jpg")}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_examples_of_kdtrain_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each runs after those before it, on a set of six slides, a run of one epoch and its bundle."""
    pytest.importorskip("deepspeed", reason="needs DeepSpeed")
    made = make_bundle(tmp_path / "made")
    places = {"shards/mine": made.shards, "runs/student": made.run, "bundles/student": made.bundle}
    for name, place in {**places, "slides/case7.svs": made.slides[5]}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(place)
    monkeypatch.chdir(tmp_path)
    assert work(block for block in blocks(PAGE) if block.line > KDTRAIN) == (11, 4)
