"""docs/own-slides.md works as it stands: every command, in order, and what it is said to print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from docs.pages import DOCS, Block, blocks, command_lines
from docs.running import plain, run

PAGE = DOCS / "own-slides.md"


def steps() -> Iterator[Block]:
    """Blocks of the page that a reader acts on or compares with: commands, files to write, output."""
    for block in blocks(PAGE):
        is_command = block.language == "sh" and "pip install" not in block.text
        is_file = block.language == "yaml" and _file_named(block) is not None
        if is_command or is_file or block.language == "text":
            yield block


def _file_named(block: Block) -> str | None:
    """The file that the sentence before a block says to write."""
    named = re.findall(r"`([\w-]+\.ya?ml)`", block.before)
    return named[-1] if named else None


@pytest.mark.usefixtures("shared_ray")
@pytest.mark.slow
def test_the_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of the page, in its order, succeed, and print the lines that it shows, numbers aside."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    printed, shown, ran = "", 0, []
    for block in steps():
        if block.language == "yaml":
            (tmp_path / str(_file_named(block))).write_text(block.text)
        elif block.language == "sh":
            for line in command_lines(block):
                printed += "\n" + run(line)
                ran.append(line.split()[1])
        else:
            for line in block.text.splitlines():
                assert plain(line) in plain(printed), f"own-slides.md shows {line!r}, which was not printed"
                shown += 1
    assert {"synthesize", "build-shards", "verify", "teacher", "distill", "evaluate", "compare"} <= set(ran)
    assert shown > 20
    assert (tmp_path / "runs" / "student" / "evaluation-test" / "metrics.json").is_file()
    for name in re.findall(
        r"^\| `([\w.-]+\.(?:html|json|csv))`", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE
    ):
        places = (tmp_path / "shards" / "mine" / name, tmp_path / "runs" / "student" / name)
        assert any(place.is_file() for place in places), f"own-slides.md explains {name}, which is not there"
