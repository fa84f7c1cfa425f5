"""What is printed: names of strangers steer neither the terminal nor rich."""

from __future__ import annotations

import io
import sys

import pytest
from click.testing import CliRunner
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from fixtures import strangers
from kdtrain.cli.main import main
from kdtrain.screen import console, say
from kdtrain.text import visible


def printed(*things: object) -> str:
    """What a console writes of things that are no terminal's."""
    screen = io.StringIO()
    drawn = console(file=screen, width=400)
    for thing in things:
        drawn.print(thing)
    return screen.getvalue()


@pytest.mark.parametrize("name", [*strangers.TERMINAL, *strangers.MARKUP])
def test_a_name_is_drawn_as_it_is(name: str) -> None:
    """As a text, as a line, and in a table's title, head and cells: every sign is there, and none is obeyed."""
    table = Table(title=name)
    table.add_column(name)
    table.add_row(name)
    drawn = printed(name, Text(name), table)
    assert not {c for c in drawn if not c.isprintable()} - {"\n"}
    # What rich strips is none that could be seen.
    stripped = visible(name.translate(dict.fromkeys((7, 8, 11, 12, 13))))
    assert drawn.count(" ".join(stripped.split())) >= 3 or "\n" in name or "\u2028" in name


def test_a_bar_draws_names_as_they_are() -> None:
    """On a terminal, where rich itself writes control codes: the name's are spelled out."""
    screen = io.StringIO()
    drawn = console(file=screen, force_terminal=True, width=200, color_system=None)
    with Progress(TextColumn("{task.description}", markup=False), console=drawn) as progress:
        progress.add_task("\x1b[2J[red]a.svs")
    assert r"\u001b[2J[red" in screen.getvalue()
    assert "\x1b[2J" not in screen.getvalue()


def test_a_line_is_said_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """To either stream."""
    say("a\x1b[2J\nb")
    say("c\x9b", err=True)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("a\\u001b[2J\nb\n", "c\\u009b\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "absent\x1b[2J", "a.svs"),
        ("predict", "absent", "a.svs", "--tissue", "\x1b[2J"),
        ("predict", "absent", "--\x1b[2J"),
        ("\x1b[2J",),
        ("teacher", "--shards", "\x1b[2J", "--out", "o"),
        ("teacher", "--shards", "s", "--out", "o", "--lr", "\x1b[2J"),
        ("sweep", "\x1b[2J.yaml"),
        ("report", "\x1b[2J", "--out", "r.html"),
        ("compare", "\x1b[2J", "b"),
        ("evaluate", "\x1b[2J", "--shards", "s"),
        ("export", "\x1b[2J", "--out", "o"),
    ],
    ids=range(11),
)
def test_no_error_prints_what_a_terminal_obeys(arguments: tuple[str, ...]) -> None:
    """A name that a glob typed, in every command's refusal, click's own among them."""
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2 and r"\u001b[2J" in done.stderr.replace("\\x1b", "\\u001b")
    assert "\x1b" not in done.output


def test_a_screen_that_lacks_a_sign_gets_it_spelled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of ASCII takes a name of any script, and the command goes on."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    console(width=80).print("µ-студ")
    stream.flush()
    assert stream.buffer.getvalue().endswith(b"\\xb5-\\u0441\\u0442\\u0443\\u0434\n")  # type: ignore[attr-defined]
