"""docs/errors.md is what the source says, and holds what a person really sees."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from docs.pages import DOCS, PROGRAMS


@pytest.fixture(scope="module")
def make_errors() -> Iterator[ModuleType]:
    """The script that writes the page."""
    sys.path.insert(0, str(DOCS))
    try:
        spec = importlib.util.spec_from_file_location("make_errors", DOCS / "make_errors.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["make_errors"] = module
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(DOCS))


def test_the_page_is_up_to_date(make_errors: ModuleType) -> None:
    """Whoever changes a message makes the page again."""
    stale = make_errors.PAGE.read_text(encoding="utf-8") != make_errors.page()
    assert not stale, f"docs/errors.md is stale: run '{make_errors.COMMAND}'"


def test_messages_are_found_by_following_the_code(make_errors: ModuleType, tmp_path: Path) -> None:
    """Branches, helpers and constants are followed; what varies is a hole."""
    folder = tmp_path / "slideprep" / "src" / "slideprep"
    folder.mkdir(parents=True)
    (tmp_path / "kdtrain" / "src").mkdir(parents=True)
    (folder / "one.py").write_text(
        '"""A module."""\n'
        "LIMIT = 7\n"
        "class UsageError(Exception): ...\n"
        "def check(path, n):\n"
        "    if n > LIMIT:\n"
        "        reason = f'{n} is over {LIMIT}'\n"
        "    else:\n"
        "        reason = 'there is nothing'\n"
        "    raise _refused(path, reason)\n"
        "def _refused(path, reason):\n"
        "    return UsageError(f'{path}: {reason}; choose ' + 'another')\n"
    )
    found = [(message.section, message.text) for message in make_errors.collect(tmp_path)]
    assert found == [
        (make_errors.USAGE, "<path>: <n> is over 7; choose another"),
        (make_errors.USAGE, "<path>: there is nothing; choose another"),
    ]


def test_an_error_that_nobody_placed_is_refused(make_errors: ModuleType, tmp_path: Path) -> None:
    """A new kind of exception needs an exit code before it gets onto the page."""
    folder = tmp_path / "kdtrain" / "src" / "kdtrain"
    folder.mkdir(parents=True)
    (folder / "one.py").write_text("class OddError(Exception): ...\n")
    with pytest.raises(SystemExit, match="OddError"):
        make_errors.error_sections(tmp_path)


def _run(program: str, *arguments: str) -> Any:
    main = importlib.import_module(f"{program}.cli").main
    return CliRunner().invoke(main, [*arguments])


def is_listed(said: str, page: str) -> bool:
    """Whether one of the page's messages, its holes filled, is what was said."""
    templates = re.findall(r"^- `+ ?(.+?) ?`+$", page, flags=re.MULTILINE)
    patterns = (".*".join(map(re.escape, re.split(r"<[^<>]*>", template))) for template in templates)
    return any(re.fullmatch(pattern, said) for pattern in patterns)


MISTAKES = (
    ("slideprep build-shards nowhere --out out", 2),
    ("slideprep build-shards . --out out --aux 5,3", 2),
    ("slideprep verify nowhere", 2),
    ("kdtrain teacher --shards nowhere --out run", 2),
    ("kdtrain teacher --shards . --out run", 1),
    ("kdtrain teacher --shards . --out run --epochs 0", 2),
    ("kdtrain evaluate . --shards .", 2),
    ("kdtrain compare . .", 2),
)


@pytest.mark.parametrize(("command", "code"), MISTAKES)
def test_a_mistake_made_on_purpose_is_on_the_page(
    command: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a program prints for a mistake is a message of the page, under its exit code."""
    monkeypatch.chdir(tmp_path)
    program, *arguments = command.split()
    assert program in PROGRAMS
    result = _run(program, *arguments)
    said = " ".join(result.output.split()).partition("error: ")[2]
    assert result.exit_code == code, said
    sections = (DOCS / "errors.md").read_text(encoding="utf-8").split("\n## ")
    (listed,) = [text for text in sections if text.startswith(f"Exit code {code}")]
    assert is_listed(said, listed), said


QUOTES = re.findall(
    r"^> `(.+)`$", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), flags=re.MULTILINE
)


def test_troubleshooting_quotes_messages() -> None:
    """There are quotations to check."""
    assert len(QUOTES) > 20


@pytest.mark.parametrize("quote", QUOTES, ids=lambda quote: quote[:50])
def test_troubleshooting_quotes_what_is_printed(quote: str) -> None:
    """A message that the page on trouble quotes is one that a program can print, to the letter."""
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    assert is_listed(quote.removeprefix("warning: "), page)


def test_a_shard_error_reads_as_on_the_page(make_errors: ModuleType) -> None:
    """The script puts a ShardError together as the class itself does."""
    from kdtrain.shards.error import VERIFY, ShardError

    assert make_errors.VERIFY == VERIFY
    given = {
        name: (text,)
        for name, text in {"0": "F07 file-present", "1": "P", "2": "it is gone", "member": "k"}.items()
    }
    site = make_errors.Site(module="m", line=1, kind="ShardError", arguments=given)
    ((_, text),) = make_errors._shard_texts(site)
    real = str(ShardError("F07 file-present", "P", "it is gone", member="k"))
    assert text == real.replace("P, 'k'", "<path>, <member>")
