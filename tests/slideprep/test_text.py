"""Texts from outside, as they are shown, written and read."""

from __future__ import annotations

import csv
import io
import os

import pytest

from slideprep.text import (
    as_on_disk,
    count,
    csv_text,
    csv_value,
    for_terminal,
    number,
    readable,
    revealed,
    whole_number,
)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"latin\xe9.tif", "latin\\xe9.tif"),
        (b"\xff\xfe.svs", "\\xff\\xfe.svs"),
        (b"a\nb\tc\x1b[31m.svs", "a\\x0ab\\x09c\\x1b[31m.svs"),
        ("rtl\u202efvs.exe".encode(), "rtl\\u202efvs.exe"),
        ("c1\x9b31m".encode(), "c1\\x9b31m"),
        ("n\u00e9 \U0001f52c \u0930\u093e.svs".encode(), "n\u00e9 \U0001f52c \u0930\u093e.svs"),
    ],
)  # fmt: skip
def test_a_file_name_of_any_bytes_has_a_readable_name(raw: bytes, shown: str) -> None:
    """What cannot be shown becomes an escape, all else stays, and the name can be written as UTF-8."""
    assert readable(os.fsdecode(raw)) == shown
    assert readable(shown) == shown
    shown.encode()


def test_bytes_that_are_no_utf8_come_back() -> None:
    """A file beside the slide is found under the slide's own bytes."""
    name = os.fsdecode(b"latin\xe9-\xff")
    assert as_on_disk(readable(name)) == name


def test_a_lone_surrogate_of_json_is_an_escape() -> None:
    """JSON may hold half of a pair, which no file takes."""
    assert readable("\ud800x") == "\\ud800x"


def test_a_message_keeps_its_lines_and_nothing_else_that_moves_the_cursor() -> None:
    """Titles of windows, colours, returns and overrides of direction are shown as escapes."""
    assert for_terminal("a\nb\r\x1b]0;title\x07\u202ec") == "a\nb\\x0d\\x1b]0;title\\x07\\u202ec"


def test_two_names_that_look_the_same_are_told_apart() -> None:
    """Spaces of other widths, signs without width, accents by themselves are escapes."""
    assert revealed("P\u00a01") == "P\\u00a01"
    assert revealed("P1\u200b") == "P1\\u200b"
    assert revealed("Jose\u0301") == "Jose\\u0301"
    assert revealed("Jos\u00e9 1") == "Jos\u00e9 1"


FORMULAS = [
    "=cmd|'/c calc'!A1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "'=1", "''=1", "'", "a=1", "-0.5",
    "", "1", 'q"uote', "comma,", "'quoted'",
]  # fmt: skip


@pytest.mark.parametrize("value", FORMULAS)
def test_no_cell_is_a_formula_and_every_cell_comes_back(value: str) -> None:
    """What begins like a formula begins with an apostrophe; reading gives the value as it was."""
    (row,) = csv.reader(io.StringIO(csv_text([[value, "x"]]), newline=""))
    assert row[0][:1] not in set("=+-@\t\r\n\uff1d")
    assert csv_value(row[0]) == value


def test_numbers_of_our_own_stay_numbers() -> None:
    """A value that is given as a number is written as one; None is an empty cell."""
    assert csv_text([[-0.5, -3, None, True]]) == "-0.5,-3,,True\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.5", 0.5), (" 5 ", 5.0), ("+5", 5.0), ("-3", -3.0), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("2.5E-1", 0.25),
     ("007", 7.0)],
)  # fmt: skip
def test_numbers_as_tables_hold_them(text: str, value: float) -> None:
    """Digits, a point, an exponent."""
    assert number(text) == value


@pytest.mark.parametrize(
    "text",
    ["0_5", "1_000", "inf", "-inf", "Infinity", "nan", "NaN", "0x10", "\uff11", "\u0663", "1e999", "", "1 0", "5x",
     "1e",
     ".", "1'000", "0,5"],
)  # fmt: skip
def test_what_only_python_takes_for_a_number_is_none(text: str) -> None:
    """Underscores, other bases, other scripts, infinity and NaN are refused."""
    with pytest.raises(ValueError, match="is not a number"):
        number(text)
    with pytest.raises(ValueError, match="is not a whole number"):
        whole_number(text)


def test_a_decimal_comma_has_a_hint_of_its_own() -> None:
    """The number that was meant is written out."""
    with pytest.raises(ValueError, match=r"with a point: 0\.25"):
        number("0,25")


def test_a_number_without_end_is_shown_by_its_beginning() -> None:
    """Five thousand digits are neither counted out nor repeated."""
    with pytest.raises(ValueError, match=r"^'9{40}\.\.\.' is not a number"):
        number("9" * 5000)
    with pytest.raises(ValueError, match=r"^'9{40}\.\.\.' is not a whole number"):
        whole_number("9" * 5000)


def test_whole_numbers() -> None:
    """Digits, perhaps after a sign, and no point."""
    assert [whole_number(text) for text in ("12", "-3", "+4", "007")] == [12, -3, 4, 7]
    with pytest.raises(ValueError, match="not a whole number"):
        whole_number("1.0")


def test_a_count_of_one_is_singular() -> None:
    """1 fault, 2 faults, 1,200 faults."""
    assert [count(1, "fault"), count(0, "fault"), count(1200, "fault")] == [
        "1 fault",
        "0 faults",
        "1,200 faults",
    ]
    assert count(1, "row names a slide", "rows name slides") == "1 row names a slide"
