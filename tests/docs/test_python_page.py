"""docs/python.md works as it stands: every command and every example, in order, and what it is said to print."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest

from docs.pages import DOCS, blocks, command_lines
from docs.running import plain, run

PAGE = DOCS / "python.md"


@pytest.mark.usefixtures("shared_ray")
@pytest.mark.slow
def test_the_examples_run_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example runs after those before it, in one session, and prints the lines below it, numbers aside."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "example"}
    printed, ran, shown = "", 0, 0
    for block in blocks(PAGE):
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
    assert ran >= 7
    assert shown >= 5
    assert {"synthetic-0001"} == {path.name.rpartition("-r")[0][:14] for path in tmp_path.glob("*.jpg")}
