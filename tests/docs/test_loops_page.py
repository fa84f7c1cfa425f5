"""docs/resampling-loops.md works as it stands: its loops compile, and make what it says."""

from __future__ import annotations

import contextlib
import io
import platform
from typing import Any

import pytest

from docs.pages import DOCS, blocks

PAGE = DOCS / "resampling-loops.md"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="shows an x86-64 processor's code")
def test_the_examples_run_and_print_what_is_shown() -> None:
    """Each runs after those before it and prints the block of text behind it, to the letter."""
    names: dict[str, Any] = {"__name__": "example"}
    printed, shown = [], []
    for block in blocks(PAGE):
        if block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as heard:
                exec(compile(block.text, f"{PAGE.name}, line {block.line}", "exec"), names)
            printed.append(heard.getvalue().strip())
        elif block.language == "text":
            shown.append(block.text)
    assert len(shown) == 3
    assert printed == shown
