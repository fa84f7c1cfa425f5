"""Slides of any names, through every command: built, verified, added, relabelled, inspected; nothing raw is printed."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fixtures.build_inputs import write_labels, write_slides
from slideprep.cli.main import main
from slideprep.shards.verify.verify import verify
from slideprep.text import csv_value
from slideprep.tissue.annotation_files import regions_geojson
from slideprep.units import Box

TINY = ("--tissue", "whole", "--objective", "20", "--magnifications", "10,5", "--workers", "0")
LATIN = os.fsdecode(b"latin\xe9.png")
"""As an old system wrote it."""
NAMES = {
    LATIN: "latin\\xe9.png",
    "new\nline\ttab.png": "new\\x0aline\\x09tab.png",
    "\x1b]0;title\x07\x1b[31mred.png": "\\x1b]0;title\\x07\\x1b[31mred.png",
    "right\u202eto left.png": "right\\u202eto left.png",
    "=1+1.png": "=1+1.png",
    "@sum.png": "@sum.png",
    "-dash.png": "-dash.png",
    "+plus [bold]x.png": "+plus [bold]x.png",
    "a 'q\"uote'.png": "a 'q\"uote'.png",
    "\U0001f52c.png": "\U0001f52c.png",
    "x" * 251 + ".png": "x" * 251 + ".png",
}
"""Name on disk and name as it is shown."""


def run(*arguments: str | Path) -> Result:
    """Run slideprep in this process; what it does not handle is raised here."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def assert_plain(text: str) -> None:
    """Nothing in it moves a cursor or turns the writing around, and it can be written as UTF-8."""
    assert not [sign for sign in text if (ord(sign) < 32 and sign not in "\n\r") or sign in "\x7f\x9b\u202e"]
    text.encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of slides of such names, in two splits, one of them broken, with a label each."""
    folder = tmp_path_factory.mktemp("names")
    write_slides(folder / "slides", list(NAMES))
    (folder / "slides" / os.fsdecode(b"brok\xe9n.svs")).write_bytes(b"no slide")
    rows = [
        {
            "slide": shown,
            "label": "=a" if n % 2 else "b",
            "patient": f"={n}",
            "split": "train" if n % 3 else "test",
        }
        for n, shown in enumerate(NAMES.values())
    ]
    write_labels(folder / "labels.csv", rows)
    options = ("--save-regions", folder / "regions", "--labels", folder / "labels.csv")
    built = run("build-shards", folder / "slides", *options, *TINY, "--out", folder / "out")
    assert built.exit_code == 3, built.output
    assert_plain(built.output)
    assert "brok\\xe9n.svs" in built.output
    return folder


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a table as they stand in it."""
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))


def test_every_slide_is_in_the_set_under_its_readable_name(folder: Path) -> None:
    """The set verifies; slides.csv, the records and the page hold the names as they are shown, and UTF-8 alone."""
    assert verify(folder / "out").ok
    rows = table(folder / "out" / "slides.csv")
    assert {csv_value(row["slide"]) for row in rows if row["regions"] == "1"} == set(NAMES.values())
    for file in ("preview.html", "index.json", "failures.csv", "left_out.csv", "splits.csv"):
        (folder / "out" / file).read_text(encoding="utf-8")


def test_no_cell_of_any_table_is_a_formula(folder: Path) -> None:
    """Names, patients and classes that begin with = + - @ have an apostrophe in front, numbers have none."""
    for file in ("slides.csv", "failures.csv", "left_out.csv", "splits.csv"):
        for row in table(folder / "out" / file):
            assert not [cell for cell in row.values() if cell[:1] in set("=+-@\t")], row
    (row,) = [row for row in table(folder / "out" / "slides.csv") if row["slide"] == "'=1+1.png"]
    assert (row["patient"], row["width"]) == ("'=4", "160")


def test_slides_csv_can_be_given_back_as_labels(folder: Path, tmp_path: Path) -> None:
    """Our reader takes the apostrophes and the escapes of our tables: relabel finds every slide with its label."""
    kept = (folder / "out" / "index.json").read_bytes()
    result = run("relabel", folder / "out", "--labels", folder / "out" / "slides.csv")
    assert result.exit_code == 0, result.output
    assert "every slide has the label of the table already" in " ".join(result.output.split())
    assert (folder / "out" / "index.json").read_bytes() == kept


def test_saved_regions_are_found_as_annotations(folder: Path, tmp_path: Path) -> None:
    """What --save-regions writes for a slide of any name is found for it; the plan lists all of them."""
    options = ("--tissue", "annotations", "--annotations", folder / "regions", *TINY[2:])
    result = run("plan", folder / "slides", *options)
    assert f"slides found: {len(NAMES) + 1}, of these in a split: {len(NAMES)} " in " ".join(
        result.output.split()
    )
    assert_plain(result.output)


@pytest.mark.parametrize("name", list(NAMES)[:4])
def test_inspect_shows_a_slide_of_any_name(name: str, folder: Path) -> None:
    """As text and as JSON the name is the one that is shown everywhere."""
    text = run("inspect", folder / "slides" / name, "--objective", "20")
    assert text.exit_code == 0
    assert_plain(text.output)
    facts = run("inspect", folder / "slides" / name, "--objective", "20", "--json")
    assert json.loads(facts.output)["slide"] == NAMES[name]


def test_add_slides_and_a_list_of_them(folder: Path, tmp_path: Path) -> None:
    """A CSV may list a slide as our tables write it; those that the set holds are passed over."""
    listed = folder / "slides" / "list.csv"
    listed.write_text("path\nlatin\\xe9.png\n'=1+1.png\n", encoding="utf-8")
    result = run("add-slides", folder / "out", listed, "--workers", "0")
    assert result.exit_code == 0
    assert "2 slides are in the set already, the same files" in " ".join(result.output.split())


@pytest.mark.parametrize("pair", [("n\u00e9.png", "ne\u0301.png"), ("x\\xe9.png", "x\udce9.png")])
def test_two_names_that_would_be_one_are_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    """Accents in two codings, and an escape beside the byte that it stands for, would give two slides one key."""
    result = run("plan", write_slides(tmp_path / "twins", pair), *TINY)
    assert result.exit_code == 2
    assert "different slides have the same name" in result.output
    assert_plain(result.output)


def test_a_folder_of_such_a_name_can_hold_a_set(folder: Path, tmp_path: Path) -> None:
    """The messages show its name, and a file in it that nobody asked for is told of by verify."""
    out = tmp_path / os.fsdecode(b"s\xe9t\x1b[31m")
    slides = write_slides(tmp_path / "more", ["a.png"])
    assert_plain((built := run("build-shards", slides, *TINY, "--out", out)).output)
    assert built.exit_code == 0
    (out / os.fsdecode(b"f\xf6reign\x1b[0m")).touch()
    report = run("verify", out)
    assert_plain(report.output)
    assert "F10 foreign-file: f\\xf6reign\\x1b[0m" in report.output
    assert "1 fault (" in report.output


def test_a_terminal_without_the_signs_gets_escapes(folder: Path) -> None:
    """In plain ASCII, twelve columns wide, a table is cut with a sign that is not there: nothing ends by that."""
    runner = CliRunner(charset="ascii", env={"COLUMNS": "12"})
    options = (*TINY, "--labels", folder / "labels.csv")
    result = runner.invoke(main, ["plan", *map(str, (folder / "slides", *options))], catch_exceptions=False)
    assert result.exit_code == 3
    assert result.stdout_bytes.isascii()


def test_a_slide_is_removed_by_its_bytes_or_as_it_is_shown(folder: Path, tmp_path: Path) -> None:
    """What a shell completes and what slides.csv says name the same slide."""
    for number, name in enumerate((LATIN, NAMES[LATIN], "=1+1.png")):
        copy = tmp_path / str(number)
        shutil.copytree(folder / "out", copy)
        result = run("remove-slides", copy, "--", name)
        assert result.exit_code == 0, result.output
        assert NAMES.get(name, name) not in {csv_value(row["slide"]) for row in table(copy / "slides.csv")}


def test_a_class_that_cannot_be_shown_is_not_added(folder: Path, tmp_path: Path) -> None:
    """It would end the change at the index."""
    result = run("relabel", folder / "out", "--labels", folder / "labels.csv", "--add-class", "c\udce9")
    assert result.exit_code == 2
    assert "--add-class 'c\\xe9' is empty or holds what cannot be shown" in " ".join(result.output.split())


def test_an_outline_of_a_file_of_any_name_is_kept(folder: Path, tmp_path: Path) -> None:
    """--mask-outside keeps outlines with the file that they came from, in a record that is UTF-8."""
    slides = write_slides(tmp_path / "slides", [LATIN])
    drawn = json.dumps(regions_geojson([(Box(x=0, y=0, width=140, height=140), "a", "x\udce9")]))
    (tmp_path / os.fsdecode(b"latin\xe9.geojson")).write_text(drawn)
    options = ("--tissue", "annotations", "--annotations", tmp_path, "--mask-outside", *TINY[2:])
    built = run("build-shards", slides, *options, "--out", tmp_path / "out")
    assert built.exit_code == 0, built.output
    assert verify(tmp_path / "out").ok


@pytest.mark.parametrize(
    "arguments", [("inspect", "a", "b\x1b[31m\udce9"), ("inspect", "--x\x1b[31m"), ("\x1b[31m",)]
)
def test_arguments_that_are_refused_are_shown_plainly(arguments: tuple[str, ...]) -> None:
    """A shell puts every file name of a folder behind a command; what is refused of them moves no cursor."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert_plain(result.output)
    assert "\\x1b[31m" in result.output
