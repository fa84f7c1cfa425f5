"""Truths about finding the same file in two splits."""

from __future__ import annotations

import pytest

from slideprep.errors import UsageError
from slideprep.labels.leaks import check_leaks
from slideprep.labels.match import SlideEntry
from slideprep.labels.split_plan import SplitPlan, SplitSettings
from slideprep.labels.splits import assign_splits


def plan(*slides: tuple[str, str, str, str]) -> SplitPlan:
    """A plan of (slide, patient, label, split)."""
    entries = [SlideEntry(name=n, patient=p, label=c or None, split=s) for n, p, c, s in slides]
    return assign_splits(entries, {}, SplitSettings(), seed=0)


def test_one_file_in_two_splits_is_refused_with_every_name() -> None:
    """All slides, patients and splits of each identical group are named, and what to do."""
    torn = plan(
        ("a", "P", "X", "train"), ("copy", "Q", "X", "test"), ("b", "R", "Y", "aux1"), ("c", "S", "Y", "val"),
        ("d", "T", "Y", "dev"),
    )  # fmt: skip
    with pytest.raises(UsageError) as caught:
        check_leaks(torn, {"a": "1", "copy": "1", "b": "2", "c": "2", "d": "3"})
    message = str(caught.value)
    assert "2 files are in two splits" in message
    assert "'a' of patient 'P' in train; 'copy' of patient 'Q' in test" in message
    assert "'b' of patient 'R' in aux1; 'c' of patient 'S' in val" in message
    assert "'d'" not in message
    assert "delete the copy, or give both the same patient" in message


def test_auxiliary_increments_count_as_two_splits() -> None:
    """A copy in aux1 and in what aux2 adds would be read twice as one slide, so it is refused as well."""
    with pytest.raises(UsageError, match="in aux1; 'b' of patient 'Q' in aux2_added"):
        check_leaks(plan(("a", "P", "", "aux1"), ("b", "Q", "", "aux2")), {"a": "1", "b": "1"})


def test_copies_within_one_split_are_a_warning() -> None:
    """Inside a split a copy only counts twice; a contradiction of labels and patients is pointed out."""
    (warning,) = check_leaks(plan(("a", "P", "X", "train"), ("b", "Q", "Y", "train")), {"a": "1", "b": "1"})
    assert "the same file 2 times in train: 'a', 'b'" in warning
    assert "under patients 'P', 'Q'" in warning
    assert "with labels 'X', 'Y', of which one at most is right" in warning


def test_slides_left_out_or_unread_cannot_leak() -> None:
    """A copy that no split holds is harmless, and so is a slide without a fingerprint."""
    harmless = plan(("a", "P", "X", "train"), ("b", "Q", "", "test"), ("c", "R", "X", "test"))
    assert harmless.slides["b"].split is None
    assert check_leaks(harmless, {"a": "1", "b": "1"}) == ()


def test_patients_that_differ_only_in_case_or_spaces_are_a_warning() -> None:
    """'P1', 'p1 ' and 'P 1' are probably one patient."""
    (warning,) = check_leaks(
        plan(
            ("a", "P1", "X", "train"),
            ("b", "p1 ", "X", "test"),
            ("c", "P 1", "X", "val"),
            ("d", "P2", "X", "val"),
        ),
        {},
    )
    assert "patients 'P 1', 'P1', 'p1 ' differ only in case or spaces" in warning
