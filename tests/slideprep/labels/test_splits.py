"""Truths about who goes into which split: the paper's two protocols, explicit splits, refusals and properties."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from slideprep.errors import UsageError
from slideprep.labels.match import SlideEntry
from slideprep.labels.split_plan import SplitPlan, SplitSettings
from slideprep.labels.splits import assign_splits

DEFAULTS = SplitSettings()


def cohort(sizes: Mapping[str, int]) -> list[SlideEntry]:
    """Patients of one slide each, so many per class; the class '' is unlabelled."""
    return [
        SlideEntry(name=f"{label or 'u'}{number}.svs", patient=f"{label or 'u'}{number}", label=label or None)
        for label, size in sizes.items()
        for number in range(size)
    ]


def patients(plan: SplitPlan) -> dict[str, set[str]]:
    """Patients by stored split."""
    found: dict[str, set[str]] = {}
    for slide in plan.slides.values():
        if slide.split is not None:
            found.setdefault(slide.split, set()).add(slide.patient)
    return found


def counts(plan: SplitPlan) -> dict[str, int]:
    """Number of patients by stored split."""
    return {split: len(names) for split, names in patients(plan).items()}


def class_counts(plan: SplitPlan) -> Counter[tuple[str | None, str]]:
    """Number of slides by label and stored split."""
    return Counter((slide.label, slide.split) for slide in plan.slides.values() if slide.split)


def explicit(*slides: tuple[str, str, str, str]) -> list[SlideEntry]:
    """Entries of (slide, patient, label, split); '' is None."""
    return [SlideEntry(name=n, patient=p, label=c or None, split=s or None) for n, p, c, s in slides]


def test_the_celiac_protocol_is_one_call() -> None:
    """1 364 patients give 210/45/45 labelled, 60 development, and auxiliary sets of 300 and exactly the other 1 004."""
    entries = cohort({"Normal": 1124, "Duodenitis": 120, "Sprue": 120})
    settings = SplitSettings(labelled_per_class=100, dev_per_class=20, aux=(300, 1004))
    plan = assign_splits(entries, {}, settings, seed=0)
    assert counts(plan) == {"train": 210, "val": 45, "test": 45, "dev": 60, "aux1": 300, "aux2_added": 704}
    for label in plan.classes:
        per_class = [class_counts(plan)[label, split] for split in ("train", "val", "test", "dev")]
        assert per_class == [70, 15, 15, 20]
    assert dict(plan.sets) == {
        "train": ("train",),
        "val": ("val",),
        "test": ("test",),
        "aux1": ("aux1",),
        "aux2": ("aux1", "aux2_added"),
        "dev": ("dev",),
    }
    assert plan.left_out == {}
    assert plan.warnings == ()


def test_the_lung_protocol_is_one_call() -> None:
    """269 slides whose regions name classes split into 235 and 34, and a two-way split has no validation set."""
    names = ["Acinar", "Lepidic", "Micropapillary", "Papillary", "Solid"]
    entries = cohort({"": 269})
    regions = {e.name: [names[i % 5], names[(i * i) % 5], names[i % 5]] for i, e in enumerate(entries)}
    plan = assign_splits(entries, regions, SplitSettings(split=(235, 0, 34)), seed=0)
    assert counts(plan) == {"train": 235, "test": 34}
    assert dict(plan.sets) == {"train": ("train",), "test": ("test",)}
    assert plan.classes == tuple(names)
    assert all(slide.keeps_label for slide in plan.slides.values())


def test_without_labels_everything_is_auxiliary() -> None:
    """A folder of slides alone becomes one unlabelled set, and a warning says so."""
    plan = assign_splits(cohort({"": 3}), {}, DEFAULTS, seed=0)
    assert counts(plan) == {"aux1": 3}
    assert not any(slide.keeps_label for slide in plan.slides.values())
    assert "no slide has a label" in plan.warnings[0]


def test_unlabelled_patients_form_aux1_unless_asked_otherwise() -> None:
    """Labelled patients left over by --labelled-per-class are left out, since nothing asked to hide their labels."""
    plan = assign_splits(cohort({"A": 12, "B": 10, "": 4}), {}, SplitSettings(labelled_per_class=10), seed=0)
    assert counts(plan) == {"train": 14, "val": 3, "test": 3, "aux1": 4}
    assert len(plan.left_out) == 2
    assert set(plan.left_out.values()) == {"its patient was not drawn: --labelled-per-class is 10"}
    assert any(
        warning.startswith("2 slides left out because its patient was not drawn") for warning in plan.warnings
    )


def test_auxiliary_sets_take_leftover_and_unlabelled_patients_without_labels() -> None:
    """A labelled patient drawn into an auxiliary set loses its label there; who is not drawn is left out and listed."""
    entries = cohort({"A": 12, "B": 10, "": 4})
    plan = assign_splits(entries, {}, SplitSettings(labelled_per_class=10, aux=(1, 5)), seed=0)
    assert (counts(plan)["aux1"], counts(plan)["aux2_added"]) == (1, 4)
    assert not any(
        slide.keeps_label for slide in plan.slides.values() if slide.split in ("aux1", "aux2_added")
    )
    assert list(plan.left_out.values()) == ["its patient was not drawn: the largest set of --aux holds 5"]


def test_an_unlabelled_slide_of_a_labelled_patient_is_left_out() -> None:
    """It has no label to train with, and in an auxiliary set it would leak its patient."""
    entries = [*cohort({"A": 4, "B": 4}), SlideEntry(name="extra", patient="A0")]
    plan = assign_splits(entries, {}, DEFAULTS, seed=0)
    assert plan.slides["extra"].split is None
    assert plan.left_out["extra"] == f"it has no label and its patient is in '{plan.slides['A0.svs'].split}'"
    assert any("1 slide left out because it has no label" in warning for warning in plan.warnings)


def test_in_an_auxiliary_set_all_slides_of_a_patient_are_kept() -> None:
    """A labelled patient drawn as auxiliary brings its unlabelled slides along."""
    entries = [*cohort({"A": 2}), *(SlideEntry(name=f"x{n}", patient=f"A{n}") for n in range(2))]
    plan = assign_splits(entries, {}, SplitSettings(split=(1, 0, 0), labelled_per_class=1, aux=(1,)), seed=0)
    auxiliary = [slide for slide in plan.slides.values() if slide.split == "aux1"]
    assert len(auxiliary) == 2
    assert len({slide.patient for slide in auxiliary}) == 1


def test_explicit_splits_are_kept_for_every_slide_of_their_patient() -> None:
    """A split on one slide holds for the patient; aux2 is stored as what it adds to aux1."""
    entries = explicit(
        ("a", "P", "X", "test"), ("b", "P", "Y", ""), ("c", "Q", "X", "train"), ("d", "R", "Y", "train"),
        ("e", "S", "Y", "aux1"), ("f", "T", "", "aux2"), ("g", "U", "X", "dev"),
    )  # fmt: skip
    plan = assign_splits(entries, {}, DEFAULTS, seed=0)
    expected = {
        "a": "test",
        "b": "test",
        "c": "train",
        "d": "train",
        "e": "aux1",
        "f": "aux2_added",
        "g": "dev",
    }
    assert {name: slide.split for name, slide in plan.slides.items()} == expected
    assert plan.sets["aux2"] == ("aux1", "aux2_added")
    assert not plan.slides["e"].keeps_label
    assert any("1 patient has a split on some of their slides only" in warning for warning in plan.warnings)


def test_patients_without_an_explicit_split_are_shared_out_among_themselves() -> None:
    """The fractions hold for the rest: 20 free patients split 14/3/3 beside one that is fixed."""
    entries = [*cohort({"A": 10, "B": 10}), *explicit(("z", "Z", "A", "test"))]
    plan = assign_splits(entries, {}, DEFAULTS, seed=0)
    assert counts(plan) == {"train": 14, "val": 3, "test": 4}
    assert any("20 labelled patients have no split in labels.csv" in warning for warning in plan.warnings)


def test_a_complete_split_column_overrules_the_options_and_says_so() -> None:
    """Where labels.csv decides everything, --split and --labelled-per-class do nothing, which is noted."""
    entries = explicit(("a", "P", "X", "train"), ("b", "Q", "Y", "train"))
    plan = assign_splits(entries, {}, SplitSettings(split=(0.5, 0, 0.5), labelled_per_class=9), seed=0)
    assert counts(plan) == {"train": 2}
    assert plan.warnings == (
        "labels.csv names the split of every labelled patient, so --split and --labelled-per-class did nothing",
    )


@pytest.mark.parametrize(
    ("entries", "settings", "message"),
    [
        (
            explicit(("a", "P", "X", "train"), ("b", "P", "X", "test")),
            {},
            "'P' in test and train; give all slides",
        ),
        (explicit(("a", "P", "", "aux2")), {}, "names aux2, but auxiliary sets are nested"),
        (explicit(("a", "P", "", "aux1")) + cohort({"": 2}), {"aux": (1,)}, "use one of the two"),
        (
            cohort({"A": 9, "B": 4}),
            {"labelled_per_class": 5},
            "class 'B' has 4 patients .*-per-class 5 needs",
        ),
        (
            cohort({"A": 9, "B": 4}),
            {"dev_per_class": 4},
            "class 'B' has 4 patients .*--dev-per-class 4 needs 5",
        ),
        (
            cohort({"A": 5}),
            {"labelled_per_class": 4, "dev_per_class": 2},
            "class 'A' has 5 .*--labelled-per-class 4 with --dev-per-class 2 needs 6",
        ),
        (cohort({"A": 5, "": 3}), {"aux": (2, 4)}, "--aux 2,4 asks for 4 patients and 3 are left"),
        (
            cohort({"A": 5}),
            {"split": (70, 15, 15)},
            "--split 70,15,15 asks for 100 labelled patients and 5 are there",
        ),
        (cohort({"": 5}), {"split": (2, 0, 1)}, "asks for 3 labelled patients and 0 are there"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_names_and_numbers(
    entries: list[SlideEntry], settings: dict[str, tuple[int, ...] | int], message: str
) -> None:
    """Each impossible wish is a usage error that says what there is and what to ask for."""
    with pytest.raises(UsageError, match=message):
        assign_splits(entries, {}, SplitSettings(**settings), seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": (0.7, 0.3)}, "has 2 values; give three"),
        ({"split": (0.7, 0.2, 0.2)}, "sums to 1.1; fractions must sum to 1"),
        ({"split": (0.0, 0.5, 0.5)}, "train must not be 0"),
        ({"split": (1.2, -0.2, 0.0)}, "no value may be negative"),
        ({"split": (float("nan"), 0.5, 0.5)}, "no value may be negative"),
        ({"split": (10.5, 2.0, 2.0)}, "must be whole"),
        ({"labelled_per_class": 0}, "--labelled-per-class 0 is not a number of patients"),
        ({"dev_per_class": -1}, "--dev-per-class -1"),
        ({"aux": (300, 300)}, "--aux 300,300 must grow"),
        ({"aux": (0,)}, "--aux 0 must grow"),
    ],
)
def test_settings_are_checked_on_construction(settings: dict[str, float], message: str) -> None:
    """Options that contradict themselves are refused before any slide is looked at."""
    with pytest.raises(UsageError, match=message):
        SplitSettings(**settings)  # type: ignore[arg-type]


def test_fractions_are_taken_as_written() -> None:
    """0.7, 0.15 and 0.15 are 14:3:3 exactly, and 1,0,0 is all training, not one patient."""
    assert DEFAULTS.weights == (14, 3, 3)
    assert DEFAULTS.counts is None
    assert SplitSettings(split=(1, 0, 0)).counts is None
    assert SplitSettings(split=(235, 0, 34)).counts == (235, 0, 34)


def test_a_class_that_cannot_reach_a_split_is_a_warning() -> None:
    """One patient trains, two train and test; the warnings name class, count and what is missing."""
    plan = assign_splits(cohort({"A": 20, "B": 1, "C": 2}), {}, DEFAULTS, seed=0)
    assert "class 'B' has one patient only (train 1) and does not reach val and test" in plan.warnings
    assert "class 'C' has 2 patients (train 1, test 1) and does not reach val" in plan.warnings
    assert not any("'A'" in warning for warning in plan.warnings)


def test_totals_that_small_classes_bend_are_a_warning() -> None:
    """Ten classes of three patients put one into each split: 10/10/10 instead of 21/4.5/4.5, and that is said."""
    plan = assign_splits(cohort(dict.fromkeys("ABCDEFGHIJ", 3)), {}, DEFAULTS, seed=0)
    assert counts(plan) == {"train": 10, "val": 10, "test": 10}
    assert "have 10, 10 and 10 patients where the fractions ask for 21.0, 4.5 and 4.5" in plan.warnings[0]


def test_whole_numbers_are_met_exactly_even_against_coverage() -> None:
    """Two training patients of three classes were asked for, so two it is, and the class that loses is named."""
    plan = assign_splits(cohort({"A": 1, "B": 1, "C": 2}), {}, SplitSettings(split=(2, 1, 1)), seed=0)
    assert counts(plan) == {"train": 2, "val": 1, "test": 1}
    assert any("does not reach train" in warning for warning in plan.warnings)


def test_whole_numbers_cover_small_classes_where_the_totals_allow() -> None:
    """Two test patients of 20 A and 2 B are one of each, although B's share of them is only 0.2."""
    plan = assign_splits(cohort({"A": 20, "B": 2}), {}, SplitSettings(split=(20, 0, 2)), seed=0)
    assert (class_counts(plan)["A", "test"], class_counts(plan)["B", "test"]) == (1, 1)


def test_numbers_that_look_like_percentages_are_pointed_out() -> None:
    """70,15,15 means 100 patients; the warning shows how percentages are written."""
    plan = assign_splits(cohort({"A": 60, "B": 60}), {}, SplitSettings(split=(70, 15, 15)), seed=0)
    assert sum(counts(plan).values()) == 100
    assert any("not as percentages; for these write 0.7,0.15,0.15" in warning for warning in plan.warnings)


def test_a_single_class_and_mixed_patients_are_pointed_out() -> None:
    """A classifier needs two classes; a patient of several is balanced by the most frequent."""
    assert "there is one class only, 'A'" in assign_splits(cohort({"A": 9}), {}, DEFAULTS, seed=0).warnings[0]
    mixed = assign_splits(cohort({"A": 9, "B": 9}), {"A0.svs": ["A", "B"]}, DEFAULTS, seed=0)
    assert mixed.warnings == (
        "1 patient has more than one class; each was balanced by its most frequent one",
    )


def test_a_class_named_without_a_patient_is_a_warning() -> None:
    """--classes may name a class that does not occur; it keeps its index and is pointed out."""
    plan = assign_splits(cohort({"A": 9, "B": 9}), {}, DEFAULTS, seed=0, classes=["B", "C", "A"])
    assert plan.classes == ("B", "C", "A")
    assert plan.warnings == ("class 'C' has no patient and does not reach train and val and test",)


def test_another_seed_draws_other_patients() -> None:
    """Ten seeds give ten different test sets of the same size."""
    entries = cohort({"A": 50, "B": 50})
    drawn = {
        frozenset(patients(assign_splits(entries, {}, DEFAULTS, seed=seed))["test"]) for seed in range(10)
    }
    assert len(drawn) == 10
    assert {len(names) for names in drawn} == {15}


def test_the_draw_does_not_change_from_version_to_version() -> None:
    """The order is that of ``printf 0/class/A4 | sha256sum``: the first three train, the fourth tests."""
    plan = assign_splits(cohort({"A": 5, "B": 5}), {}, DEFAULTS, seed=0)
    assert patients(plan) == {
        "train": {"A0", "A2", "A3", "B2", "B3", "B1"},  # 03e2 b6d8 c4a0, 36e6 3d04 5501
        "test": {"A4", "B0"},  # ce03, 76ba
        "val": {"A1", "B4"},  # deed, 76cf
    }


def test_patients_of_one_class_do_not_depend_on_those_of_another() -> None:
    """More patients of class B leave the draw of class A as it was."""
    small = assign_splits(cohort({"A": 20, "B": 20}), {}, DEFAULTS, seed=0)
    large = assign_splits(cohort({"A": 20, "B": 40}), {}, DEFAULTS, seed=0)
    assert all(large.slides[f"A{n}.svs"].split == small.slides[f"A{n}.svs"].split for n in range(20))


@st.composite
def cohorts(draw: st.DrawFn) -> list[SlideEntry]:
    """Up to 40 patients of up to 3 slides, each labelled A, B, C or not at all, in any mixture."""
    labels = st.lists(st.sampled_from(["A", "B", "C", None]), min_size=1, max_size=3)
    return [
        SlideEntry(name=f"s{patient}-{number}", patient=f"p{patient}", label=label)
        for patient, slides in enumerate(draw(st.lists(labels, min_size=1, max_size=40)))
        for number, label in enumerate(slides)
    ]


def shuffled(entries: Sequence[SlideEntry], seed: int) -> list[SlideEntry]:
    """The same entries in another order."""
    return random.Random(seed).sample(entries, len(entries))


def labelled_patients(entries: Iterable[SlideEntry]) -> set[str]:
    """Patients with at least one label."""
    return {entry.patient for entry in entries if entry.label}


@given(cohorts(), st.integers(0, 3))
def test_no_patient_is_in_two_splits_and_no_slide_is_lost(entries: list[SlideEntry], seed: int) -> None:
    """Every slide is in one stored split or left out with a reason, and splits share no patient."""
    plan = assign_splits(entries, {}, DEFAULTS, seed=seed)
    assert set(plan.slides) == {entry.name for entry in entries}
    assert all((slide.split is None) != (slide.left_out is None) for slide in plan.slides.values())
    owners = [name for names in patients(plan).values() for name in names]
    assert len(owners) == len(set(owners))


@given(cohorts(), st.integers(0, 3))
def test_the_order_of_the_slides_does_not_matter(entries: list[SlideEntry], seed: int) -> None:
    """A shuffled list gives the same plan, warnings included."""
    settings = SplitSettings(split=(0.5, 0.25, 0.25))
    plans = [assign_splits(order, {}, settings, seed=seed) for order in (entries, shuffled(entries, seed))]
    assert plans[0] == plans[1]


@given(cohorts(), st.data())
def test_larger_auxiliary_sets_contain_the_smaller(entries: list[SlideEntry], data: st.DataObject) -> None:
    """aux1 is a part of aux2, both have the size asked for, and both stay the same whatever the other's size."""
    free = len({entry.patient for entry in entries} - labelled_patients(entries))
    assume(free > 0)
    sizes = tuple(sorted(data.draw(st.sets(st.integers(1, free), min_size=1, max_size=3))))
    plan = assign_splits(entries, {}, SplitSettings(aux=sizes), seed=0)
    stored = patients(plan)
    unions = [set().union(*(stored[part] for part in plan.sets[f"aux{n}"])) for n in range(1, len(sizes) + 1)]
    assert [len(union) for union in unions] == list(sizes)
    assert all(small < large for small, large in pairwise(unions))
    alone = assign_splits(entries, {}, SplitSettings(aux=sizes[-1:]), seed=0)
    assert patients(alone)["aux1"] == unions[-1]


@given(st.dictionaries(st.sampled_from("ABCDE"), st.integers(7, 90), min_size=1), st.integers(0, 3))
def test_fractions_hold_within_one_patient(sizes: dict[str, int], seed: int) -> None:
    """With seven and more patients per class, 70/15/15 holds to within one patient, overall and per class."""
    plan = assign_splits(cohort(sizes), {}, DEFAULTS, seed=seed)
    for split, fraction in zip(("train", "val", "test"), DEFAULTS.split, strict=True):
        assert abs(counts(plan)[split] - sum(sizes.values()) * fraction) < 1
        for label, size in sizes.items():
            assert abs(class_counts(plan)[label, split] - size * fraction) < 1


def test_a_hundred_thousand_slides_take_seconds() -> None:
    """Planning an archive is no part of the waiting time."""
    entries = [
        SlideEntry(name=f"s{n}", patient=f"p{n // 2}", label=f"c{n // 2 % 31}") for n in range(100_000)
    ]
    start = time.process_time()
    assign_splits(entries, {}, DEFAULTS, seed=0)
    assert time.process_time() - start < 3
