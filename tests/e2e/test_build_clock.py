"""A clock that is set while a build runs changes nothing: no step asks what time it is."""

from __future__ import annotations

import ast
import os
import time
from itertools import cycle
from pathlib import Path

import pytest

import slideprep
from e2e.builds import build, good_slides, shard_bytes

DAY = 86_400
WALL_CLOCK = {"time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.ctime", "time.strftime"}
WALL_CLOCK_NAMES = {"now", "utcnow", "today", "st_mtime", "st_mtime_ns", "st_ctime", "getmtime", "getctime"}
ALLOWED = {"slides/fetch.py"}
"""Which fetched slide that no task uses is removed first: a jump costs a second fetch, no result."""


def uses_of_the_wall_clock(source: str) -> list[str]:
    """Attributes in a module's source that tell the time of day or when a file was changed."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and (
            ast.unparse(node) in WALL_CLOCK or node.attr in WALL_CLOCK_NAMES
        ):
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
        if isinstance(node, ast.ImportFrom) and node.module in ("time", "datetime"):
            found.append(f"line {node.lineno}: from {node.module} import ...")
    return found


def test_no_module_asks_for_the_time_of_day() -> None:
    """Durations come from a clock that nobody can set; files are known by their content, not by their dates."""
    folder = Path(slideprep.__file__).parent
    modules = sorted(folder.rglob("*.py"))
    assert len(modules) > 50
    found = {str(path.relative_to(folder)): uses_of_the_wall_clock(path.read_text()) for path in modules}
    assert {name for name, uses in found.items() if uses} == ALLOWED
    assert uses_of_the_wall_clock("import time\ntime.time()\npath.stat().st_mtime") != []


def test_a_clock_that_jumps_by_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build whose clock jumps a day to and fro, of slides from the future, taken up again, makes the same bytes."""
    slides = good_slides(tmp_path / "slides", 4)
    assert build(tmp_path / "slides", "--out", tmp_path / "calm").code == 0
    for number, slide in enumerate(slides):
        when = time.time() + (number - 2) * DAY
        os.utime(slide, (when, when))
    jumps, true_time = cycle((DAY, -DAY, 0)), time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + next(jumps))
    monkeypatch.setattr(time, "time_ns", lambda: int((true_time() + next(jumps)) * 1e9))
    out = tmp_path / "out"
    assert build(tmp_path / "slides", "--out", out).code == 0
    (out / "index.json").unlink()
    (out / "5x" / "aux1-000001.tar").unlink()
    assert build(tmp_path / "slides", "--out", out).code == 0
    assert shard_bytes(out) == shard_bytes(tmp_path / "calm")
