"""Decide which patient is in which split: pure, seeded, the same whatever order the slides come in.

Comes in: one :class:`~slideprep.labels.match.SlideEntry` per slide, the classes of annotated regions, the settings,
a seed. Goes out: a :class:`~slideprep.labels.split_plan.SplitPlan`. The order of the draw is that of a hash of seed
and patient name, so it depends neither on the other patients nor on a library's random numbers. Splits are
stored disjointly; named sets are unions of them, so the paper's ADv1 ⊂ ADv2 (section 4.2) is ``aux1`` and
``aux2 = aux1 + aux2_added``.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from slideprep.errors import UsageError
from slideprep.labels.apportion import apportion
from slideprep.labels.leaks import check_alike
from slideprep.labels.match import RegionClasses, SlideEntry, class_order, patient_classes, slide_votes
from slideprep.labels.split_plan import (
    LABELLED_SPLITS,
    PlannedSlide,
    SplitPlan,
    SplitSettings,
    named_sets,
    stored_split,
)
from slideprep.labels.split_warnings import (
    class_warnings,
    explicit_warnings,
    left_out_warnings,
    mixed_warnings,
    share_warnings,
)
from slideprep.text import count

IMPORTANCE = ("train", "test", "val")
"""A class not trained on is lost, one not tested says nothing, one not validated costs least."""

ByClass = Mapping[str, Sequence[str]]
"""Patients of each class, in the order of the draw."""


def assign_splits(
    entries: Sequence[SlideEntry],
    region_classes: RegionClasses,
    settings: SplitSettings,
    *,
    seed: int,
    classes: Sequence[str] | None = None,
) -> SplitPlan:
    """Assign every slide to a split by its patient.

    Patients that labels.csv gives a split keep it; the settings apply to the others. Labelled patients are
    drawn and shared out class by class; those left over may serve, without their labels, in auxiliary sets. A
    slide without a label is left out where its patient is in a labelled split: in an auxiliary set it would
    leak that patient.

    Args:
        entries: The slides, each name once, in any order.
        region_classes: Classes of annotated regions by slide; they override the slide's label.
        settings: The options.
        seed: Another seed draws other patients.
        classes: ``--classes``, the order of the class indices; None for sorted names.

    Raises:
        UsageError: A patient has two explicit splits, a class has too few patients, an auxiliary set is
            larger than what is left, the classes do not fit (see :func:`~slideprep.labels.match.class_order`), or
            patients that are probably one are in two splits (see :func:`~slideprep.labels.leaks.check_alike`).
    """
    entries = sorted(entries, key=lambda entry: entry.name)
    order = class_order(entries, region_classes, classes)
    class_of = patient_classes(entries, region_classes, order)
    explicit = explicit_splits(entries)
    free = {patient: name for patient, name in class_of.items() if patient not in explicit}
    by_class = _ranked_by_class(free, order, seed)
    complete = bool(explicit) and not any(by_class.values())
    drawn = {} if complete else _labelled_splits(by_class, settings)
    auxiliary = _auxiliary_splits([p for p in free if p not in drawn], free, explicit, settings, seed)
    split_of = {**explicit, **drawn, **auxiliary}
    slides = {e.name: planned_slide(e, split_of, class_of, region_classes, settings) for e in entries}
    return SplitPlan(
        slides=slides,
        classes=order,
        sets=named_sets({slide.split for slide in slides.values() if slide.split}),
        warnings=(
            *explicit_warnings(entries, class_of, explicit, settings),
            *share_warnings(order, drawn, settings),
            *class_warnings(
                order, _reach(entries, region_classes, split_of), () if complete else settings.wanted
            ),
            *mixed_warnings(entries, region_classes),
            *left_out_warnings({s.name: s.left_out for s in slides.values() if s.left_out}),
            *check_alike(entries, split_of, differ=settings.patients_differ),
        ),
    )


def _reach(
    entries: Iterable[SlideEntry], region_classes: RegionClasses, split_of: Mapping[str, str]
) -> dict[str, dict[str, str | None]]:
    """Stored split, or None, of each patient of whom a slide or region has a class, by class."""
    reach: defaultdict[str, dict[str, str | None]] = defaultdict(dict)
    for entry in entries:
        for vote in slide_votes(entry, region_classes):
            reach[vote][entry.patient] = split_of.get(entry.patient)
    return reach


def ranked(seed: int, purpose: str, patients: Iterable[str]) -> list[str]:
    """Patients in the order of the draw: a hash's, so neither input order nor other patients change it."""

    def rank(patient: str) -> tuple[bytes, str]:
        text = f"{seed}/{purpose}/{patient}".encode("utf-8", "surrogatepass")
        return hashlib.sha256(text).digest(), patient

    return sorted(patients, key=rank)


def _ranked_by_class(class_of: Mapping[str, str | None], classes: Sequence[str], seed: int) -> ByClass:
    by_class: dict[str, list[str]] = {name: [] for name in classes}
    for patient, name in class_of.items():
        if name is not None:
            by_class[name].append(patient)
    return {name: ranked(seed, "class", patients) for name, patients in by_class.items()}


def explicit_splits(entries: Iterable[SlideEntry], present: int = 0) -> dict[str, str]:
    """Stored split of each patient that the split column names.

    Args:
        entries: The slides.
        present: Number of the last auxiliary set that is there already, where slides are added to a set.

    Raises:
        UsageError: A patient has two splits, or auxiliary sets are not numbered on without a gap.
    """
    named: defaultdict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.split is not None:
            named[entry.patient].add(entry.split)
    torn = sorted(patient for patient, splits in named.items() if len(splits) > 1)
    if torn:
        listed = "; ".join(f"'{patient}' in {' and '.join(sorted(named[patient]))}" for patient in torn)
        raise UsageError(
            f"{count(len(torn), 'patient has', 'patients have')} slides in two splits, which leaks what is learnt into "
            f"what is measured: {listed}; give all slides of a patient one split"
        )
    names = {next(iter(splits)) for splits in named.values()}
    numbers = sorted(int(name.removeprefix("aux")) for name in names if name.startswith("aux"))
    new = [number for number in numbers if number > present]
    if new != list(range(present + 1, present + len(new) + 1)):
        raise UsageError(
            f"the split column names {', '.join(f'aux{n}' for n in numbers)}, but auxiliary sets are nested "
            f"and numbered on from aux{present + 1} without a gap; rename them (aux2 holds what is added to aux1)"
        )
    return {patient: stored_split(next(iter(splits))) for patient, splits in named.items()}


def _labelled_splits(by_class: ByClass, settings: SplitSettings) -> dict[str, str]:
    """Split of each labelled patient that the settings draw."""
    dev = settings.dev_per_class or 0
    kept: dict[str, Sequence[str]] = {}
    splits: dict[str, str] = {}
    for name, patients in by_class.items():
        number = len(patients) - dev if settings.labelled_per_class is None else settings.labelled_per_class
        _require(name, len(patients), number, settings)
        kept[name] = patients[:number]
        splits.update(dict.fromkeys(patients[number : number + dev], "dev"))
    shares = _shares([len(patients) for patients in kept.values()], settings)
    for patients, share in zip(kept.values(), shares, strict=True):
        start = 0
        for split, number in zip(IMPORTANCE, share[:3], strict=True):
            splits.update(dict.fromkeys(patients[start : start + number], split))
            start += number
    return splits


def _require(name: str, available: int, number: int, settings: SplitSettings) -> None:
    """Refuse a class that has fewer patients than the options ask of each."""
    asked = [
        f"{option} {value}"
        for option, value in (
            ("--labelled-per-class", settings.labelled_per_class),
            ("--dev-per-class", settings.dev_per_class),
        )
        if value is not None
    ]
    needed = max(number, 1) + (settings.dev_per_class or 0)
    if asked and available < needed:
        raise UsageError(
            f"class '{name}' has {available} patients to draw from, and {' with '.join(asked)} needs "
            f"{needed} of each class; ask for fewer, or label more patients of this class"
        )


def _shares(sizes: Sequence[int], settings: SplitSettings) -> list[list[int]]:
    """Patients per class (rows) in train, test, val and, with whole numbers, in none of them."""
    train, val, test = settings.weights
    counts = settings.counts
    if counts is None:
        return apportion(sizes, (train, test, val), cover=3)
    spare = sum(sizes) - sum(counts)
    if spare < 0:
        raise UsageError(
            f"--split {','.join(map(str, counts))} asks for {sum(counts)} labelled patients and {sum(sizes)} "
            "are there to be split; ask for fewer, or give fractions that sum to 1 (0.7,0.15,0.15)"
        )
    # The totals were asked for, so classes reach every split only as far as the totals stay exact.
    totals = (train, test, val, spare)
    tables = (apportion(sizes, totals, cover) for cover in (3, 2, 1, 0))
    return next(table for table in tables if tuple(map(sum, zip(*table, strict=True))) == totals)


def _auxiliary_splits(
    remaining: Sequence[str],
    class_of: Mapping[str, str | None],
    explicit: Mapping[str, str],
    settings: SplitSettings,
    seed: int,
) -> dict[str, str]:
    """Stored auxiliary split of each patient that is drawn from those who remain."""
    if not settings.aux:
        return {patient: "aux1" for patient in remaining if class_of[patient] is None}
    if any(split not in LABELLED_SPLITS for split in explicit.values()):
        raise UsageError(
            "the split column of labels.csv names auxiliary sets and --aux asks to draw them; use one of the "
            "two"
        )
    if settings.aux[-1] > len(remaining):
        raise UsageError(
            f"--aux {','.join(map(str, settings.aux))} asks for {settings.aux[-1]} patients and "
            f"{len(remaining)} are left after the labelled splits; ask for at most {len(remaining)}"
        )
    order = ranked(seed, "aux", remaining)
    splits: dict[str, str] = {}
    for number, (start, stop) in enumerate(zip((0, *settings.aux), settings.aux, strict=False), start=1):
        splits.update(dict.fromkeys(order[start:stop], stored_split(f"aux{number}")))
    return splits


def planned_slide(
    entry: SlideEntry,
    split_of: Mapping[str, str],
    class_of: Mapping[str, str | None],
    region_classes: RegionClasses,
    settings: SplitSettings,
) -> PlannedSlide:
    """Where a slide goes once its patient has a split, or why it is left out.

    Args:
        entry: The slide.
        split_of: Stored split by patient.
        class_of: Class by patient.
        region_classes: Classes of annotated regions by slide.
        settings: The options.
    """
    split = split_of.get(entry.patient)
    reason = None
    if split is None:
        reason = _not_drawn(class_of[entry.patient], settings)
    elif split in LABELLED_SPLITS and not slide_votes(entry, region_classes):
        reason = f"it has no label and its patient is in '{split}'"
    return PlannedSlide(
        name=entry.name,
        patient=entry.patient,
        label=entry.label,
        split=None if reason else split,
        left_out=reason,
    )


def _not_drawn(class_name: str | None, settings: SplitSettings) -> str:
    if settings.aux:
        return f"its patient was not drawn: the largest set of --aux holds {settings.aux[-1]}"
    assert class_name is not None, "without --aux every unlabelled patient is in aux1"
    if settings.counts is not None:
        return f"its patient was not drawn: --split asks for {sum(settings.counts)} patients"
    return f"its patient was not drawn: --labelled-per-class is {settings.labelled_per_class}"
