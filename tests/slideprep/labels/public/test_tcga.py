"""Truths about labels.csv of TCGA: 40 files against a list made by hand, and every kind of table that gives classes."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from fixtures.tcga import REASONS_BY_HAND, rows_by_hand, write_clinical, write_manifest
from slideprep.errors import UsageError
from slideprep.labels.match import match_labels
from slideprep.labels.public.derived import Derived, write_labels
from slideprep.labels.public.sheet import read_sheet
from slideprep.labels.public.sheet_keys import KeyedSheet
from slideprep.labels.public.tcga import labels_of_tcga
from slideprep.labels.public.tcga_files import Choice, Listed, listed_in
from slideprep.labels.split_plan import SplitSettings
from slideprep.labels.splits import assign_splits
from slideprep.labels.table import read_labels

TUMOUR, FROZEN, NORMAL, OTHER = (
    "TCGA-AA-0001-01Z-00-DX1.svs",
    "TCGA-AA-0001-01A-01-TS1.svs",
    "TCGA-AA-0001-11A-01-TS1.svs",
    "TCGA-SQ-0001-01Z-00-DX1.svs",
)


def made(folder: Path, choice: Choice) -> Derived:
    """What is made of the manifest of 40 files and its clinical table."""
    listed = listed_in(read_sheet(write_manifest(folder)))
    return labels_of_tcga(listed, [KeyedSheet(read_sheet(write_clinical(folder)))], choice)


def table(folder: Path, content: str) -> KeyedSheet:
    """A table of exactly this content."""
    path = folder / "t.tsv"
    path.write_text(content)
    return KeyedSheet(read_sheet(path))


def labels(names: list[str], *sheets: KeyedSheet, label: str | None = None, **wish: object) -> dict[str, str]:
    """Labels of files, all sample types and kinds taken."""
    choice = Choice(label=label, **{"samples": None, "kinds": None, **wish})  # type: ignore[arg-type]
    derived = labels_of_tcga([Listed(name=name) for name in names], sheets, choice)
    return {row["slide"]: row["label"] for row in derived.rows}


def test_forty_files_become_the_rows_that_a_pencil_finds(tmp_path: Path) -> None:
    """Sixteen rows, equal in every cell to those made by hand; 24 files left out, for the reasons counted by hand."""
    derived = made(tmp_path, Choice(label="primary_diagnosis"))
    assert list(derived.rows) == rows_by_hand()
    assert dict(derived.reasons) == REASONS_BY_HAND
    assert (len(derived.rows), len(derived.left_out)) == (16, 24)
    assert derived.classes == {"Adenocarcinoma, NOS": (5, 7), "Squamous cell carcinoma, NOS": (6, 9)}
    lines = [int(item.given.rpartition(" ")[2]) for item in derived.left_out]
    assert lines == sorted(lines)


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_is_in_two_splits(tmp_path: Path, seed: int) -> None:
    """Written, read back and split as a build does: all slides of a patient, of any number of files, go together."""
    write_labels(made(tmp_path, Choice(label="primary_diagnosis")), tmp_path / "labels.csv")
    read = read_labels(tmp_path / "labels.csv")
    entries = match_labels(read, [row.slide for row in read.rows]).entries
    plan = assign_splits(entries, {}, SplitSettings(), seed=seed)
    splits = defaultdict(set)
    for entry in entries:
        splits[entry.patient].add(plan.slides[entry.name].split)
    assert len(splits) == 11
    assert all(len(of_patient) == 1 for of_patient in splits.values())
    assert set().union(*splits.values()) == {"train", "val", "test"}


def test_without_a_column_the_class_is_the_project(tmp_path: Path) -> None:
    """As for LUAD against LUSC; a case that no table has is left out, or kept without a label where that is asked."""
    derived = made(tmp_path, Choice())
    assert derived.classes == {"TCGA-LUAD": (6, 8), "TCGA-LUSC": (7, 10)}
    assert dict(derived.reasons)["no table says its project"] == 2
    kept = made(tmp_path, Choice(keep_unlabelled=True))
    assert kept.classes == derived.classes | {"": (1, 2)}


def test_classes_are_renamed_and_others_left_out(tmp_path: Path) -> None:
    """A class that is not asked for is left out even where unlabelled slides are kept."""
    one = made(tmp_path, Choice(classes=["adenocarcinoma=TCGA-LUAD"], keep_unlabelled=True))
    assert one.classes == {"": (1, 2), "adenocarcinoma": (6, 8)}
    assert dict(one.reasons)["class 'TCGA-LUSC' is not taken (--class)"] == 10
    assert any("all labelled slides are of one class, 'adenocarcinoma'" in note for note in one.notes)


def test_normal_tissue_never_has_the_class_of_its_tumour(tmp_path: Path) -> None:
    """By project, by column and by source it is normal; by sample type it is what its sample is."""
    sheet = table(tmp_path, "case\tproject_id\tgrade\nTCGA-AA-0001\tTCGA-LUAD\tG2\n")
    names = [NORMAL, FROZEN]
    assert labels(names, sheet) == {NORMAL: "normal", FROZEN: "TCGA-LUAD"}
    assert labels(names, sheet, label="grade") == {NORMAL: "normal", FROZEN: "G2"}
    choice = Choice(samples=None, kinds=None)
    by_source = labels_of_tcga([Listed(name=name, label="LUAD") for name in names], [], choice)
    assert [row["label"] for row in by_source.rows] == ["LUAD", "normal"]
    assert labels(names, label="slide_kind") == {NORMAL: "TS", FROZEN: "TS"}
    assert labels(names, label="Sample Type") == {
        NORMAL: "11 Solid Tissue Normal",
        FROZEN: "01 Primary Solid Tumor",
    }


@pytest.mark.parametrize(
    ("content", "label", "expected"),
    [
        (
            "File ID\tFile Name\tData Category\tData Type\tProject ID\tCase ID\tSample ID\tSample Type\n"
            f"u1\t{TUMOUR}\tBiospecimen\tSlide Image\tTCGA-LUAD\tTCGA-AA-0001\tTCGA-AA-0001-01Z\tPrimary Tumor\n"
            f"u2\t{OTHER}\tBiospecimen\tSlide Image\tTCGA-LUSC\tTCGA-SQ-0001\tTCGA-SQ-0001-01Z\tPrimary Tumor\n",
            None,
            ("TCGA-LUAD", "TCGA-LUSC"),
        ),
        (
            "cases.0.project.project_id\tcases.0.submitter_id\tfile_name\tid\n"
            f"TCGA-LUAD\tTCGA-AA-0001\t{TUMOUR}\tu1\nTCGA-LUSC\tTCGA-SQ-0001\t{OTHER}\tu2\n",
            "project_id",
            ("TCGA-LUAD", "TCGA-LUSC"),
        ),
        (
            "project.project_id\tcases.case_id\tcases.submitter_id\tdiagnoses.ajcc_pathologic_stage\n"
            "TCGA-LUAD\tu1\tTCGA-AA-0001\tStage IA\nTCGA-LUSC\tu2\tTCGA-SQ-0001\tStage IIB\n",
            "ajcc_pathologic_stage",
            ("Stage IA", "Stage IIB"),
        ),
        (
            "project_id\tcase_submitter_id\tsample_submitter_id\tslide_submitter_id\tpercent_necrosis\n"
            "TCGA-LUAD\tTCGA-AA-0001\tTCGA-AA-0001-01Z\tTCGA-AA-0001-01Z-00-DX1\t5\n"
            "TCGA-LUSC\tTCGA-SQ-0001\tTCGA-SQ-0001-01Z\tTCGA-SQ-0001-01Z-00-DX1\t20\n",
            "percent_necrosis",
            ("5", "20"),
        ),
        (
            "#Patient Identifier\tSample Identifier\tOncotree Code\n#a\tb\tc\n#STRING\tSTRING\tSTRING\n#1\t1\t1\n"
            "PATIENT_ID\tSAMPLE_ID\tONCOTREE_CODE\n"
            "TCGA-AA-0001\tTCGA-AA-0001-01\tLUAD\nTCGA-SQ-0001\tTCGA-SQ-0001-01\tLUSC\n",
            "oncotree code",
            ("LUAD", "LUSC"),
        ),
        (
            "bcr_patient_barcode,subtype\ntcga-aa-0001,lepidic\ntcga-sq-0001,basaloid\n",
            "subtype",
            ("lepidic", "basaloid"),
        ),
    ],
    ids=["sample-sheet", "api", "clinical", "slide", "cbioportal", "csv"],
)  # fmt: skip
def test_every_table_of_the_sources_gives_classes(
    tmp_path: Path, content: str, label: str | None, expected: tuple[str, str]
) -> None:
    """The GDC's sample sheet, the answer of its API, clinical.tsv, slide.tsv; cBioPortal's file; a CSV of one's own."""
    sheet = table(tmp_path, content)
    assert labels([TUMOUR, OTHER], sheet, label=label) == dict(zip((TUMOUR, OTHER), expected, strict=True))


def test_a_source_may_be_the_class() -> None:
    """Without any table; all sources or none, and no column besides."""
    luad, lusc = Listed(name=TUMOUR, label="LUAD"), Listed(name=OTHER, label="LUSC")
    assert [row["label"] for row in labels_of_tcga([luad, lusc], [], Choice()).rows] == ["LUAD", "LUSC"]
    with pytest.raises(UsageError, match=r"CLASS=SOURCE.* and other sources do not"):
        labels_of_tcga([luad, Listed(name=OTHER)], [], Choice())
    with pytest.raises(UsageError, match="--label grade names a column"):
        labels_of_tcga([luad, lusc], [], Choice(label="grade"))


def test_a_class_that_cannot_be_had_is_refused_with_what_would_give_it(tmp_path: Path) -> None:
    """No table at all, a table without projects, and a column that is in none."""
    with pytest.raises(UsageError, match=r"--label grade: there is no table.*--clinical"):
        labels([TUMOUR], label="grade")
    sheet = table(tmp_path, "case\tgrade\nTCGA-AA-0001\tG2\n")
    with pytest.raises(UsageError, match=r"no table says the project.*LUAD=manifest\.txt"):
        labels([TUMOUR], sheet, label="project")
    with pytest.raises(UsageError, match=r"--label stage: no such column .* 'case', 'grade'"):
        labels([TUMOUR], sheet, label="stage")


def test_without_any_class_slides_are_unlabelled_and_that_is_said() -> None:
    """Patients are known all the same, which is what a split needs."""
    derived = labels_of_tcga([Listed(name=TUMOUR)], [], Choice())
    assert [(row["label"], row["patient"]) for row in derived.rows] == [("", "TCGA-AA-0001")]
    assert any("every slide is unlabelled" in note for note in derived.notes)


def test_several_files_of_one_slide_are_kept_and_named() -> None:
    """A scan made again has a UUID of its own; both are of one patient, so no split can part them."""
    names = [f"TCGA-AA-0001-01Z-00-DX1.{n:08d}-0000-4000-8000-000000000000.svs" for n in (1, 2)]
    derived = labels_of_tcga([Listed(name=name) for name in names], [], Choice())
    assert [row["slide"] for row in derived.rows] == names
    assert any("'TCGA-AA-0001-01Z-00-DX1'" in note and "several files" in note for note in derived.notes)
