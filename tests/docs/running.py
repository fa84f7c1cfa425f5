"""Run what a page shows, and compare what it prints."""

from __future__ import annotations

import importlib
import re
import subprocess

from click.testing import CliRunner

from docs.pages import PROGRAMS, program_calls

COLUMNS = "100"
"""Width of the screen for which pages show output."""


def run(line: str) -> str:
    """Run a command, ours in this process, and return what it showed; it must succeed."""
    calls = list(program_calls(line))
    if not calls:
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
        return done.stdout + done.stderr
    ((program, *arguments),) = calls
    assert program in PROGRAMS
    main = importlib.import_module(f"{program}.cli.main").main
    result = CliRunner(env={"COLUMNS": COLUMNS}).invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, f"{line}\n{result.output}"
    return result.output


def plain(text: str) -> str:
    """Text without what differs from machine to machine: numbers, lines of a table, breaks of lines."""
    return " ".join(re.sub(r"[-+]?\d[\d.,]*", "0", re.sub(r"[│┃]", " ", text)).split())
