"""Names made fit for terminals, tables and messages: what is shown, and that the way back is exact."""

from __future__ import annotations

import csv
import io
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures import strangers
from kdtrain.text import brief, csv_text, csv_value, on_terminal, readable, readable_json, visible

EVERY_NAME = (
    *strangers.TERMINAL,
    *strangers.MARKUP,
    *strangers.FORMULAS,
    *strangers.MARKDOWN,
    *strangers.LATEX,
)
UNSEEN = {
    *map(chr, range(32)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2069",
}
"""C0, DEL, C1, and what turns the direction of writing (UAX 9)."""


@pytest.mark.parametrize("name", EVERY_NAME)
def test_what_cannot_be_seen_is_spelled_out(name: str) -> None:
    """Nothing that a terminal obeys is left, and a second time nothing changes; the text can be encoded."""
    shown = visible(name)
    assert not set(shown) & UNSEEN
    assert visible(shown) == shown
    assert shown.encode()


def test_ordinary_names_stay_as_they_are() -> None:
    """Of any script, with any sign that is seen."""
    for name in ("case 7 (2).svs", "Präparat-ß", "スライド", "🔬 ≥5 %", "a\\b"):
        assert visible(name) == readable(name) == on_terminal(name) == name


def test_a_message_keeps_its_lines() -> None:
    """And loses the carriage return that would write over one."""
    assert on_terminal("one\ntwo\rthree") == "one\ntwo\\u000dthree"


def test_json_with_names_spelled_out_is_the_same_json() -> None:
    """What a command prints as JSON reads back as it was."""
    content = {"names": [name for name in EVERY_NAME if "\udce9" not in name]}
    assert json.loads(on_terminal(json.dumps(content, indent=1, ensure_ascii=False))) == content


@given(st.binary(min_size=1, max_size=12).filter(lambda data: b"/" not in data and b"\0" not in data))
def test_any_file_name_reads_back(data: bytes) -> None:
    r"""A byte that is no UTF-8 is shown as \xe9, and no other name is shown alike but one that is so written."""
    name = os.fsdecode(data)
    shown = readable(name)
    assert shown.encode()
    if shown == name:
        return
    back = shown.encode().replace(b"\\\\", b"\0")
    for byte in range(0x80, 0x100):
        back = back.replace(b"\\x%02x" % byte, bytes([byte]))
    assert back.replace(b"\0", b"\\") == data


def test_content_is_readable_at_any_depth() -> None:
    """Keys, lists and texts; numbers stay."""
    assert readable_json({"a\udce9": ["b\udce9", {"c": 1.5}], "d": None}) == {
        r"a\xe9": [r"b\xe9", {"c": 1.5}],
        "d": None,
    }


def cells(*row: object) -> list[str]:
    """What a CSV reader hands over of a row."""
    (read,) = csv.reader(io.StringIO(csv_text([row]), newline=""))
    return read


@pytest.mark.parametrize("name", strangers.FORMULAS)
def test_no_cell_begins_a_formula(name: str) -> None:
    """OWASP's signs, wide ones and those behind an apostrophe get one more in front, and it comes off again."""
    (cell,) = cells(name)
    assert cell == f"'{name}"
    assert csv_value(cell) == name


@given(st.text(st.sampled_from("'=+-@\t\r\na1,\"＝"), max_size=6))
def test_any_text_reads_back(text: str) -> None:
    """Whatever its first signs are; and no spreadsheet computes what is no number."""
    (cell,) = cells(text) if text else ("",)
    assert csv_value(cell) == text
    assert not cell or cell[0] not in "=@\t\r\n＝"


def test_numbers_stay_numbers() -> None:
    """To the last bit, with their sign, and with intervals as reports write them."""
    assert cells(-0.5, 1 / 3, 7, None, -1e-300) == ["-0.5", repr(1 / 3), "7", "", "-1e-300"]
    ours = ("-0.80 (-2.00 to +0.40)", "+4.10", "-", "–", "-1.0", "84.03 (82.61-85.47)", "-12.5%")
    assert cells(*ours) == list(ours)
    assert cells("-1+1", "-a", "+1 (x)") == ["'-1+1", "'-a", "'+1 (x)"]


def test_values_in_messages_are_short() -> None:
    """A megabyte, a deep list and an endless one take one line."""
    endless: list[object] = []
    endless.append(endless)
    deep: object = 0
    for _ in range(500):
        deep = [deep]
    for value in (
        "x" * 10**6,
        ["\x1b"] * 10**6,
        endless,
        deep,
        {str(n): n for n in range(1000)},
        b"\0" * 10**6,
    ):
        shown = brief(value)
        assert len(shown) <= 80 and "\n" not in shown and "\x1b" not in shown
    assert (brief("fast"), brief(0), brief([2, 0])) == ("'fast'", "0", "[2, 0]")
