"""Standard output that is full, closed or read by nobody ends both programs in words, and loses nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PACKAGES = ("slideprep", "kdtrain")

PROGRAM = """
import os, sys, click
from {package}.cli.streams import kept_streams
with kept_streams():
    click.echo("a remark", err=True)
    with open(sys.argv[1], "w") as file:  # takes the lowest descriptor that is free
        file.write("work")
        file.flush()
        click.echo("the answer")
sys.exit(0)
"""


def run(package: str, folder: Path, redirection: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a shell; its work goes to a file."""
    command = ["sh", "-c", f'exec "$0" -c "$1" "$2" {redirection}', sys.executable]
    program = PROGRAM.format(package=package)
    return subprocess.run(
        [*command, program, str(folder / "work")], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize(
    ("redirection", "reason"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
)
def test_a_lost_answer_is_said_once(package: str, redirection: str, reason: str, tmp_path: Path) -> None:
    """The work is done, nothing that was printed is in its file, and the end is one sentence and 1."""
    done = run(package, tmp_path, redirection)
    said = f"error: standard output cannot be written to ({reason}), so the answer of this command is lost"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"a remark\n{said}") and done.stderr.count("\n") == 2, done.stderr
    assert (tmp_path / "work").read_text() == "work"


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_lost_remarks_end_nothing(package: str, redirection: str, tmp_path: Path) -> None:
    """What a command says beside its work may be lost, and the work is done."""
    done = run(package, tmp_path, redirection)
    assert (done.returncode, done.stdout, done.stderr) == (0, "the answer\n", "")
    assert (tmp_path / "work").read_text() == "work"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_reader_that_has_had_enough_is_no_news(package: str, tmp_path: Path) -> None:
    """As after ``| head``: nothing is said, and the code is 1."""
    reading, writing = os.pipe()
    os.close(reading)
    program = [sys.executable, "-c", PROGRAM.format(package=package), str(tmp_path / "work")]
    done = subprocess.run(program, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "a remark\n")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_command_runs_so(package: str) -> None:
    """The group of all commands is one that keeps its streams."""
    program = import_module(f"{package}.cli.streams").Program
    assert isinstance(import_module(f"{package}.cli.main").main, program)
