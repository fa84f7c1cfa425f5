"""Truths about the class of a slide: which rows decide, when nobody guesses, and how classes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from slideprep.errors import UsageError
from slideprep.labels.public.barcode import Barcode
from slideprep.labels.public.classes import SheetColumn, Value, one_spelling, project_of, wanted_classes
from slideprep.labels.public.sheet import Sheet, SheetRow
from slideprep.labels.public.sheet_keys import KeyedSheet

PATIENT = "TCGA-AA-0001"
SLIDE = Barcode(patient=PATIENT, sample_type="01", vial="Z", kind="DX", slide=f"{PATIENT}-01Z-00-DX1")


def keyed(header: str, *rows: str, name: str = "t.tsv") -> KeyedSheet:
    """A table of the patient alone, cells between bars."""
    cells = (("case", *header.split("|")), *((PATIENT, *row.split("|")) for row in rows))
    lines = tuple(SheetRow(line=line, cells=tuple(row)) for line, row in enumerate(cells[1:], 2))
    return KeyedSheet(Sheet(path=Path(name), columns=tuple(cells[0]), rows=lines))


def value(column: str, *sheets: KeyedSheet) -> Value:
    """What a column says of the slide."""
    return SheetColumn(sheets, column).of(SLIDE)


def test_rows_that_agree_are_one_value() -> None:
    """Case and spaces do not make two of one; rows that say nothing do not count."""
    assert value("grade", keyed("grade", "G2", "Not Reported", "g2 ", "'--")) == Value(text="G2")


def test_rows_of_the_primary_disease_decide() -> None:
    """Where they are marked, by either column; where they are not, or differ too, there is no class."""
    for marks in (
        "diagnosis_is_primary_disease|true|false",
        "diagnoses.classification_of_tumor|primary|metastasis",
    ):
        column, yes, no = marks.split("|")
        sheet = keyed(f"grade|{column}", f"G2|{yes}", f"G4|{no}")
        assert value("grade", sheet) == Value(text="G2")
    several = Value(reason="'grade' has several values", detail="G2 | G4")
    assert value("grade", keyed("grade", "G2", "G4")) == several
    assert value("grade", keyed("grade|classification_of_tumor", "G2|primary", "G4|primary")) == several


def test_several_tables_must_agree() -> None:
    """What one does not say the other may; what both say has to be the same."""
    first, second = keyed("grade", "'--"), keyed("grade", "G3", name="u.tsv")
    assert value("grade", first, second) == Value(text="G3")
    assert value("grade", keyed("grade", "G1"), second).reason == "'grade' has several values"
    assert value("grade", keyed("other", "x"), second) == Value(text="G3")


def test_what_is_missing_is_told_apart() -> None:
    """A case that no table has, and a case of which nothing is said."""
    other = SheetColumn([keyed("grade", "G1")], "grade").of(Barcode(patient="TCGA-AA-0002"))
    assert other == Value(reason="no row in 't.tsv' is about the slide, its sample or its patient")
    assert value("grade", keyed("grade", "'--", "Not Reported")) == Value(
        reason="'grade' is empty or not reported", detail="'-- | Not Reported"
    )


def test_an_unknown_column_is_answered_with_the_likely_ones_first() -> None:
    """The message names table, columns and those that are called alike before the others."""
    sheet = keyed("age|diagnoses.primary_diagnosis", "60|x")
    with pytest.raises(
        UsageError, match=r"--label primary_diagnoses: no such column in 't\.tsv'; there are 'diagnoses\."
    ):
        value("primary_diagnoses", sheet)


@pytest.mark.parametrize(
    "column", ["Project ID", "project_id", "project.project_id", "cases.0.project.project_id"]
)
def test_the_project_is_found_whatever_its_column_is_called(column: str) -> None:
    """In capitals, from any row of the patient, also a list of one and the same."""
    assert project_of([keyed(f"x|{column}", "1|tcga-luad, TCGA-LUAD")], PATIENT) == "TCGA-LUAD"


def test_a_project_that_is_not_said_or_said_twice_is_none() -> None:
    """Nobody guesses."""
    assert project_of([keyed("project_id", "'--")], PATIENT) == ""
    assert project_of([keyed("project_id", "TCGA-LUAD", "TCGA-LUSC")], PATIENT) == ""
    assert project_of([keyed("other", "x")], PATIENT) == ""


def test_spellings_become_the_most_frequent_one() -> None:
    """And a note names the others."""
    written, notes = one_spelling(["Stage I", "stage i", "Stage I", "Stage II"])
    assert written == {"Stage I": "Stage I", "stage i": "Stage I", "Stage II": "Stage II"}
    assert notes == ["class 'Stage I' is also spelt 'stage i': taken for one"]


def test_classes_are_asked_for_by_value_or_under_another_name() -> None:
    """Several values may have one name, and a value may hold an equals sign."""
    values = ["Stage I", "Stage IA", "Stage IV", "pT=1"]
    wishes = ["early=stage i", "early=Stage IA", "Stage IV", "pT=1"]
    assert wanted_classes(wishes, values) == {
        "stagei": "early", "stageia": "early", "stageiv": "Stage IV", "pt=1": "pT=1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (["G9"], "--class G9: no slide has the value 'G9'; there are 'G1', 'G2'"),
        (["low=G9"], "no slide has the value 'G9'"),
        (["low=G1", "high=G1"], "gives the value 'G1' two names, 'low' and 'high'"),
        (["low="], "no slide has the value 'low='"),
        (["=G1"], "no slide has the value '=G1'"),
    ],
)
def test_a_class_that_cannot_be_is_refused(wishes: list[str], words: str) -> None:
    """No such value, two names for one, or no name; where there are no values at all, what would give some is said."""
    with pytest.raises(UsageError, match=words):
        wanted_classes(wishes, ["G1", "G2"])
    with pytest.raises(UsageError, match="there are none: see --label"):
        wanted_classes(wishes, [])
