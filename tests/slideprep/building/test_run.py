"""A build from a script: the command's bytes, its resumption, its refusals, and what it prints, which is nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import slideprep
from fixtures.build_inputs import MAGNIFICATIONS, config, write_slides
from slideprep import BuildConfig, UsageError
from slideprep.cli.main import SOME_FAILED, main

BROKEN = "broken.svs"


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """Three slides, one that is too small and one that is none."""
    folder = write_slides(tmp_path / "slides", ["a.png", "b.png", "c.png"])
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(folder / "small.png")
    (folder / BROKEN).write_bytes(b"no slide")
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    """Every file of a set and of its workspace."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_call_makes_the_bytes_of_the_command(
    slides: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Index, tables, page and tars are the same; the call prints nothing."""
    done = slideprep.build(
        BuildConfig(
            slides=[slides],
            out=tmp_path / "call" / "set",
            magnifications=MAGNIFICATIONS,
            tissue="whole",
            objective=20,
            workers=0,
        )
    )
    assert capfd.readouterr() == ("", "")
    by_command = tmp_path / "command" / "set"
    options = ["--magnifications", "10,5", "--tissue", "whole", "--objective", "20", "--workers", "0"]
    ended = CliRunner().invoke(main, ["build-shards", str(slides), "--out", str(by_command), *options])
    assert ended.exit_code == SOME_FAILED, ended.output
    assert _files(tmp_path / "call" / "set") == _files(by_command)
    assert slideprep.verify(by_command, workers=1).ok
    assert done.index["counts"]["slides"] == 3


def test_failures_are_in_the_result(slides: Path, tmp_path: Path) -> None:
    """What is wrong with a slide is no exception: the others are in the set."""
    done = slideprep.build(config(tmp_path / "out", slides))
    assert [(row.slide, row.region, row.stage) for row in done.failures] == [(BROKEN, None, "open")]
    assert [(row.slide, row.region, row.stage) for row in done.left_out] == [("small.png", 0, "layout")]
    assert (done.complete, done.already_finished, done.out) == (False, False, tmp_path / "out")


def test_a_second_call_finds_it_finished(slides: Path, tmp_path: Path) -> None:
    """Nothing is written, and the result is that of the first call; the command says so too."""
    settings = config(tmp_path / "out", slides)
    first = slideprep.build(settings)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    again = slideprep.build(settings)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert again.already_finished
    assert (again.index, again.failures, again.left_out) == (first.index, first.failures, first.left_out)


def test_an_edited_table_of_failures_is_read_as_far_as_it_goes(slides: Path, tmp_path: Path) -> None:
    """The set is finished all the same."""
    settings = config(tmp_path / "out", slides)
    slideprep.build(settings)
    (tmp_path / "out" / "failures.csv").write_text("slide,region\nx.svs,first\ny.svs\n")
    (tmp_path / "out" / "left_out.csv").unlink()
    again = slideprep.build(settings)
    assert [(row.slide, row.region, row.reason) for row in again.failures] == [
        ("x.svs", None, ""),
        ("y.svs", None, ""),
    ]
    assert (again.already_finished, again.left_out) == (True, ())


def test_another_build_is_refused(slides: Path, tmp_path: Path) -> None:
    """A folder keeps to the settings that it was begun with."""
    slideprep.build(config(tmp_path / "out", slides))
    with pytest.raises(UsageError, match="begun with other settings") as refused:
        slideprep.build(config(tmp_path / "out", slides, quality=60))
    assert "settings.quality: 95 there, 60 now" in str(refused.value)


def test_progress_is_what_the_command_shows(
    slides: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """On standard error, and only where it is asked for."""
    slideprep.build(config(tmp_path / "out", slides), progress=True)
    printed = capfd.readouterr()
    assert (printed.out, "slides found: 5, of these in a split: 5" in printed.err) == ("", True)


def test_failures_of_names_that_look_like_formulas_come_back(slides: Path, tmp_path: Path) -> None:
    """The second call reads them out of tables in which they have an apostrophe in front."""
    for name in ("=1+1.svs", "'=2.svs", "-x.svs", "@y.svs"):
        (slides / name).write_bytes(b"no slide")
    settings = config(tmp_path / "out", slides)
    first, again = slideprep.build(settings), slideprep.build(settings)
    assert again.already_finished
    assert again.failures == first.failures
    assert {"=1+1.svs", "'=2.svs", "-x.svs", "@y.svs"} < {failure.slide for failure in again.failures}
    assert again.left_out == first.left_out
