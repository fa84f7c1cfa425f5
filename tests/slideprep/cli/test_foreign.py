"""What a command says of options that a message names and it does not have."""

from __future__ import annotations

from collections.abc import Callable

import click
import pytest

from slideprep.cli.foreign import about_options
from slideprep.cli.main import main


@pytest.fixture
def told() -> Callable[[str, str], str | None]:
    """What a command adds to a message."""

    def ask(command: str, message: str) -> str | None:
        with click.Context(main) as root, click.Context(main.commands[command], root, info_name=command):
            return about_options(message)

    return ask


def test_options_of_another_command_are_named(told: Callable[[str, str], str | None]) -> None:
    """add-slides has no --mpp and inspect no --tissue; where else they are is said, and what to do instead."""
    assert told("add-slides", "pass --objective 20 (or --mpp 0.5)") == (
        "(--objective and --mpp are options of build-shards, not of add-slides: a set keeps the settings of its build, "
        "and labels.csv has columns for one slide's mpp and objective)"
    )
    assert told("inspect", "pass --mpp 0.5 or use --magnification-by mpp") == (
        "(--magnification-by is an option of build-shards, not of inspect)"
    )


@pytest.mark.parametrize("command", sorted(main.commands))
def test_own_options_need_no_word(command: str, told: Callable[[str, str], str | None]) -> None:
    """Whatever option of its own a message names, nothing is added."""
    with click.Context(main.commands[command]) as context:
        options = [
            option for p in main.commands[command].get_params(context) for option in p.opts if "--" in option
        ]
    assert told(command, "give " + ", ".join(options)) is None


def test_what_only_looks_like_an_option_is_none(told: Callable[[str, str], str | None]) -> None:
    """File names and tars are no options."""
    assert told("verify", "10x/train--x.tar, a--mpp and /tmp/--mpp are names") is None


def test_outside_of_a_command_there_is_nothing_to_say() -> None:
    """A script that calls the same functions has no options."""
    assert about_options("pass --mpp 0.5") is None
