"""labels-from-tcga and labels-from-camelyon16: what is said, what is written, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fixtures.build_inputs import write_slides
from fixtures.commands import Run, run_of
from fixtures.tcga import rows_by_hand, write_clinical, write_manifest
from slideprep.cli.main import DONE, WRONG_USAGE, main
from slideprep.labels.match import match_labels
from slideprep.labels.table import read_labels
from slideprep.slides.discover import look_for_slides


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where labels.csv is to be."""
    return tmp_path / "out" / "labels.csv"


def tcga(out: Path, *arguments: object) -> Run:
    """Run labels-from-tcga."""
    return run_of(main, "labels-from-tcga", *arguments, "--out", out)


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with path.open(newline="") as table:
        return list(csv.DictReader(table))


def test_a_manifest_becomes_labels_and_a_list_of_the_others(tmp_path: Path, out: Path) -> None:
    """The rows are those made by hand; numbers of classes and reasons are on the screen, and both files are named."""
    run = tcga(
        out, write_manifest(tmp_path), "--clinical", write_clinical(tmp_path), "--label", "primary_diagnosis"
    )
    assert run.code == DONE
    assert rows(out) == rows_by_hand()
    left_out = out.with_name("labels.left_out.csv")
    assert len(rows(left_out)) == 24
    for words in (
        "Adenocarcinoma, NOS 5 7",
        "4 sample type 11 Solid Tissue Normal is not taken (--samples)",
        "'squamous cell carcinoma, nos': taken for one",
        f"labels {out}: 16 slides of 11 patients",
        f"left out {left_out}: 24 files",
        f"gdc-client download -m {out.with_name('labels.manifest.txt')} -d slides",
    ):
        assert words in run.said


def test_a_folder_is_searched_as_a_build_searches(tmp_path: Path, out: Path) -> None:
    """Subfolders of gdc-client, its logs passed over; an unfinished download is said; the class is the folder's."""
    slides = tmp_path / "slides"
    for number, name in enumerate(
        ("TCGA-AA-0001-01Z-00-DX1.svs", "TCGA-AA-0002-11A-01-TS1.svs", "other.svs")
    ):
        (slides / str(number) / "logs").mkdir(parents=True)
        (slides / str(number) / name).touch()
        (slides / str(number) / "logs" / f"{name}.parcel").touch()
    (slides / "0" / "TCGA-AA-0003-01Z-00-DX1.svs.partial").touch()
    run = tcga(out, f"LUAD={slides}", "--samples", "01,11", "--kinds", "all")
    assert run.code == DONE
    assert [(row["slide"], row["label"]) for row in rows(out)] == [
        ("../slides/0/TCGA-AA-0001-01Z-00-DX1.svs", "LUAD"),
        ("../slides/1/TCGA-AA-0002-11A-01-TS1.svs", "normal"),
    ]
    assert "1 download in" in run.said
    assert f"slideprep build-shards {out} --labels {out}" in run.said
    assert "1 its name is not that of a TCGA slide" in run.said


def test_a_build_of_labels_csv_reads_the_slides_that_have_a_row_and_no_other(tmp_path: Path) -> None:
    """A frozen slide in the same folder does not come back as a patient of its own; links go by their own names."""
    names = ["TCGA-AA-0001-01Z-00-DX1.png", "TCGA-AA-0001-01A-01-TS1.png", "TCGA-AA-0002-01Z-00-DX1.png"]
    write_slides(tmp_path / "slides", names)
    (tmp_path / "slides" / names[2]).rename(tmp_path / "object")
    (tmp_path / "slides" / names[2]).symlink_to(tmp_path / "object")
    labels = tmp_path / "labels.csv"
    assert tcga(labels, f"LUAD={tmp_path / 'slides'}").code == DONE
    found = look_for_slides([labels]).slides
    assert [slide.name for slide in found] == [names[0], names[2]]
    entries = match_labels(read_labels(labels), [slide.name for slide in found]).entries
    assert [(entry.patient, entry.label) for entry in entries] == [
        ("TCGA-AA-0001", "LUAD"),
        ("TCGA-AA-0002", "LUAD"),
    ]


def test_slides_may_be_named_themselves_and_a_class_must_be_one(tmp_path: Path, out: Path) -> None:
    """As a shell's wildcard does; a slide in the folders of two classes is of neither."""
    for place in (
        "a/TCGA-AA-0001-01Z-00-DX1.svs",
        "a/TCGA-AA-0002-01Z-00-DX1.svs",
        "b/TCGA-AA-0001-01Z-00-DX1.svs",
    ):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
    assert tcga(out, *sorted((tmp_path / "a").iterdir())).code == DONE
    assert [row["slide"] for row in rows(out)] == [
        "../a/TCGA-AA-0001-01Z-00-DX1.svs",
        "../a/TCGA-AA-0002-01Z-00-DX1.svs",
    ]
    run = tcga(out, f"LUAD={tmp_path / 'a'}", f"LUSC={tmp_path / 'b'}", "--overwrite")
    assert [row["patient"] for row in rows(out)] == ["TCGA-AA-0002"]
    assert "2 its sources are of different classes" in run.said


def test_paths_are_right_where_labels_are_written_through_a_link(tmp_path: Path) -> None:
    """A folder above, in a path, is the one above where the link leads."""
    write_slides(tmp_path / "slides", ["TCGA-AA-0001-01Z-00-DX1.png"])
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    assert tcga(tmp_path / "link" / "labels.csv", f"LUAD={tmp_path / 'slides'}").code == DONE
    assert [slide.name for slide in look_for_slides([tmp_path / "link" / "labels.csv"]).slides] == [
        "TCGA-AA-0001-01Z-00-DX1.png"
    ]


def test_after_the_download_manifest_and_folder_go_together(tmp_path: Path, out: Path) -> None:
    """What is there is named by its path, and once; what is still to be downloaded stays in the manifest."""
    manifest = write_manifest(tmp_path)
    first, second = (row["slide"] for row in rows_by_hand()[:2])
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / first).touch()
    classes = ("--clinical", write_clinical(tmp_path), "--label", "primary_diagnosis")
    run = tcga(out, tmp_path / "slides", manifest, *classes)
    assert (run.code, "left_out.csv: 24 files" in run.said) == (DONE, True)
    assert [row["slide"] for row in rows(out)][:2] == [f"../slides/{first}", second]
    listed = out.with_name("labels.manifest.txt").read_text()
    assert (first in listed, second in listed) == (False, True)


def test_labels_that_are_there_are_kept(tmp_path: Path, out: Path) -> None:
    """Nothing is replaced unless that is asked for, and what is read is not replaced even then."""
    manifest = write_manifest(tmp_path)
    assert tcga(out, manifest).code == DONE
    before = out.read_bytes()
    again = tcga(out, manifest, "--kinds", "all")
    assert (again.code, "exists" in again.said, out.read_bytes()) == (WRONG_USAGE, True, before)
    assert tcga(out, manifest, "--kinds", "all", "--overwrite").code == DONE
    assert out.read_bytes() != before
    assert "would replace" in tcga(manifest, manifest, "--overwrite").said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.txt"], "cannot read|no such file"),
        (["=x"], "CLASS=SOURCE"),
        (["CLINICAL"], "no GDC manifest"),
        (["MANIFEST", "--clinical", "MANIFEST", "--label", "grade"], "--label grade: no such column"),
        (["MANIFEST", "--label", "grade"], "there is no table to look in"),
        (["MANIFEST", "--samples", "21"], "'21' is none that TCGA has"),
        (["MANIFEST", "--samples", "40"], "no slide is left of 40 files: "),
        (["MANIFEST", "--clinical", "CLINICAL", "--class", "LUAD"], "no slide has the value 'LUAD'"),
        (["LUAD=MANIFEST", "CLINICAL"], "no GDC manifest"),
        ([], "Missing argument"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_exit_code_2_and_writes_nothing(
    tmp_path: Path, out: Path, arguments: list[str], words: str
) -> None:
    """Each with the rule and what to do; neither file is made."""
    files = {"MANIFEST": str(write_manifest(tmp_path)), "CLINICAL": str(write_clinical(tmp_path))}
    for name, path in files.items():
        arguments = [argument.replace(name, path) for argument in arguments]
    run = tcga(out, *arguments)
    assert run.code == WRONG_USAGE
    assert any(word in run.said for word in words.split("|"))
    assert not out.parent.exists()


def test_a_folder_of_camelyon16(tmp_path: Path, out: Path) -> None:
    """reference.csv is found below the folder; with two of them one has to be named."""
    folder = tmp_path / "CAMELYON16"
    for name in ("training/normal/normal_001", "training/tumor/tumor_001", "testing/images/test_001"):
        (folder / name).parent.mkdir(parents=True)
        (folder / f"{name}.tif").touch()
    (folder / "testing" / "reference.csv").write_text("test_001,Normal,None,None\n")
    run = run_of(main, "labels-from-camelyon16", folder, "--out", out)
    assert run.code == DONE
    assert [(row["slide"].rpartition("/")[2], row["label"], row["split"]) for row in rows(out)] == [
        ("normal_001.tif", "normal", ""),
        ("test_001.tif", "normal", "test"),
        ("tumor_001.tif", "tumor", ""),
    ]
    assert "each slide counts as a patient of its own" in run.said
    assert f"--labels {out} --split 0.85,0.15,0 --out" in run.said
    (folder / "reference.csv").write_text("test_001,Tumor,IDC,Macro\n")
    two = run_of(main, "labels-from-camelyon16", folder, "--out", out, "--overwrite")
    assert (two.code, "--reference" in two.said) == (WRONG_USAGE, True)
