"""The command line: exit codes, messages, and what is left on disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import Result

from fixtures.build_inputs import SIDE_PX, write_labels, write_slides
from fixtures.commands import invoked
from fixtures.slides import picture, write_svs
from slideprep.cli.main import DONE, FAILED, SOME_FAILED, WRONG_USAGE, main

NAMES = [f"s{number}.png" for number in range(4)]
TINY = ("--tissue", "whole", "--objective", "20", "--magnifications", "10,5", "--workers", "0")


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """Four tiny slides."""
    return write_slides(tmp_path / "slides", NAMES)


def _run(*arguments: str | Path) -> Result:
    return invoked(main, *arguments)


def _build(slides: Path, *options: str | Path) -> Result:
    return _run("build-shards", slides, *TINY, "--out", slides.parent / "out", *options)


def _words(result: Result) -> str:
    """What was said, with every line break as a space."""
    return " ".join(result.output.split())


def _labels(slides: Path) -> Path:
    rows = [{"slide": name, "label": "ab"[n % 2], "patient": f"p{n}"} for n, name in enumerate(NAMES)]
    return write_labels(slides.parent / "labels.csv", rows)


def test_a_build_verifies(slides: Path) -> None:
    """Exit code 0 for the build and for verify, and the summary says how to look and check."""
    built = _build(slides, "--labels", _labels(slides), "--split", "2,0,2")
    assert built.exit_code == DONE
    assert "4 regions of 4 slides and 4 patients" in built.output
    assert "slideprep verify" in built.output
    verified = _run("verify", slides.parent / "out", "--workers", "1")
    assert verified.exit_code == DONE
    assert "no faults" in verified.output


def test_the_same_command_again_has_nothing_to_do(slides: Path) -> None:
    """A finished set is recognised, and no file of it changes."""
    _build(slides)
    files = [path for path in (slides.parent / "out").rglob("*") if path.is_file()]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
    again = _build(slides)
    assert (again.exit_code, "nothing to do" in _words(again)) == (DONE, True)
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files} == before


@pytest.mark.parametrize("damage", ["index.json", "failures.csv", "10x/aux1-000000.tar"])
def test_a_damaged_finished_set_is_completed(slides: Path, damage: str) -> None:
    """A file that is cut short or gone is made again, with the same bytes."""
    _build(slides)
    path = slides.parent / "out" / damage
    before = path.read_bytes()
    if damage == "failures.csv":
        path.unlink()
    else:
        path.write_bytes(before[: len(before) // 2])
    assert _build(slides).exit_code == DONE
    assert path.read_bytes() == before


def test_some_failed_is_exit_code_3(slides: Path) -> None:
    """A zero-byte slide is listed; the others are written; asking again says so and how to try again."""
    (slides / "broken.svs").touch()
    built = _build(slides)
    assert built.exit_code == SOME_FAILED
    assert re.search("1 (input|slide|region)s? .*failures.csv", _words(built))
    assert "broken.svs" in (slides.parent / "out" / "failures.csv").read_text()
    again = _build(slides)
    assert again.exit_code == SOME_FAILED
    assert "delete" in _words(again)


def test_nothing_usable_is_exit_code_1(tmp_path: Path) -> None:
    """Where no slide can be read there is no set; failures.csv says why."""
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "broken.svs").touch()
    built = _build(tmp_path / "slides")
    assert built.exit_code == FAILED
    assert "failures.csv" in _words(built)
    assert not (tmp_path / "out" / "index.json").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--quality", "101"], "--quality"),
        (["--magnifications", "10,7.77"], "simple ratios"),
        (["--labels", "none.csv"], "none.csv"),
        (["--config", "none.yaml"], "none.yaml"),
        (["--annotations", "folder"], "--tissue annotations"),
        (["--split", "1,2"], "--split 1,2"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_writes_nothing(slides: Path, options: list[str], words: str) -> None:
    """The message names the option; no folder is made."""
    built = _build(slides, *options)
    assert built.exit_code == WRONG_USAGE
    assert words in _words(built)
    assert [path.name for path in slides.parent.iterdir()] == ["slides"]


def test_missing_slides_are_wrong_usage(tmp_path: Path) -> None:
    """A path that does not exist, and no path at all."""
    missing = _build(tmp_path / "none")
    assert (missing.exit_code, "no such file or folder" in _words(missing)) == (WRONG_USAGE, True)
    assert _run("build-shards", "--out", tmp_path / "out").exit_code == WRONG_USAGE


def test_other_settings_are_refused_by_name(slides: Path) -> None:
    """A finished set is never mixed with another build; what differs is named, there and now."""
    _build(slides)
    other = _build(slides, "--seed", "7")
    assert other.exit_code == WRONG_USAGE
    assert "settings.seed: 0 there, 7 now" in _words(other)
    write_slides(slides, ["more.png"], side_px=SIDE_PX + 8)
    assert "slides.more.png" in _words(_build(slides))


def test_edited_annotations_are_refused(slides: Path) -> None:
    """Regions that were edited in place, even with as many bytes, are not taken for those of the finished set."""
    _build(slides, "--save-regions", slides.parent / "regions")
    out = (
        "--out",
        slides.parent / "annotated",
        "--tissue",
        "annotations",
        "--annotations",
        slides.parent / "regions",
    )
    assert _build(slides, *out).exit_code == DONE
    file = slides.parent / "regions" / "s0.png.geojson"
    file.write_text(file.read_text().replace("160", "150"))
    refused = _build(slides, *out)
    assert (refused.exit_code, "slides.s0.png" in _words(refused)) == (WRONG_USAGE, True)


def test_plan_shows_the_set_and_writes_nothing(slides: Path) -> None:
    """Counts, sizes and shards as estimated; the folder stays as it was."""
    labels = _labels(slides)
    planned = _run("plan", slides, *TINY, "--labels", labels, "--split", "2,0,2")
    assert planned.exit_code == DONE
    assert "shards: 2 test, 2 train" in _words(planned)
    assert "80 x 80" in planned.output
    assert sorted(path.name for path in slides.parent.iterdir()) == ["labels.csv", "slides"]


def test_options_may_come_from_a_file(slides: Path) -> None:
    """The YAML file's keys are the options' names; an option on the command line wins."""
    path = slides.parent / "build.yaml"
    path.write_text("image-format: png\nseed: 5\n")
    _build(slides, "--config", path, "--seed", "6")
    settings = json.loads((slides.parent / "out" / "index.json").read_bytes())["config"]
    assert (settings["image_format"], settings["seed"]) == ("png", 6)


def test_inspect_speaks_to_people_and_programs(tmp_path: Path) -> None:
    """Text by default; --json gives the same facts."""
    path = write_svs(tmp_path / "a.svs", picture(320, 256))
    assert "320 x 256 px" in _run("inspect", path).output
    assert json.loads(_run("inspect", path, "--json").output)["objective"] == 20


def test_inspect_tells_wrong_usage_from_a_broken_file(tmp_path: Path) -> None:
    """2 for a path that does not exist, 1 for a file that is no slide."""
    (tmp_path / "a.svs").touch()
    assert _run("inspect", tmp_path / "none.svs").exit_code == WRONG_USAGE
    broken = _run("inspect", tmp_path / "a.svs")
    assert (broken.exit_code, "error: " in broken.output) == (FAILED, True)


def test_verify_names_each_fault(slides: Path) -> None:
    """A byte changed in a tar is found and named; what is not a set is refused."""
    _build(slides)
    tar = slides.parent / "out" / "10x" / "aux1-000000.tar"
    data = bytearray(tar.read_bytes())
    data[-1] ^= 1
    tar.write_bytes(data)
    verified = _run("verify", slides.parent / "out", "--workers", "1")
    assert verified.exit_code == FAILED
    assert "F09 file-checksum" in verified.output
    assert _run("verify", slides.parent / "none").exit_code == WRONG_USAGE


def test_version_and_help() -> None:
    """Both answer, and help lists every command."""
    assert _run("--version").output.startswith("slideprep, version")
    text = _run("--help").output
    assert [command for command in ("build-shards", "plan", "inspect", "verify") if command not in text] == []
