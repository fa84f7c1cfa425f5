"""Patients to folds: each in one, classes spread evenly, the same in any order; what cannot be split is refused."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdtrain.data.folds.assign import alike_in_several, assign_folds
from kdtrain.errors import UsageError

CLASSES = ("gland", "stroma", "fat")


@st.composite
def tables(draw) -> tuple[dict[str, dict[int, int]], int, int]:
    """Patients of one class each, a number of folds that the rarest class allows, and a seed."""
    count = draw(st.integers(2, 7))
    per_class = draw(st.lists(st.integers(count, 25), min_size=1, max_size=3))
    names = [(f"P{label}-{i}", label) for label, n in enumerate(per_class) for i in range(n)]
    samples = draw(st.lists(st.integers(1, 40), min_size=len(names), max_size=len(names)))
    table = {name: {label: n} for (name, label), n in zip(names, samples, strict=True)}
    return table, count, draw(st.integers(0, 2**40))


@settings(max_examples=60, deadline=None)
@given(tables())
def test_folds_are_disjoint_whole_and_balanced(drawn):
    """Every patient has one fold; of a class and in all, no fold has two patients more than another."""
    patients, count, seed = drawn
    folds = assign_folds(patients, CLASSES, count=count, seed=seed)
    assert set(folds) == set(patients)
    assert set(folds.values()) == set(range(1, count + 1))
    labels = {name: next(iter(samples)) for name, samples in patients.items()}
    for label in set(labels.values()):
        sizes = Counter(folds[name] for name in patients if labels[name] == label)
        assert min(sizes[fold] for fold in range(1, count + 1)) >= 1
        assert max(sizes.values()) - min(sizes.values()) <= 1
    sizes = Counter(folds.values())
    assert max(sizes.values()) - min(sizes.values()) <= 1


@settings(max_examples=30, deadline=None)
@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_the_patients_does_not_matter(drawn, shuffler: random.Random):
    """A shuffled table gives the same folds."""
    patients, count, seed = drawn
    rows = list(patients.items())
    shuffler.shuffle(rows)
    assert assign_folds(dict(rows), CLASSES, count=count, seed=seed) == assign_folds(
        patients, CLASSES, count=count, seed=seed
    )


def test_samples_are_shared_out_too():
    """Patients with 9, 8, 7, 3, 2, 1 samples, largest first to the smaller fold: 9 + 3 + 2 and 8 + 7 + 1."""
    patients = {f"P{n}": {0: n} for n in (9, 8, 7, 3, 2, 1)}
    folds = assign_folds(patients, CLASSES, count=2, seed=0)
    by_fold = [sum(int(name[1:]) for name in folds if folds[name] == fold) for fold in (1, 2)]
    assert by_fold == [14, 16]
    assert Counter(folds.values()) == {1: 3, 2: 3}


def test_a_patient_of_two_classes_counts_for_the_rarer():
    """Three patients who have fat beside gland go to three folds, whatever their gland."""
    patients = {f"G{i}": {0: 5} for i in range(6)} | {f"F{i}": {0: 9, 2: 1} for i in range(3)}
    folds = assign_folds(patients, CLASSES, count=3, seed=0)
    assert {folds[f"F{i}"] for i in range(3)} == {1, 2, 3}


def test_another_seed_deals_equals_out_otherwise():
    """Twelve patients alike: two seeds do not agree, and the same seed does."""
    patients = {f"P{i}": {0: 1} for i in range(12)}
    first, second = (assign_folds(patients, CLASSES, count=3, seed=seed) for seed in (0, 1))
    assert first != second
    assert first == assign_folds(patients, CLASSES, count=3, seed=0)


def test_names_of_probably_one_person_are_told_where_folds_part_them():
    """Case, signs and leading zeros apart; within one fold it does not matter, and other names are no matter at all."""
    assert alike_in_several({"P-1": 1, "p01": 2, "P 2": 1, "p2": 1, "P12": 2, "P1B": 3}) == [("P-1", "p01")]
    assert alike_in_several({"Müller": 1, "MÜLLER": 2, "0": 1, "00": 1, "000": 1}) == [("MÜLLER", "Müller")]


@pytest.mark.parametrize(
    ("patients", "count", "said"),
    [
        ({"A": {0: 1}, "B": {0: 1}}, 1, "--folds 1: .*two folds at least; give --folds 5"),
        (
            {"A": {0: 1}, "B": {0: 1}, "C": {1: 4}, "D": {1: 1}},
            3,
            "'gland' has 2 patients.*--folds 2 or fewer",
        ),
        ({"A": {0: 1}, "B": {0: 1}, "C": {1: 9}}, 2, "'stroma' has 1 patient,.*leave that class out"),
        ({}, 2, "no labelled samples"),
    ],
)
def test_what_cannot_be_split_is_refused(patients, count, said):
    """One fold, more folds than the rarest class has patients, nothing at all: with what to do."""
    with pytest.raises(UsageError, match=said):
        assign_folds(patients, CLASSES, count=count, seed=0)
