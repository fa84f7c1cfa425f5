"""Truths about joining labels.csv with slides, and about classes of patients."""

from __future__ import annotations

from pathlib import Path

import pytest

from slideprep.errors import UsageError
from slideprep.labels.match import (
    SlideEntry,
    class_order,
    match_labels,
    patient_classes,
    slide_labels,
    slide_votes,
    unlabelled_slides,
)
from slideprep.labels.table import LabelFile, LabelRow
from slideprep.text import slide_stem


def labels(*rows: tuple[str, str | None]) -> LabelFile:
    """A label file of (slide, label) rows, one patient for all."""
    return LabelFile(
        path=Path("labels.csv"),
        rows=tuple(
            LabelRow(line=line, slide=slide, label=label, patient="P")
            for line, (slide, label) in enumerate(rows, start=2)
        ),
    )


def entry(name: str, patient: str, label: str | None = None) -> SlideEntry:
    """An entry without an explicit split."""
    return SlideEntry(name=name, patient=patient, label=label)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.svs", "a"),
        ("TCGA-01.2.NDPI", "TCGA-01.2"),
        ("a.ome.tiff", "a"),
        ("1.2.840.113", "1.2.840.113"),
        ("folder", "folder"),
        (".svs", ".svs"),
    ],
)
def test_a_stem_is_the_name_without_its_file_suffix(name: str, stem: str) -> None:
    """Only a suffix of letters is cut, so dots in names and DICOM folders survive."""
    assert slide_stem(name) == stem


@pytest.mark.parametrize("written", ["a.1.svs", "a.1", "batch/a.1.svs", "C:\\scans\\a.1", "batch/a.1/"])
def test_a_row_fits_by_file_name_by_stem_or_by_the_end_of_a_path(written: str) -> None:
    """All ways to write slide 'a.1.svs' find it."""
    matched = match_labels(labels((written, "X")), ["a.1.svs"])
    assert matched.entries == (entry("a.1.svs", "P", "X"),)
    assert matched.warnings == ()


def test_composed_and_decomposed_accents_are_the_same_slide() -> None:
    """A name typed on one system finds the file stored by another."""
    assert match_labels(labels(("ne\u0301.svs", "X")), ["n\u00e9.svs"]).entries[0].label == "X"


def test_everything_a_row_says_reaches_the_entry() -> None:
    """Patient, label, split, mpp and objective are carried over."""
    row = LabelRow(line=2, slide="a", label="X", patient="P", split="val", mpp=0.5, objective=20.0)
    matched = match_labels(LabelFile(path=Path("l.csv"), rows=(row,)), ["a.svs"])
    assert matched.entries == (
        SlideEntry(name="a.svs", patient="P", label="X", split="val", mpp=0.5, objective=20.0),
    )


def test_slides_without_a_row_are_unlabelled_patients_of_their_own() -> None:
    """A slide that the file does not name is kept, unlabelled, and listed."""
    matched = match_labels(labels(("a", "X")), ["b.svs", "a.svs"])
    assert matched.entries == (entry("b.svs", "b"), entry("a.svs", "P", "X"))
    assert matched.without_row == ("b.svs",)
    assert "1 slide has no row in labels.csv" in matched.warnings[0]
    assert "'b.svs'" in matched.warnings[0]


def test_without_a_patient_column_the_stem_is_the_patient() -> None:
    """A row without a patient makes its slide a patient of its own."""
    file = LabelFile(path=Path("l.csv"), rows=(LabelRow(line=2, slide="a.svs", label="X"),))
    assert match_labels(file, ["a.svs"]).entries[0].patient == "a"


def test_without_labels_every_slide_is_an_unlabelled_patient() -> None:
    """With no labels.csv at all each slide stands alone, and nothing is to be warned of."""
    matched = unlabelled_slides(["a.svs"])
    assert matched.entries == (entry("a.svs", "a"),)
    assert matched.warnings == ()


def test_labels_for_slides_that_do_not_exist_are_listed_not_fatal() -> None:
    """A row too many is a warning that names it."""
    matched = match_labels(labels(("a", "X"), ("gone", "X")), ["a.svs"])
    assert [row.slide for row in matched.without_slide] == ["gone"]
    assert "1 row names a slide that is not in this run: 'gone'" in matched.warnings[0]


def test_a_row_that_fits_but_for_case_says_so() -> None:
    """File names differ in case, so such a row is not joined, and the warning shows the right spelling."""
    matched = match_labels(labels(("a", "X"), ("B.SVS", "X")), ["a.svs", "b.svs"])
    assert matched.entries[1].label is None
    assert "'B.SVS' for 'b.svs'" in matched.warnings[0]


def test_no_fitting_row_at_all_is_refused_with_examples_of_both() -> None:
    """A labels.csv of another study is refused, showing what it has and what the run has."""
    with pytest.raises(UsageError, match=r"none of the 1 rows .*the file has 'x', the run has 'a.svs'"):
        match_labels(labels(("x", "X")), ["a.svs"])


def test_a_stem_of_two_slides_is_refused_with_both() -> None:
    """'a' cannot mean a.svs and a.tiff; the full name can."""
    with pytest.raises(UsageError, match=r"line 2: 'a' fits 2 slides, 'a.svs', 'a.tiff'"):
        match_labels(labels(("a", "X")), ["a.svs", "a.tiff"])
    assert match_labels(labels(("a.tiff", "X")), ["a.svs", "a.tiff"]).entries[1].label == "X"


def test_two_rows_for_one_slide_must_agree() -> None:
    """A stem and a file name may both name a slide if they say the same, and are refused with lines if not."""
    assert match_labels(labels(("a", "X"), ("a.svs", "X")), ["a.svs"]).entries == (entry("a.svs", "P", "X"),)
    with pytest.raises(
        UsageError, match=r"lines 2 and 3: slide 'a.svs' has two rows that differ \(label 'X' and 'Y'\)"
    ):
        match_labels(labels(("a", "X"), ("a.svs", "Y")), ["a.svs"])


def test_regions_override_the_label_of_their_slide() -> None:
    """Annotated classes count, the label only where there are none."""
    slide = entry("a", "P", "X")
    assert slide_votes(slide, {"a": ["Y", "Z"]}) == ["Y", "Z"]
    assert slide_votes(slide, {"a": []}) == ("X",)
    assert slide_votes(entry("a", "P"), {}) == ()


def test_classes_are_sorted_unless_given() -> None:
    """Class indices follow names, or the order of --classes, which may also name a class that does not occur."""
    entries = [entry("a", "P", "b"), entry("b", "Q", "a"), entry("c", "R", "ignored")]
    assert class_order(entries, {"c": ["c"]}) == ("a", "b", "c")
    assert class_order(entries, {"c": ["c"]}, ["c", "d", "b", "a"]) == ("c", "d", "b", "a")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["X"], "also have 'x', 'y'"),
        (["X", "x", "x", "y"], "names a class twice"),
        (None, "'X' and 'x' differ only in case or spaces"),
    ],
)
def test_classes_that_do_not_fit_are_refused(given: list[str] | None, message: str) -> None:
    """Unnamed classes, repeated ones and near twins are refused by name."""
    with pytest.raises(UsageError, match=message):
        class_order([entry("a", "P", "X"), entry("b", "Q", "x"), entry("c", "R", "y")], {}, given)


def test_near_twins_are_accepted_where_both_are_named() -> None:
    """--classes is a decision: it may name two classes that differ only in case."""
    assert class_order([entry("a", "P", "X"), entry("b", "Q", "x")], {}, ["x", "X"]) == ("x", "X")


def test_a_patients_class_is_its_most_frequent_one() -> None:
    """Each region is one vote, each slide without regions one; ties go to the first class, no vote to None."""
    entries = [
        entry("1", "P", "A"),
        entry("2", "P", "B"),
        entry("3", "P"),
        entry("4", "Q"),
        entry("5", "R", "B"),
    ]
    entries.append(entry("6", "R", "A"))
    regions = {"3": ["B", "C"]}
    assert patient_classes(entries, regions, ["A", "B", "C"]) == {"P": "B", "Q": None, "R": "A"}
    assert patient_classes(entries, regions, ["C", "B", "A"])["R"] == "B"


def test_the_entries_of_a_file_by_slide(tmp_path: Path) -> None:
    """A slide without a row has an entry too."""
    (tmp_path / "labels.csv").write_text("slide,label,patient,mpp\na,gland,p,0.5\n")
    entries = slide_labels(tmp_path / "labels.csv", ["a.svs", "b.svs"])
    assert entries == {
        "a.svs": SlideEntry(name="a.svs", patient="p", label="gland", mpp=0.5),
        "b.svs": SlideEntry(name="b.svs", patient="b"),
    }


@pytest.mark.parametrize(
    ("written", "name"),
    [("1", "001.svs"), ("A", "a.svs"), ("case 1", "case-1.svs"), ("\u200bb.svs", "b.svs"), ("x ", "X.svs")],
)
def test_a_row_that_nearly_fits_names_the_slide(written: str, name: str) -> None:
    """Zeros that a spreadsheet program took, case, spaces and hidden signs: the warning shows what was meant."""
    (warning, *_) = match_labels(labels(("fits", "X"), (written, "X")), ["fits.svs", name]).warnings
    assert "1 row names a slide that is not in this run" in warning
    assert f"for '{name}'; upper and lower case" in warning


@pytest.mark.parametrize("written", ["latin\\xe9.tif", "latin\\xe9", "scans/latin\\xe9"])
def test_a_name_that_is_shown_with_escapes_can_be_written_so(written: str) -> None:
    """The backslash of an escape is not that of a folder."""
    matched = match_labels(labels((written, "X")), ["latin\\xe9.tif"])
    assert matched.entries[0].label == "X"


def test_a_slide_whose_name_begins_like_a_written_formula_is_found() -> None:
    """'=a.svs with its apostrophe is a file name too."""
    assert match_labels(labels(("=a.svs", "X")), ["'=a.svs"]).entries[0].label == "X"
