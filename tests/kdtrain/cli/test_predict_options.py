"""Numbers that ``kdtrain predict`` is told: each has a range, and what lies outside is refused before any work."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from kdtrain.cli.main import main
from kdtrain.cli.predict import predict_command

NUMBERS = [
    option
    for option in predict_command.params
    if isinstance(option, click.Option) and isinstance(option.type, click.IntRange | click.FloatRange)
]


def refusals() -> Iterator[tuple[str, str]]:
    """Every numeric option with what no number of its kind may be."""
    for option in NUMBERS:
        assert isinstance(option.type, click.IntRange | click.FloatRange)
        zero = ["0"] if option.type.min_open else []
        for value in ("nan", "inf", "-inf", "-1", "-0.5", "1e300", "9" * 400, "", "x", *zero):
            yield option.opts[0], value


def test_every_number_has_a_range() -> None:
    """The options are those of the command's help, and none is a bare number."""
    assert {option.opts[0] for option in NUMBERS} == {
        *("--objective", "--mpp", "--occlusion-passes", "--display-magnification", "--page-mb", "--workers"),
        *("--start-seconds", "--slide-minutes"),
    }
    bare = [each.name for each in predict_command.params if each.type in (click.INT, click.FLOAT)]
    assert bare == []
    assert all(option.type.max is not None for option in NUMBERS)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", ["evaluate", "compare", "features", "report", "sweep", "export"])
def test_no_command_takes_a_number_without_end(command: str) -> None:
    """Numbers of the other commands have ends, too, and none takes what is no number."""
    numbers = [
        each
        for each in main.commands[command].params
        if isinstance(each.type, click.IntRange | click.FloatRange)
    ]
    assert all(each.type.max is not None for each in numbers)  # type: ignore[attr-defined]
    assert not [each.name for each in main.commands[command].params if each.type in (click.INT, click.FLOAT)]
    for each in numbers:
        done = CliRunner().invoke(main, [command, "absent", each.opts[0], "nan"])
        assert done.exit_code == 2
        assert f"Invalid value for '{each.opts[0]}'" in done.stderr


@pytest.mark.parametrize(("option", "value"), list(refusals()))
def test_what_is_no_such_number_is_refused(option: str, value: str) -> None:
    """With the option's name, the range or the kind, and exit code 2; the bundle is not looked for."""
    done = CliRunner().invoke(main, ["predict", "absent", "a.svs", option, value])
    assert done.exit_code == 2
    assert f"Invalid value for '{option}'" in done.stderr
    assert "range" in done.stderr or "is not a valid" in done.stderr
    assert len(done.stderr) < 700
