"""Truths about what is written: two tables that a build and a person can read, and nothing replaced unasked."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from slideprep.errors import UsageError
from slideprep.labels.columns import COLUMNS as COLUMNS_READ
from slideprep.labels.columns import FOR_PEOPLE
from slideprep.labels.public import camelyon16, tcga
from slideprep.labels.public.derived import (
    Derived,
    LeftOut,
    check_writable,
    left_out_path,
    manifest_path,
    write_labels,
)
from slideprep.labels.table import LabelRow, read_labels

COLUMNS = ("slide", "label", "patient", "project")
DERIVED = Derived(
    columns=COLUMNS,
    rows=[
        {"slide": "a.svs", "label": "x", "patient": "P1", "project": "=1+1"},
        {"slide": "b.svs", "label": "x", "patient": "P1", "project": ""},
        {"slide": "c.svs", "label": "", "patient": "P2", "project": ""},
    ],
    left_out=[
        LeftOut(slide="d.svs", patient="P3", reason="old", detail="1, 2", given="m.txt line 5"),
        LeftOut(slide="e.svs", reason="young"),
        LeftOut(slide="f.svs", reason="young"),
    ],
)


def test_labels_are_read_back_as_they_were_meant(tmp_path: Path) -> None:
    """Slide, label and patient are those of the rows; a build has no note on the columns that are for people."""
    write_labels(DERIVED, tmp_path / "new" / "labels.csv")
    read = read_labels(tmp_path / "new" / "labels.csv")
    assert read.rows == (
        LabelRow(line=2, slide="a.svs", label="x", patient="P1"),
        LabelRow(line=3, slide="b.svs", label="x", patient="P1"),
        LabelRow(line=4, slide="c.svs", label=None, patient="P2"),
    )
    assert read.notes == ()
    assert "'=1+1" in (tmp_path / "new" / "labels.csv").read_text()


def test_what_was_left_out_stands_beside(tmp_path: Path) -> None:
    """A row for each file, whole; there is no other file."""
    write_labels(DERIVED, tmp_path / "labels.csv")
    with left_out_path(tmp_path / "labels.csv").open(newline="") as table:
        rows = list(csv.reader(table))
    assert rows[:2] == [
        ["slide", "patient", "reason", "detail", "given"],
        ["d.svs", "P3", "old", "1, 2", "m.txt line 5"],
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "labels.left_out.csv"]


def test_counts_are_of_patients_and_slides() -> None:
    """By class, unlabelled slides under no name; reasons with the most frequent first."""
    assert DERIVED.classes == {"": (1, 1), "x": (1, 2)}
    assert DERIVED.reasons == [("young", 2), ("old", 1)]


def test_a_manifest_goes_with_the_labels_that_it_was_written_with(tmp_path: Path) -> None:
    """It stands beside them, and is gone when they are replaced by some that have none."""
    write_labels(replace(DERIVED, manifest="id\tfilename\n"), tmp_path / "labels.csv")
    assert manifest_path(tmp_path / "labels.csv").read_text() == "id\tfilename\n"
    write_labels(DERIVED, tmp_path / "labels.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "labels.left_out.csv"]


def test_slides_are_named_by_their_places_where_these_are_known() -> None:
    """The others keep their names, and all keep their order."""
    placed = DERIVED.at({"b.svs": "1/b.svs", "z.svs": "2/z.svs"})
    assert [row["slide"] for row in placed.rows] == ["a.svs", "1/b.svs", "c.svs"]


def test_where_nothing_is_left_nothing_is_written(tmp_path: Path) -> None:
    """The message has every reason with its number."""
    nothing = Derived(columns=COLUMNS, rows=[], left_out=DERIVED.left_out)
    with pytest.raises(UsageError, match="no slide is left of 3 files: 2 because young; 1 because old"):
        write_labels(nothing, tmp_path / "labels.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["labels.csv", "labels.left_out.csv", "labels.manifest.txt"])
def test_neither_file_is_replaced_unasked(tmp_path: Path, there: str) -> None:
    """Each of the three is enough to refuse; asked, all may be replaced."""
    (tmp_path / there).write_text("by hand")
    with pytest.raises(UsageError, match=f"{there} exists.*--overwrite"):
        check_writable(tmp_path / "labels.csv", overwrite=False)
    check_writable(tmp_path / "labels.csv", overwrite=True)


def test_what_is_read_is_never_replaced(tmp_path: Path) -> None:
    """Not even by another name of the same file; nor is a folder."""
    (tmp_path / "labels.csv").write_text("a manifest")
    (tmp_path / "link.csv").symlink_to("labels.csv")
    with pytest.raises(UsageError, match="would replace"):
        check_writable(tmp_path / "link.csv", overwrite=True, read=[tmp_path / "labels.csv"])
    with pytest.raises(UsageError, match=r"is a folder; give the file to write, such as --out .*labels\.csv"):
        check_writable(tmp_path, overwrite=True)


def test_every_column_that_is_written_is_read_or_known_to_be_for_people() -> None:
    """So no build has a note on a file that our own command wrote."""
    assert {*tcga.COLUMNS, *camelyon16.COLUMNS} - {*COLUMNS_READ} == {*FOR_PEOPLE}
