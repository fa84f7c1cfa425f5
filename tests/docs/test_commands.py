"""Commands in the documentation exist: their options, and the types of their values."""

from __future__ import annotations

import importlib
from pathlib import Path

import click
import pytest

from docs.pages import ROOT, SHELLS, blocks, command_lines, pages, program_calls

CALLS = [
    pytest.param(call, id=f"{page.relative_to(ROOT)}:{block.line}:{' '.join(call[:2])}")
    for page in pages()
    for block in blocks(page)
    if block.language in SHELLS
    for line in command_lines(block)
    for call in program_calls(line)
]


def parse(call: list[str]) -> click.Context:
    """Parse a call as the program would, without running it; a usage error is raised.

    Ellipses stand for arguments that a sentence leaves out, so what is required may then be missing.
    """
    program = importlib.import_module(f"{call[0]}.cli.main").main
    arguments = [argument for argument in call[1:] if argument != "..."]
    if not arguments or arguments == ["--help"]:
        return program.make_context(call[0], [], resilient_parsing=True)
    name, *rest = arguments
    command = program.get_command(click.Context(program), name)
    if command is None:
        raise click.UsageError(f"there is no command {call[0]} {name}")
    shortened = "..." in call
    rest = [] if rest == ["--help"] else rest
    return command.make_context(name, rest, resilient_parsing=shortened or not rest)


def test_there_are_commands_in_every_guide() -> None:
    """README, the two guides and CONTRIBUTING's siblings are really looked at: each has commands to check."""
    found = {param.id.split(":")[0] for param in CALLS}
    assert {"README.md", "docs/own-slides.md", "docs/cluster.md"} <= found


@pytest.mark.parametrize("call", CALLS)
def test_a_command_in_the_documentation_parses(call: list[str]) -> None:
    """Every command line on a page is one that its program accepts."""
    parse(call)


def test_an_option_that_does_not_exist_is_found() -> None:
    """The check would see a renamed option, a wrong value and a command that is gone."""
    for line in (
        "kdtrain teacher --shards s --out r --learning-rate 1",
        "kdtrain teacher --shards s --out r --epochs many",
        "slideprep pack slides",
        "srun python -m kdtrain teacher --shards s --out r --gpus 1",
    ):
        (call,) = program_calls(line)
        with pytest.raises(click.UsageError):
            parse(call)


def test_calls_behind_launchers_are_seen() -> None:
    """Behind torchrun, deepspeed, srun and &&, the program's own arguments begin after its name."""
    assert [
        list(program_calls(line))
        for line in (
            "torchrun --nproc-per-node 8 -m kdtrain teacher --out r",
            "deepspeed --num_gpus 8 --module kdtrain teacher --out r",
            "cd x && slideprep verify y",
            "ray stop",
        )
    ] == [
        [["kdtrain", "teacher", "--out", "r"]],
        [["kdtrain", "teacher", "--out", "r"]],
        [["slideprep", "verify", "y"]],
        [],
    ]


@pytest.mark.parametrize(
    "page", [page for page in pages() if page.name == "README.md"], ids=lambda p: str(Path(p).parent.name)
)
def test_scripts_that_a_page_names_exist(page: Path) -> None:
    """A Python script that a page tells to run is there."""
    for block in blocks(page):
        for line in command_lines(block):
            for word in line.split():
                if word.endswith(".py"):
                    assert (ROOT / word).is_file(), f"{page.name} names {word}"
