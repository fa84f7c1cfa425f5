"""Truths about finding the same file, or the same person, in two splits."""

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


ALIKE = {
    "zeros": ("1", "001"),
    "a decimal": ("1", "1.0"),
    "decimals": ("1", "1.00"),
    "a decimal comma": ("1", "1,0"),
    "an exponent": ("12000", "12E3"),
    "a hyphen": ("P1", "P-1"),
    "an underscore": ("P1", "P_1"),
    "a space": ("P1", "P 1"),
    "a no-break space": ("P1", "P\u00a01"),
    "a point": ("P1", "p.1"),
    "case": ("P1", "p1"),
    "zeros inside": ("P1", "P001"),
    "a zero-width space": ("P1", "P1\u200b"),
    "a byte-order mark": ("P1", "\ufeffP1"),
    "a soft hyphen": ("Meier", "Mei\u00ader"),
    "full-width digits": ("12", "\uff11\uff12"),
    "full-width letters": ("P1", "\uff30\uff11"),
    "Arabic digits": ("3", "\u0663"),
    "accents in two codings": ("Jos\u00e9", "Jose\u0301"),
    "a Cyrillic letter": ("P1", "\u04201"),
}
"""Names of one person that a spreadsheet program, a keyboard or a scanner made two of."""


@pytest.mark.parametrize("pair", ALIKE.values(), ids=ALIKE)
def test_names_of_probably_one_person_are_refused_in_two_splits(pair: tuple[str, str]) -> None:
    """Both are named, with splits and slides, and the option that says that they differ."""
    slides = (("a", pair[0], "X", "train"), ("b", pair[1], "X", "test"))
    with pytest.raises(UsageError) as caught:
        plan(*slides)
    said = str(caught.value)
    assert "(slide 'a') in train" in said
    assert "(slide 'b') in test" in said
    assert "--patients-differ" in said
    assert not {"\u200b", "\ufeff", "\u00ad", "\u00a0", "\u0301"} & set(said)  # shown as escapes
    entries = [SlideEntry(name=n, patient=p, label=c, split=s) for n, p, c, s in slides]
    told = assign_splits(entries, {}, SplitSettings(patients_differ=True), seed=0)
    assert [slide.split for slide in told.slides.values()] == ["train", "test"]


@pytest.mark.parametrize(
    "pair",
    [("1", "2"), ("1-23", "12-3"), ("1.1", "1.10"), ("1.5", "15"), ("P1", "P10"), ("P1", "Q1"), ("10", "1"),
     ("HER2+", "HER2-"), ("\u0930\u093e\u092e", "\u0930\u0940\u092e"), ("TCGA-05-4244", "TCGA-05-4249")],
)  # fmt: skip
def test_names_of_different_people_are_not_alike(pair: tuple[str, str]) -> None:
    """Numbers that differ, dots between digits, vowel signs of other scripts tell people apart: nothing is said."""
    warnings = plan(("a", pair[0], "X", "train"), ("b", pair[1], "X", "test")).warnings
    assert not [text for text in warnings if "nearly the same name" in text]


def test_names_of_probably_one_person_in_one_split_are_a_warning() -> None:
    """No model is measured on whom it has seen, but the person counts twice; the hidden sign is shown."""
    warnings = plan(("a", "P1", "X", "train"), ("b", "P1\u200b", "X", "train")).warnings
    (told,) = [warning for warning in warnings if "nearly" in warning]
    assert "patients 'P1', 'P1\\u200b' have nearly the same name and count as 2 patients" in told


def test_auxiliary_sets_hold_each_other_so_that_a_person_may_be_in_two() -> None:
    """Nothing is measured on an auxiliary set; in aux1 and aux2 a pair is a warning, in aux1 and test refused."""
    warnings = plan(("a", "P1", "", "aux1"), ("b", "P-1", "", "aux2")).warnings
    assert any("nearly the same name" in text for text in warnings)
    with pytest.raises(UsageError, match="in aux1"):
        plan(("a", "P1", "", "aux1"), ("b", "P-1", "X", "test"))


def test_the_line_of_labels_csv_is_named() -> None:
    """Who wrote the table finds both rows."""
    entries = [
        SlideEntry(name="a", patient="1", label="X", split="train", line=2),
        SlideEntry(name="b", patient="001", label="X", split="test", line=7),
    ]
    with pytest.raises(
        UsageError, match=r"'001' \(line 7, slide 'b'\) in test; '1' \(line 2, slide 'a'\) in train"
    ):
        assign_splits(entries, {}, SplitSettings(), seed=0)


def test_however_many_groups_there_are_one_sentence_is_said() -> None:
    """An archive of thousands of doubtful names shall not fill the screen; the first ten groups are shown."""
    slides = [(f"{n}-{way}", f"P{way}{n}", "X", "train") for n in range(1, 30) for way in ("", "-")]
    (told,) = [warning for warning in plan(*slides).warnings if "nearly" in warning]
    assert "and 19 groups more have nearly the same name and count as 58 patients" in told


def test_a_slide_without_a_patient_is_called_that() -> None:
    """Whoever gave no patients learns why slides are spoken of as patients."""
    entries = [
        SlideEntry(name="a-1.svs", patient="a-1", label="X", split="train"),
        SlideEntry(name="a1.svs", patient="a1", label="X", split="test", line=3),
    ]
    with pytest.raises(UsageError) as caught:
        assign_splits(entries, {}, SplitSettings(), seed=0)
    assert "'a-1' (slide 'a-1.svs', which nothing gives a patient) in train" in str(caught.value)
    assert "'a1' (line 3, slide 'a1.svs', named like it) in test" in str(caught.value)
