"""Truths about which rows of a table answer for a slide."""

from __future__ import annotations

from pathlib import Path

import pytest

from slideprep.errors import UsageError
from slideprep.labels.public.barcode import Barcode, of_slide
from slideprep.labels.public.sheet import Sheet, SheetRow
from slideprep.labels.public.sheet_keys import KeyedSheet

PATIENT = "TCGA-AA-0001"


def keyed(*rows: tuple[str, ...]) -> KeyedSheet:
    """A table of barcodes and a last column that says which row it is; other columns have names nobody knows."""
    columns = tuple(f"column {n}" for n in range(len(rows[0])))
    lines = (SheetRow(line=line, cells=cells) for line, cells in enumerate(rows, 2))
    return KeyedSheet(Sheet(path=Path("t.tsv"), columns=columns, rows=tuple(lines)))


def slide(name: str) -> Barcode:
    """The barcode of a slide of the patient."""
    code = of_slide(f"{PATIENT}-{name}")
    assert code is not None
    return code


def answers(sheet: KeyedSheet, name: str) -> list[str]:
    """Last cells of the rows that answer for a slide."""
    return [row.cells[-1] for row in sheet.rows_of(slide(name))]


def test_a_patients_rows_answer_for_all_slides_of_the_patient() -> None:
    """Several rows of a case answer together, in any case of letters; another patient's do not."""
    sheet = keyed(("x", PATIENT, "a"), ("y", PATIENT.lower(), "b"), ("z", "TCGA-AA-0002", "c"))
    assert answers(sheet, "01Z-00-DX1.svs") == ["a", "b"]
    assert answers(sheet, "11A-01-TS1.svs") == ["a", "b"]


def test_a_sample_answers_for_its_own_slides_alone() -> None:
    """By its vial first, else by its type: the diagnostic slide of vial Z is of the sample 01 that was sequenced."""
    sheet = keyed((PATIENT, f"{PATIENT}-01A", "tumour"), (PATIENT, f"{PATIENT}-11A", "normal"))
    assert answers(sheet, "01A-01-TS1.svs") == ["tumour"]
    assert answers(sheet, "01Z-00-DX1.svs") == ["tumour"]
    assert answers(sheet, "11A-01-TS1.svs") == ["normal"]
    assert answers(sheet, "06A-01-TS1.svs") == []
    vials = keyed((f"{PATIENT}-01A", "a"), (f"{PATIENT}-01B", "b"))
    assert answers(vials, "01B-01-TS1.svs") == ["b"]
    assert answers(vials, "01Z-00-DX1.svs") == ["a", "b"]


def test_a_slides_row_answers_for_it_and_for_no_other_slide() -> None:
    """By the file's UUID first, else by the slide; another slide of the patient gets nothing from it."""
    one, two = (f"{n:08d}-0000-4000-8000-000000000000" for n in (1, 2))
    sheet = keyed(
        (PATIENT, f"{PATIENT}-01Z-00-DX1.{one}.svs", "first"),
        (PATIENT, f"{PATIENT}-01Z-00-DX1.{two}.svs", "second"),
    )
    assert answers(sheet, f"01Z-00-DX1.{two}.svs") == ["second"]
    assert answers(sheet, "01Z-00-DX1.svs") == ["first", "second"]
    assert answers(sheet, "01Z-00-DX2.svs") == []
    assert [row.cells[-1] for row in sheet.rows_of_patient(PATIENT)] == ["first", "second"]


def test_the_column_with_most_barcodes_is_the_key() -> None:
    """A column that names a normal sample now and then does not decide what the rows are about."""
    rows = ((f"{PATIENT}-11A", f"{PATIENT}-01A", "a"), ("", "TCGA-AA-0002-01A", "b"))
    assert answers(keyed(*rows), "01A-01-TS1.svs") == ["a"]
    assert answers(keyed(*rows), "11A-01-TS1.svs") == []


def test_a_table_without_barcodes_is_refused() -> None:
    """UUIDs alone fit no slide's name; the message has the columns and says what to give."""
    with pytest.raises(UsageError, match=r"t\.tsv has no column of TCGA barcodes .*'column 0', 'column 1'"):
        keyed(("d4ff32cd-38cf-40ea-8213-45c2b100ac01", "TCGA-LUAD"))
