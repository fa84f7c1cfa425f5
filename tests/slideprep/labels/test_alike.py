"""Truths about names that mean nobody, and names that look like one."""

from __future__ import annotations

import pytest

from slideprep.labels.alike import folded, is_nobody, like_groups, likeness


@pytest.mark.parametrize(
    "cell",
    [
        "", " ", "\u200b", "NA", "na", "N/A", "n.a.", "#N/A", "#N/A N/A", "<NA>", "nan", "NaN", "-nan", "-1.#IND",
        "#REF!", "none", "None", "NULL", "unknown", "?", "-", "--", "\u2013", ".", "...", "not available", "ANONYMOUS",
        "\uff2e\uff21",
    ],
)  # fmt: skip
def test_a_cell_that_says_nothing_names_nobody(cell: str) -> None:
    """What people, pandas and spreadsheet programs write where there is no patient is no patient."""
    assert is_nobody(cell)


@pytest.mark.parametrize(
    "cell", ["0", "1", "X", "N", "NA-1", "Nana", "Ann", "name", "value", "None Such", "P?", "+", "\u738b"]
)
def test_short_and_strange_names_are_names(cell: str) -> None:
    """A patient called 0 or X is one."""
    assert not is_nobody(cell)


def test_groups_are_sorted_and_hold_each_name_once() -> None:
    """Names that are alone, or given twice, make no group."""
    assert like_groups(["2", "001", "1", "1", "x y", "XY", "z"]) == [["001", "1"], ["XY", "x y"]]


def test_a_name_of_signs_alone_is_like_itself_only() -> None:
    """Nothing is left of '##' once its signs are passed over, yet '##' is not '%'."""
    assert likeness("##") != likeness("%")


def test_an_exponent_is_not_counted_out_beyond_reason() -> None:
    """'1e99' is a number of a hundred digits, '1e999999' is a name: no digits are made of it."""
    assert likeness("1e99") == "1" + "0" * 99
    assert likeness("1e999999") == "1e999999"


def test_classes_that_differ_by_a_sign_are_two() -> None:
    """HER2+ and HER2- are not folded into one; 'Tumor' and 'tumor ' are, and so are widths and hidden signs."""
    assert folded("HER2+") != folded("HER2-")
    assert folded("Tumor") == folded("tumor ") == folded("Tu\u00admor") == folded("\uff34umor")
