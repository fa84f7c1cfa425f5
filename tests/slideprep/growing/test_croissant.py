"""A set described for catalogues: valid by Croissant's own library, read back by it, and true after every change."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image

from fixtures.build_inputs import write_labels
from fixtures.commands import invoked
from fixtures.slides import picture
from fixtures.tars import members
from slideprep.cli.main import main
from slideprep.shards.verify.verify import verify

TINY = ("--tissue", "whole", "--objective", "20", "--magnifications", "10,5", "--workers", "0")
ROWS = [
    {"slide": "s0.png", "label": "NA", "patient": "Adalbert", "split": "train"},
    {"slide": "s1.png", "label": "01", "patient": "Bea", "split": "train"},
    {"slide": "s2.png", "label": "NA", "patient": "Cleopatra", "split": "test"},
]
"""Classes that a reader of tables takes for a gap and for a number."""
SAID = {
    "name": "Lungs",
    "license": "CC-BY-4.0",
    "cite": "Ä. Doe, 2026",
    "url": "https://example.org/lungs",
    "published": "2026-11-30",
}
OPTIONS = [part for name, value in SAID.items() for part in (f"--{name}", value)]


def run(*arguments: str | Path) -> Result:
    """Run slideprep in this process."""
    return invoked(main, *arguments)


def slide(folder: Path, name: str, side_px: int) -> None:
    """A slide."""
    folder.mkdir(exist_ok=True)
    Image.fromarray(picture(side_px, side_px)).save(folder / name)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``out``, a set of three labelled slides and one without a label, described."""
    folder = tmp_path_factory.mktemp("built")
    for number, name in enumerate(["s0.png", "s1.png", "s2.png", "u0.png"]):
        slide(folder / "old", name, 128 + 16 * number)
    slide(folder / "new", "n0.png", 192)
    labels = write_labels(folder / "labels.csv", ROWS)
    result = run("build-shards", folder / "old", "--labels", labels, *TINY, "--out", folder / "out")
    assert result.exit_code == 0, result.output
    result = run("croissant", folder / "out", *OPTIONS)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    shutil.copytree(built, tmp_path / "set")
    return tmp_path / "set"


def document(folder: Path) -> dict[str, Any]:
    """croissant.json."""
    loaded: dict[str, Any] = json.loads((folder / "out" / "croissant.json").read_text())
    return loaded


def samples(folder: Path) -> dict[str, dict[str, str | None]]:
    """samples.json, by slide."""
    rows = json.loads((folder / "out" / "samples.json").read_text())
    return {row["slide"]: row for row in rows}


def assert_true(folder: Path) -> None:
    """Every file that it names is there, with its size and checksum, and the set has no fault."""
    out = folder / "out"
    assert verify(out).ok
    named = [part for part in document(folder)["distribution"] if part["@type"] == "cr:FileObject"]
    for part in named:
        data = (out / part["contentUrl"]).read_bytes()
        assert (part["contentSize"], part["sha256"]) == (f"{len(data)} B", hashlib.sha256(data).hexdigest())
    tars = {path.relative_to(out).as_posix() for path in out.rglob("*.tar")}
    assert {part["contentUrl"] for part in named} == tars | {"index.json", "samples.json"}


def test_croissants_own_library_finds_nothing_and_reads_every_sample(built: Path, tmp_path: Path) -> None:
    """No error, no warning; image, label and split of each magnification are those of the tars."""
    os.environ["CROISSANT_CACHE"] = str(tmp_path)  # read when it is imported, which nobody else does
    import mlcroissant

    out = built / "out"
    dataset = mlcroissant.Dataset(jsonld=str(out / "croissant.json"))
    assert (dataset.metadata.ctx.issues.errors, dataset.metadata.ctx.issues.warnings) == (set(), set())
    for magnification, unit_px in (("10x", 8), ("5x", 4)):
        stored = {
            name: data for tar in (out / magnification).glob("*.tar") for name, data in members(tar).items()
        }
        found = {}
        for record in dataset.records(magnification):
            plain = {name.partition("/")[2]: value for name, value in record.items()}
            key, image = plain["key"].decode(), plain["image"]
            assert image.tobytes() == Image.open(io.BytesIO(stored[f"{key}.jpg"])).tobytes()
            label = None if plain["label"] is None else plain["label"].decode()
            found[plain["slide"].decode()] = (plain["split"].decode(), label, image.width)
        assert found == {
            "s0.png": ("train", "NA", 8 * unit_px),
            "s1.png": ("train", "01", 9 * unit_px),
            "s2.png": ("test", "NA", 10 * unit_px),
            "u0.png": ("aux1", None, 11 * unit_px),
        }
    assert [record["classes/name"] for record in dataset.records("classes")] == ["01", "NA"]


def test_a_set_without_labels_is_valid(tmp_path: Path) -> None:
    """It has no classes, and Croissant allows no empty list of them."""
    os.environ["CROISSANT_CACHE"] = str(
        tmp_path / "cache"
    )  # read when it is imported, which nobody else does
    import mlcroissant

    slide(tmp_path / "old", "u0.png", 128)
    assert run("build-shards", tmp_path / "old", *TINY, "--out", tmp_path / "out").exit_code == 0
    assert run("croissant", tmp_path / "out", *OPTIONS).exit_code == 0
    dataset = mlcroissant.Dataset(jsonld=str(tmp_path / "out" / "croissant.json"))
    assert (dataset.metadata.ctx.issues.errors, dataset.metadata.ctx.issues.warnings) == (set(), set())
    assert [record["5x/label"] for record in dataset.records("5x")] == [None]


def test_what_the_owner_says_stands_in_the_words_of_croissant(built: Path) -> None:
    """Licence as a URL of SPDX, citation and date as given, a version and a description by default."""
    said = document(built)
    assert said["name"] == "Lungs"
    assert said["license"] == "https://spdx.org/licenses/CC-BY-4.0.html"
    assert (said["citeAs"], said["datePublished"]) == ("Ä. Doe, 2026", "2026-11-30")
    assert said["version"] == "1.0.0"
    assert "at 10x, 5x" in said["description"]


def test_a_set_that_changes_stays_true_and_keeps_what_was_said(folder: Path) -> None:
    """A slide added, a patient removed, a label changed: files, samples and words fit, and no trace is left."""
    assert_true(folder)
    path = folder / "out" / "croissant.json"
    path.write_text(json.dumps({**document(folder), "keywords": ["lung"]}))
    changes = (
        ("add-slides", folder / "out", folder / "new", "--workers", "0"),
        ("remove-slides", folder / "out", "--patient", "Adalbert"),
        (
            "relabel",
            folder / "out",
            "--labels",
            write_labels(folder / "again.csv", [ROWS[2] | {"label": "01"}]),
        ),
    )
    for change in changes:
        result = run(*change)
        assert result.exit_code == 0, result.output
        assert_true(folder)
    found = samples(folder)
    assert sorted(found) == ["n0.png", "s1.png", "s2.png", "u0.png"]
    assert (found["n0.png"]["split"], found["s2.png"]["label"]) == ("aux2_added", "01")
    assert b"Adalbert" not in (folder / "out" / "samples.json").read_bytes() + path.read_bytes()
    assert (document(folder)["keywords"], document(folder)["name"]) == (["lung"], "Lungs")


def test_said_again_only_what_is_given_changes(folder: Path) -> None:
    """Another version, and the rest stays; what nobody said is named."""
    before = document(folder)
    result = run("croissant", folder / "out", "--version", "1.1.0")
    assert result.exit_code == 0, result.output
    assert document(folder) == before | {"version": "1.1.0"}
    (folder / "out" / "croissant.json").unlink()
    result = run("croissant", folder / "out", "--cite", "Doe")
    assert "nothing is said yet of datePublished, license, url" in result.output
    assert document(folder)["name"] == "out"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--license", "free for all"), "neither an SPDX identifier"),
        (("--url", "example.org"), "is no URL"),
        (("--published", "yesterday"), "is no date"),
        (("--cite", " "), "--cite is empty"),
        (("--license", ""), "--license is empty"),
    ],
)
def test_an_option_that_is_none_is_refused(folder: Path, options: tuple[str, ...], message: str) -> None:
    """Exit code 2, and croissant.json as it was."""
    before = document(folder)
    result = run("croissant", folder / "out", *options)
    assert (result.exit_code, message in " ".join(result.output.split())) == (2, True), result.output
    assert document(folder) == before


@pytest.mark.parametrize("content", ["{", "[]", '{"name": "x"}'])
def test_a_damaged_description_is_not_lost_over_a_change(folder: Path, content: str) -> None:
    """Neither the command nor a change writes over what it cannot read; the set stays as it was."""
    (folder / "out" / "croissant.json").write_text(content)
    index = (folder / "out" / "index.json").read_bytes()
    for command in (("croissant",), ("remove-slides", "--patient", "Bea")):
        result = run(command[0], folder / "out", *command[1:])
        assert result.exit_code == 2
        assert "is no description of a dataset" in " ".join(result.output.split())
    assert (folder / "out" / "croissant.json").read_text() == content
    assert (folder / "out" / "index.json").read_bytes() == index


def test_a_folder_that_is_no_set_is_refused(tmp_path: Path) -> None:
    """It says what it is instead, and nothing is written."""
    result = run("croissant", tmp_path)
    assert result.exit_code == 2
    assert "holds no finished shard set" in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []
