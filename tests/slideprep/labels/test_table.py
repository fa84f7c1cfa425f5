"""Truths about reading labels.csv: what is accepted, and how each mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.real_data import DATA
from slideprep.errors import UsageError
from slideprep.labels.columns import COLUMNS, SYNONYMS, name_list
from slideprep.labels.table import LabelRow, read_labels

PLAIN = "slide,label,patient\na.svs,Viable,P1\nb.svs,,P2\n"
ROWS = (
    LabelRow(line=2, slide="a.svs", label="Viable", patient="P1"),
    LabelRow(line=3, slide="b.svs", label=None, patient="P2"),
)


def write(folder: Path, content: str | bytes) -> Path:
    """A labels.csv of exactly this content."""
    path = folder / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", " , "),
        PLAIN.replace("a.svs", '"a.svs"').replace("Viable", '"Viable"'),
        PLAIN.rstrip("\n"),
        PLAIN + "\n ,, \n",
        PLAIN.replace("slide,label,patient", "Slide, LABEL ,Patient"),
        PLAIN.replace("\na", ",\na").replace("P1", "P1,").replace("P2", "P2,"),
    ],
    ids=["plain", "bom", "crlf", "cr", "semicolon", "tab", "spaces", "quotes", "no-last-newline", "blank-lines", "case",
         "trailing-delimiters"],
)  # fmt: skip
def test_dialects_of_csv_read_the_same(tmp_path: Path, content: str | bytes) -> None:
    """Every common way to save the same table gives the same rows, without a note."""
    labels = read_labels(write(tmp_path, content))
    assert labels.rows == ROWS
    assert labels.notes == ()


def test_optional_columns_are_read_as_what_they_are(tmp_path: Path) -> None:
    """Split, mpp and objective arrive as a name and two numbers, and empty cells as None."""
    text = "patient,slide,objective,mpp,split,label\nP,a,40,0.25,aux2,\nQ,b,,,,X\n"
    assert read_labels(write(tmp_path, text)).rows == (
        LabelRow(line=2, slide="a", patient="P", split="aux2", mpp=0.25, objective=40.0),
        LabelRow(line=3, slide="b", label="X", patient="Q"),
    )


def test_values_in_quotes_may_hold_the_delimiter_and_line_breaks_keep_line_numbers_right(
    tmp_path: Path,
) -> None:
    """A label with a comma is one value, and after a value that spans two lines the next row is still on its line."""
    text = 'slide,label,patient\na,"Sprue, celiac","P\n1"\nb,X,P2\n'
    rows = read_labels(write(tmp_path, text)).rows
    assert [(row.line, row.label) for row in rows] == [(2, "Sprue, celiac"), (4, "X")]


def test_extra_columns_are_kept_out_with_a_note(tmp_path: Path) -> None:
    """A column that is nothing of ours is named in a note and changes nothing."""
    labels = read_labels(write(tmp_path, "slide,label,patient,patient_age\na,X,P,70\n"))
    assert labels.rows == (LabelRow(line=2, slide="a", label="X", patient="P"),)
    assert len(labels.notes) == 1
    assert "'patient_age'" in labels.notes[0]


def test_a_missing_patient_column_is_noted(tmp_path: Path) -> None:
    """Without a patient column the rows carry none, and the note says what that means for splits."""
    labels = read_labels(write(tmp_path, "slide,label\na,X\n"))
    assert labels.rows[0].patient is None
    assert "no column 'patient'" in labels.notes[0]
    assert "two splits" in labels.notes[0]


def test_a_missing_label_column_means_unlabelled_and_is_noted(tmp_path: Path) -> None:
    """A table of patients alone is usable: every slide in it is unlabelled."""
    labels = read_labels(write(tmp_path, "slide,patient\na,P\n"))
    assert labels.rows[0].label is None
    assert "every slide in it is unlabelled" in labels.notes[0]


def test_words_for_missing_labels_are_noted(tmp_path: Path) -> None:
    """A label 'NaN' stays a class, but a note asks about it."""
    labels = read_labels(write(tmp_path, "slide,label,patient\na,NaN,P\n"))
    assert labels.rows[0].label == "NaN"
    assert "'NaN' is taken as a class" in labels.notes[0]


def test_rows_that_repeat_word_for_word_are_read_once(tmp_path: Path) -> None:
    """A repeated row does no harm; it is read once and noted."""
    labels = read_labels(write(tmp_path, PLAIN + "a.svs,Viable,P1\n"))
    assert labels.rows == ROWS
    assert "1 row repeats another" in labels.notes[0]


HEAD = "slide,label,patient,split,mpp,objective\n"
BAD_FILES = {
    "empty": ("", "is empty; its first line must name the columns"),
    "blank": (" \n\n", "is empty"),
    "header-only": ("slide,label,patient\n", "has no row below them"),
    "no-slide-column": ("name,label\na,X\n", "line 1: no column 'slide' among 'name', 'label'"),
    "misspelt": ("slide,lable,patient\na,X,P\n", "line 1: column 'lable' is not known .* rename it to 'label'"),
    "synonym": ("slide,label,case_id\na,X,P\n", "column 'case_id' .* rename it to 'patient'"),
    "synonym-with-space": ("slide,label,Case ID\na,X,P\n", "column 'case id' .* rename it to 'patient'"),
    "column-twice": ("slide,label,label\na,X,Y\n", "line 1: two columns are named 'label'"),
    "header-after-blank": ("\n\nslide,labels\na,X\n", "line 3: column 'labels'"),
    "latin-1": ("slide,label\na,X\nb,caf\xe9\n".encode("latin-1"), "line 3: byte 0xe9 is not UTF-8.*save the file as"),
    "utf-16": ("slide,label\n".encode("utf-16"), "line 1: byte 0xff is not UTF-8"),
    "workbook": (b"PK\x03\x04rest", "is a spreadsheet workbook"),
    "open-quote": ('slide,label\na,X\n"b,Y\n', "line 3: not a CSV row .*close every quote"),
    "short-row": (HEAD + "a,X,P\n", "line 2: 3 fields where the first line names 6 columns"),
    "long-row": ("slide,label\na,X, Y\n", "line 2: 3 fields where the first line names 2 columns"),
    "no-slide": (HEAD + ",X,P,,,\n", "line 2: the column 'slide' is empty"),
    "no-patient": (HEAD + "a,X,,,,\n", "line 2: slide 'a' has no patient.*fill the column 'patient'"),
    "mpp-words": (HEAD + "a,X,P,,\"0,25\",\n", "line 2: mpp '0,25' is not a number between 0.05 and 20 µm per pixel"),
    "mpp-in-nm": (HEAD + "a,X,P,,250,\n", "mpp '250' is not a number between 0.05 and 20"),
    "mpp-zero": (HEAD + "a,X,P,,0,\n", "mpp '0' is not"),
    "mpp-nan": (HEAD + "a,X,P,,nan,\n", "mpp 'nan' is not"),
    "objective-unit": (HEAD + "a,X,P,,,40x\n", "objective '40x' is not a number .*like 40, with a point and without"),
    "split-validation": (HEAD + "a,X,P,validation,,\n", "line 2: split 'validation' is not one of .*; write 'val'"),
    "split-valid": (HEAD + "a,X,P,valid,,\n", "write 'val'"),
    "split-testing": (HEAD + "a,X,P,testing,,\n", "write 'test'"),
    "split-training": (HEAD + "a,X,P,training,,\n", "write 'train'"),
    "split-case": (HEAD + "a,X,P,Train,,\n", "write 'train'"),
    "split-typo": (HEAD + "a,X,P,trian,,\n", "write 'train'"),
    "split-aux0": (HEAD + "a,X,P,aux0,,\n", "split 'aux0' is not one of"),
    "split-number": (HEAD + "a,X,P,7,,\n", "use one of train, val, test, dev, aux1"),
    "differing": (PLAIN + "a.svs,Other,P1\n", "lines 2 and 4: slide 'a.svs' has two rows .*label 'Viable' and 'Other'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_FILES)
def test_mistakes_are_refused_by_file_line_rule_and_remedy(tmp_path: Path, case: str) -> None:
    """Each mistake is a usage error whose message holds the file's name and the words a person needs."""
    content, expected = BAD_FILES[case]
    with pytest.raises(UsageError, match=expected) as caught:
        read_labels(write(tmp_path, content))
    assert "labels.csv" in str(caught.value)


@pytest.mark.parametrize("name", ["absent.csv", "."])
def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path, name: str) -> None:
    """A missing file and a folder are refused with the option's name, not with a traceback."""
    with pytest.raises(UsageError, match=r"cannot read the labels .* check --labels"):
        read_labels(tmp_path / name)


def test_no_synonym_stands_for_two_columns() -> None:
    """A foreign column name points to one column of ours, and never is one itself."""
    synonyms = [name for names in SYNONYMS.values() for name in names]
    assert len(set(synonyms)) == len(synonyms)
    assert not set(synonyms) & set(COLUMNS)


def test_name_lists_stop_at_their_limit() -> None:
    """A sentence lists names up to its limit and counts the others."""
    assert name_list(["a", "b"]) == "'a', 'b'"
    assert name_list("abcd", limit=3) == "'a', 'b', 'c' and 1 more"


def test_real_labels_are_read_whole() -> None:
    """The 60 osteosarcoma fields arrive with 20 slides per class, 4 patients and their split of 37, 8 and 15."""
    path = DATA / "osteosarcoma-10x" / "labels.csv"
    if not path.exists():
        pytest.skip("no osteosarcoma-10x/labels.csv under SLIDEPREP_DATA")
    rows = read_labels(path).rows
    assert sorted(row.label or "" for row in rows).count("Viable") == 20
    assert len({row.patient for row in rows}) == 4
    splits = [row.split for row in rows]
    assert [splits.count(name) for name in ("train", "val", "test")] == [37, 8, 15]


def test_every_slide_without_a_patient_is_named(tmp_path: Path) -> None:
    """NA in many rows is not one patient, and an empty cell is none: all lines are told at once."""
    text = "slide,label,patient\ns1,X,NA\ns2,X,P\ns3,X,\ns4,X,#N/A\n"
    with pytest.raises(
        UsageError,
        match=r"lines 2, 4, 5: slides 's1' \(patient 'NA'\), 's3', 's4' \(patient '#N/A'\) have no patient",
    ):
        read_labels(write(tmp_path, text))


@pytest.mark.parametrize("value", ["0_5", "\uff11", "inf", "nan", "0x1", '"0,5"', "1e999"])
def test_an_mpp_is_a_number_as_tables_hold_it(tmp_path: Path, value: str) -> None:
    """0_5 is not 5, and what only Python takes for a number is none."""
    with pytest.raises(UsageError, match=r"line 2: mpp .* is not a number between 0\.05 and 20 µm per pixel"):
        read_labels(write(tmp_path, f"slide,label,patient,mpp\na,X,P,{value}\n"))


def test_a_decimal_comma_is_answered_with_the_number_that_was_meant(tmp_path: Path) -> None:
    """Where fields have semicolons between them, people write 0,25."""
    with pytest.raises(UsageError, match=r"mpp '0,25' is not a number .*; write it like 0\.25, with a point"):
        read_labels(write(tmp_path, "slide;label;patient;mpp\na;X;P;0,25\n"))


def test_a_control_character_in_a_label_or_patient_is_refused_and_shown(tmp_path: Path) -> None:
    """It would be printed, and nobody would see it; a line break is a space."""
    with pytest.raises(UsageError, match=r"line 2: label 'X\\x1b\[31m' holds a control character"):
        read_labels(write(tmp_path, "slide,label,patient\na,X\x1b[31m,P\n"))
    (row,) = read_labels(write(tmp_path, 'slide,label,patient\na,"two\nlines",P\n')).rows
    assert row.label == "two lines"


def test_apostrophes_of_our_own_tables_are_taken_off(tmp_path: Path) -> None:
    """slides.csv can be given back as labels: '=1 stands for =1 there."""
    (row,) = read_labels(write(tmp_path, "slide,label,patient\n'=a.svs,'-,'+1\n")).rows
    assert (row.slide, row.label, row.patient) == ("=a.svs", "-", "+1")
