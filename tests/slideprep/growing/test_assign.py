"""Where added slides go: the fractions of old and new patients together, and nobody who is there moves."""

from __future__ import annotations

from collections import Counter

import pytest

from slideprep.errors import UsageError
from slideprep.growing.assign import Present, assign_added, fill, with_classes
from slideprep.labels.match import SlideEntry
from slideprep.labels.split_plan import SplitSettings, last_aux, named_sets

WEIGHTS = {"train": 14, "test": 3, "val": 3}
"""0.7, 0.15 and 0.15 of twentieths."""
PRESENT = Present(
    split_of={"old": "test", "grey": "aux1", "more": "aux2_added"},
    class_of={"old": "a", "grey": None, "more": None},
    classes=("a", "b"),
)


def entry(patient: str, label: str | None = "a", split: str | None = None) -> SlideEntry:
    """A slide of its own for a patient."""
    return SlideEntry(name=f"{patient}.svs", patient=patient, label=label, split=split)


def assign(*entries: SlideEntry, to: str | None = None, **settings: object) -> dict[str, str | None]:
    """Split by slide."""
    plan = assign_added(entries, {}, PRESENT, SplitSettings(**settings), seed=0, to=to)  # type: ignore[arg-type]
    return {name: slide.split for name, slide in plan.slides.items()}


def test_splits_fill_up_to_the_fractions() -> None:
    """Twenty new patients behind an empty set are shared 14, 3, 3; behind 14 in train the next six go elsewhere."""
    patients = [str(number) for number in range(20)]
    empty = {"train": 0, "test": 0, "val": 0}
    assert Counter(fill(patients, empty, WEIGHTS).values()) == WEIGHTS
    full = {"train": 14, "test": 0, "val": 0}
    assert Counter(fill(patients[:6], full, WEIGHTS).values()) == {"test": 3, "val": 3}


@pytest.mark.parametrize("number", [1, 7, 40])
def test_one_at_a_time_ends_where_all_at_once_does(number: int) -> None:
    """Patients who come one by one end in the same numbers as those who come together."""
    count = {"train": 3, "test": 1, "val": 0}
    together = Counter(count) + Counter(fill([str(n) for n in range(number)], count, WEIGHTS).values())
    for n in range(number):
        (split,) = fill([str(n)], count, WEIGHTS).values()
        count[split] += 1
    assert {name: together[name] for name in count} == count


def test_a_patient_of_nearly_the_same_name_stays_where_the_set_has_one() -> None:
    """'OLD' into train while 'old' is tested is refused; in one split it is told, unless they differ."""
    with pytest.raises(UsageError, match="'old' of the set in test"):
        assign(entry("OLD"), to="train")
    plan = assign_added([entry("O-L-D")], {}, PRESENT, SplitSettings(), seed=0, to="test")
    assert any("have nearly the same name" in text for text in plan.warnings)
    assert assign(entry("OLD"), to="train", patients_differ=True) == {"OLD.svs": "train"}


def test_a_split_that_was_switched_off_stays_empty() -> None:
    """A set of train and test alone gets no validation patient."""
    assert set(fill(list("abcdef"), {"train": 0, "test": 0, "val": 0}, {**WEIGHTS, "val": 0}).values()) == {
        "train",
        "test",
    }


def test_a_patient_of_the_set_stays() -> None:
    """New slides of a test patient are test, those of auxiliary patients auxiliary, with or without a label."""
    assert assign(entry("old"), entry("grey", None), entry("more", "b")) == {
        "old.svs": "test",
        "grey.svs": "aux1",
        "more.svs": "aux2_added",
    }


def test_unlabelled_patients_make_the_next_increment() -> None:
    """Behind aux1 and aux2 comes aux3_added, and the set aux3 holds all three."""
    assert assign(entry("new", None)) == {"new.svs": "aux3_added"}
    assert named_sets({"aux1", "aux2_added", "aux3_added"})["aux3"] == ("aux1", "aux2_added", "aux3_added")
    assert last_aux({"train", "aux1", "aux12_added"}) == 12
    assert last_aux({"train", "auxiliary"}) == 0


def test_a_set_whose_first_increment_was_emptied_keeps_its_later_names() -> None:
    """Where aux1 is gone, aux3 is still aux3."""
    assert named_sets({"aux3_added"}) == {"aux3": ("aux3_added",)}


def test_labelled_patients_beyond_the_number_asked_for() -> None:
    """Where the set was built with 1 patient per class, a second of class a is left out, or auxiliary with --aux."""
    assert assign(entry("new"), labelled_per_class=1) == {"new.svs": None}
    assert assign(entry("new"), labelled_per_class=1, aux=(1, 2)) == {"new.svs": "aux3_added"}


def test_the_order_of_the_slides_changes_nothing() -> None:
    """The draw is that of names and seed."""
    entries = [entry(f"p{number}") for number in range(9)]
    assert assign(*entries) == assign(*reversed(entries))


def test_explicit_splits_count_on() -> None:
    """The split column may name aux3 behind aux2, but not aux4; and to says where all go."""
    assert assign(entry("new", None, "aux3")) == {"new.svs": "aux3_added"}
    with pytest.raises(UsageError, match="numbered on from aux3"):
        assign(entry("new", None, "aux4"))
    assert assign(entry("new"), entry("newer"), to="val") == {"new.svs": "val", "newer.svs": "val"}


@pytest.mark.parametrize(
    ("given", "to", "message"),
    [
        (entry("old", split="train"), None, "'old' is in test, asked for train"),
        (entry("old"), "aux1", "'old' is in test, asked for aux1"),
        (entry("new", "c"), None, "--add-class 'c'"),
        (entry("new"), "testing", "--to testing is no split"),
        (entry("new"), "aux0", "--to aux0 is no split"),
    ],
)
def test_what_cannot_be_is_refused(given: SlideEntry, to: str | None, message: str) -> None:
    """Patients do not move, classes are the set's, and splits have their names."""
    with pytest.raises(UsageError, match=message):
        assign(given, to=to)


def test_new_classes_come_last() -> None:
    """A class that is added never takes the number of another, and is not there yet."""
    assert with_classes(("a", "b"), ("0",)) == ("a", "b", "0")
    with pytest.raises(UsageError, match="'b'"):
        with_classes(("a", "b"), ("b",))
