"""Truths about labels.csv of CAMELYON16: names, the classes of test slides, and what is published of single slides."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from slideprep.errors import UsageError
from slideprep.labels.public.camelyon16 import COLUMNS, labels_of_camelyon16
from slideprep.labels.public.sheet import Sheet, read_sheet

REFERENCE = "test_001,Tumor,IDC,Macro\ntest_002,Normal,None,None\ntest_114,Tumor,IDC,Micro\n"


def reference(folder: Path, content: str = REFERENCE) -> Sheet:
    """reference.csv of exactly this content."""
    path = folder / "reference.csv"
    path.write_text(content)
    return read_sheet(path)


def test_names_and_reference_give_the_classes(tmp_path: Path) -> None:
    """Each slide its own patient; test slides in the split test, the others to be split by the build."""
    names = [
        "tumor_001.tif",
        "normal_001.tif",
        "test_001.tif",
        "test_002.tif",
        "tumor_010.tif",
        "test_114.tif",
    ]
    derived = labels_of_camelyon16(names, reference(tmp_path))
    assert [tuple(row[column] for column in COLUMNS) for row in derived.rows] == [
        ("normal_001.tif", "normal", "normal_001", "", ""),
        ("test_001.tif", "tumor", "test_001", "test", "exhaustive"),
        ("test_002.tif", "normal", "test_002", "test", ""),
        ("test_114.tif", "tumor", "test_114", "test", "not exhaustive"),
        ("tumor_001.tif", "tumor", "tumor_001", "", "exhaustive"),
        ("tumor_010.tif", "tumor", "tumor_010", "", "not exhaustive"),
    ]
    assert not derived.left_out
    assert any("2 slides have annotations that are not exhaustive" in note for note in derived.notes)
    assert any("patients are not published" in note for note in derived.notes)
    assert any("--split 0.85,0.15,0" in note for note in derived.notes)


def test_the_whole_set_has_the_published_numbers(tmp_path: Path) -> None:
    """As first shared: 160 normal, 110 tumour and 130 test; two slides were taken out, and one came in as tumor_111."""
    tests = "".join(
        f"test_{n:03},{'Tumor' if n < 49 or n == 114 else 'Normal'},x,y\n" for n in range(1, 131) if n != 49
    )
    names = [f"normal_{n:03}.tif" for n in range(1, 161)] + [f"tumor_{n:03}.tif" for n in range(1, 112)]
    names += [f"test_{n:03}.tif" for n in range(1, 131)]
    derived = labels_of_camelyon16(names, reference(tmp_path, tests))
    assert len(derived.rows) == 399
    counts = Counter((row["split"], row["label"]) for row in derived.rows)
    assert counts == {("", "normal"): 159, ("", "tumor"): 111, ("test", "normal"): 80, ("test", "tumor"): 49}
    assert [(item.slide, item.reason) for item in derived.left_out] == [
        ("normal_086.tif", "the publishers have taken it out of the data set"),
        ("test_049.tif", "the publishers have taken it out of the data set"),
    ]
    assert sum(row["annotations"] == "not exhaustive" for row in derived.rows) == 21


def test_names_are_known_in_every_writing() -> None:
    """normal_86, as the README calls it, is normal_086; a mask and a stranger are no slides of the set."""
    derived = labels_of_camelyon16(["Normal_86.tif", "Tumor_7.tif", "tumor_001_mask.tif", "slide.svs"], None)
    assert [(row["slide"], row["patient"]) for row in derived.rows] == [("Tumor_7.tif", "tumor_007")]
    assert dict(derived.reasons) == {
        "its name is not that of a CAMELYON16 slide": 2,
        "the publishers have taken it out of the data set": 1,
    }


def test_a_test_slide_without_a_class_is_left_out(tmp_path: Path) -> None:
    """Where there is no reference.csv, and where it has no row; a row without a slide is said."""
    (item,) = labels_of_camelyon16(["test_003.tif"], None).left_out
    assert item.reason == "the class of a test slide is not known: there is no reference.csv"
    derived = labels_of_camelyon16(["test_001.tif", "test_003.tif"], reference(tmp_path))
    assert [item.reason for item in derived.left_out] == [
        "the class of a test slide is not known: no row in reference.csv"
    ]
    assert any(
        "2 test slides of reference.csv not in the folder: test_002, test_114" in n for n in derived.notes
    )


def test_a_line_of_names_is_no_slide(tmp_path: Path) -> None:
    """Copies of reference.csv with and without one are in use."""
    derived = labels_of_camelyon16(
        ["test_001.tif"], reference(tmp_path, f"image,type,subtype,size\n{REFERENCE}")
    )
    assert [row["label"] for row in derived.rows] == ["tumor"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("test_001,Tumor\ntest_001,Normal\n", "line 2: test_001 is Normal and Tumor"),
        ("test_001,Tumor\ntest_002,Macro\n", "line 2: 'test_002, Macro' does not name"),
        ("test_001\n", "line 1: 'test_001' does not name"),
        ("id,filename,md5\n1,TCGA-AA-0001.svs,x\n", "line 2: .* give the file testing/reference.csv"),
    ],
)
def test_another_table_is_refused(tmp_path: Path, content: str, words: str) -> None:
    """The message has the line and what the file should be."""
    with pytest.raises(UsageError, match=words):
        labels_of_camelyon16(["test_001.tif"], reference(tmp_path, content))
