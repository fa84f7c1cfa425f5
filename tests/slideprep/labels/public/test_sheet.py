"""Truths about tables as people download them: dialects, columns, cells that say nothing, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from slideprep.errors import UsageError
from slideprep.labels.public.sheet import Sheet, SheetRow, is_said, plain, read_sheet

TABS = "Case ID\tSample Type\nTCGA-AA-0001\tPrimary, of two\nTCGA-AA-0002\t\n"
ROWS = (("TCGA-AA-0001", "Primary, of two"), ("TCGA-AA-0002", ""))


def sheet(folder: Path, content: str | bytes) -> Sheet:
    """The table of a file of exactly this content."""
    path = folder / "table.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_sheet(path)


@pytest.mark.parametrize(
    "content",
    [
        TABS,
        b"\xef\xbb\xbf" + TABS.encode(),
        TABS.replace("\n", "\r\n"),
        TABS.replace("\n", "\r"),
        TABS.rstrip("\n"),
        "#Patient\tType\n#STRING\tSTRING\n#1\t1\n" + TABS,
        "\n" + TABS + "\n \t \n",
        TABS.replace("Primary, of two", '"Primary, of two"'),
        TABS.replace("Primary, of two", '"Primary, of two"').replace("\t", ","),
        TABS.replace("\t", " ; "),
        TABS.replace("0002\t", "0002\t\t\t"),
    ],
    ids=["tabs", "bom", "crlf", "cr", "no-last-newline", "cbioportal", "blank-lines", "quotes", "commas", "semicolons",
         "more-empty-cells"],
)  # fmt: skip
def test_dialects_read_the_same(tmp_path: Path, content: str | bytes) -> None:
    """The same cells, however they are written."""
    found = sheet(tmp_path, content)
    assert found.columns == ("Case ID", "Sample Type")
    assert tuple(row.cells for row in found.rows) == ROWS


def test_rows_know_their_lines(tmp_path: Path) -> None:
    """Lines are those of the file: comments, blank lines and breaks within quotes count."""
    tabs = sheet(tmp_path, f"#x\n{TABS}")
    assert [row.line for row in tabs.rows] == [3, 4]
    commas = sheet(tmp_path, 'a,b\n1,"2\n3"\n\n4,5\n')
    assert commas.rows == (SheetRow(line=2, cells=("1", "2 3")), SheetRow(line=5, cells=("4", "5")))


def test_a_quotation_mark_in_a_remark_stands_for_itself(tmp_path: Path) -> None:
    """In tables with tabs one that is open does not swallow the rows below it."""
    found = sheet(tmp_path, 'a\tb\n1\t5" tumour\n2\t"open\n3\tend\n')
    assert [row.cells for row in found.rows] == [("1", '5" tumour'), ("2", '"open'), ("3", "end")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("#only\n#comments\n", "is empty"),
        (b"PK\x03\x04rest", "workbook"),
        (b"\x1f\x8brest", "unpack it"),
        ('[{"file_name": "x"}]', "JSON"),
        ("[\n {}]", "JSON"),
        ('{"data": 1}', "JSON"),
        ("<!doctype html>", "web page"),
        (b"a\tb\nna\xefve\t1\n", "line 2: byte 0xef is not UTF-8"),
        ("a\tb\n1\n", "line 2: 1 cells where the first line names 2"),
        ("a\tb\n1\t2\t3\n", "line 2: 3 cells"),
        ('a,b\n"1,2\n', "line 2: not a row"),
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, content: str | bytes, words: str) -> None:
    """The message says what the file seems to be, or which line is wrong."""
    with pytest.raises(UsageError) as refused:
        sheet(tmp_path, content)
    assert words in str(refused.value)
    assert "table.tsv" in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """As any file that cannot be read."""
    with pytest.raises(UsageError, match=r"cannot read .*none\.tsv: No such file"):
        read_sheet(tmp_path / "none.tsv")


def test_a_column_is_found_by_what_people_call_it(tmp_path: Path) -> None:
    """Exactly, but for case and signs, and by its last part, in this order; numbers of the API's lists do not count."""
    found = sheet(tmp_path, "Stage\tstage\tProject ID\tcases.0.diagnoses.0.tumor_grade\n1\t2\t3\t4\n")
    names = ("stage", "Stage", "project_id", "tumor grade", "diagnoses.tumor_grade", "grade", "STAGE")
    assert [found.column(name) for name in names[:4]] == [1, 0, 2, 3]
    assert [found.column(name) for name in names[4:6]] == [None, None]
    with pytest.raises(UsageError, match="'STAGE' may be any of 'Stage', 'stage'"):
        found.column("STAGE")
    assert plain("cases.0.Project.Project-ID") == "cases.project.project_id"


@pytest.mark.parametrize(
    "value",
    ["", "'--", "--", "-", "Not Reported", "not reported", "[Not Available]", "[Not Applicable]", "Unknown", "NA",
     "N/A", "[Discrepancy]", "[Not Evaluated]", "Not Allowed To Collect", "nan", "null"],
)  # fmt: skip
def test_cells_that_say_nothing(value: str) -> None:
    """What the GDC, cBioPortal and spreadsheets write where nothing is known is no class."""
    assert not is_said(value)


@pytest.mark.parametrize(
    "value", ["Stage IA", "0", "No", "Negative", "Other", "Nasal", "T1", "C34.1", "Adenocarcinoma, NOS"]
)
def test_cells_that_say_something(value: str) -> None:
    """Short, negative and numeric answers are answers."""
    assert is_said(value)
