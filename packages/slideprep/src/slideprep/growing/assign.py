"""Where slides go that are added to a set: pure, seeded; no patient of the set ever moves.

A new slide of a patient of the set goes where that patient is. New labelled patients fill train, validation and testing
so that the whole set, old and new, comes closest to the fractions that it was built with. New unlabelled patients make
a further auxiliary increment, ``aux<n+1>_added``, and the named set ``aux<n+1>`` contains all before it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from slideprep.errors import UsageError
from slideprep.labels.alike import folded
from slideprep.labels.columns import name_list
from slideprep.labels.leaks import check_alike
from slideprep.labels.match import RegionClasses, SlideEntry, class_order, patient_classes, slide_votes
from slideprep.labels.split_plan import (
    LABELLED_SPLITS,
    SplitPlan,
    SplitSettings,
    last_aux,
    named_sets,
    stored_split,
)
from slideprep.labels.split_warnings import left_out_warnings, mixed_warnings
from slideprep.labels.splits import IMPORTANCE, explicit_splits, planned_slide, ranked
from slideprep.text import count, readable, revealed


def _same(name: str) -> str:
    return name


@dataclass(frozen=True, kw_only=True)
class Present:
    """What a set holds of patients and classes.

    Attributes:
        split_of: Stored split by patient; patients of whom every slide was left out are missing.
        class_of: Class by patient, of the same patients; None where a patient has none.
        classes: The classes, those that are being added among them.
        shown: A patient's name to the one in the set, which can be a pseudonym.
        named: Stored split by the real name of each patient; empty where the set shows names anyway.
    """

    split_of: Mapping[str, str]
    class_of: Mapping[str, str | None]
    classes: tuple[str, ...]
    shown: Callable[[str], str] = field(default=_same)
    named: Mapping[str, str] = field(default_factory=dict)

    def count(self, name: str) -> Counter[str]:
        """Patients of a class by stored split."""
        return Counter(self.split_of[patient] for patient, found in self.class_of.items() if found == name)


def assign_added(
    entries: Sequence[SlideEntry],
    region_classes: RegionClasses,
    present: Present,
    settings: SplitSettings,
    *,
    seed: int,
    to: str | None = None,
) -> SplitPlan:
    """Assign new slides to the splits of a set.

    Args:
        entries: The new slides, each name once, in any order.
        region_classes: Classes of annotated regions by slide; they override the slide's label.
        present: What the set holds.
        settings: The options that the set was built with.
        seed: The set's.
        to: Named set that takes all of them: train, val, test, dev, aux1, ...

    Returns:
        The plan of the new slides alone.

    Raises:
        UsageError: A class is not the set's, a patient of the set is asked to be in another split, or one that is
            probably a patient of the set comes into another split.
    """
    entries = sorted(entries, key=lambda entry: entry.name)
    check_classes({vote for entry in entries for vote in slide_votes(entry, region_classes)}, present.classes)
    order = class_order(entries, region_classes, present.classes)
    class_of = patient_classes(entries, region_classes, order)
    kept = {p: present.split_of[s] for p in class_of if (s := present.shown(p)) in present.split_of}
    asked = _asked(entries, present, to)
    _refuse_moves(kept, asked)
    fixed = {**asked, **kept}
    free = [patient for patient in class_of if patient not in fixed]
    drawn = _drawn(free, class_of, present, settings, seed)
    auxiliary = _auxiliary([p for p in free if p not in drawn], class_of, present, settings)
    split_of = {**fixed, **drawn, **auxiliary}
    slides = {e.name: planned_slide(e, split_of, class_of, region_classes, settings) for e in entries}
    return SplitPlan(
        slides=slides,
        classes=order,
        sets=named_sets({slide.split for slide in slides.values() if slide.split}),
        warnings=(
            *mixed_warnings(entries, region_classes),
            *left_out_warnings({s.name: s.left_out for s in slides.values() if s.left_out}),
            *check_alike(
                entries, split_of, present=present.named or present.split_of, differ=settings.patients_differ
            ),
        ),
    )


def check_classes(found: Iterable[str], classes: Sequence[str]) -> None:
    """Refuse classes that a set does not have.

    Raises:
        UsageError: There are some.
    """
    unknown = sorted(set(found) - set(classes))
    if unknown:
        known = {folded(name): name for name in classes}
        near = [
            f"'{revealed(name)}' for '{known[folded(name)]}'" for name in unknown if folded(name) in known
        ]
        meant = f" (nearly alike: {', '.join(near)})" if near else ""
        raise UsageError(
            f"the set's classes are {name_list(classes)}, and the labels name {name_list(unknown)}{meant}; correct "
            "them, or, "
            f"for classes that are really new, add {' '.join(f'--add-class {name!r}' for name in unknown)}"
        )


def with_classes(classes: Sequence[str], added: Sequence[str]) -> tuple[str, ...]:
    """The classes of a set and new ones behind them, so that no class changes its number.

    Raises:
        UsageError: A class is there already, or twice, or no label can have it.
    """
    if unseen := [name for name in added if readable(name) != name or not name.strip()]:
        raise UsageError(
            f"--add-class '{readable(unseen[0])}' is empty or holds what cannot be shown, here as an escape; correct it"
        )
    together = (*classes, *added)
    twice = sorted(name for name, count in Counter(together).items() if count > 1)
    if twice:
        raise UsageError(
            f"--add-class {twice[0]!r}: the set has the class already, or it is given twice; leave it out"
        )
    return together


def _asked(entries: Sequence[SlideEntry], present: Present, to: str | None) -> dict[str, str]:
    """Stored split by patient, of patients whom ``--to`` or the split column places."""
    last = last_aux(present.split_of.values())
    if to is None:
        return explicit_splits(entries, last)
    number = int(to.removeprefix("aux")) if to.startswith("aux") and to[3:].isdigit() else None
    if to not in LABELLED_SPLITS and not (number and number <= last + 1):
        raise UsageError(
            f"--to {to} is no split of the set and cannot become one; give {', '.join(LABELLED_SPLITS)}, or aux1 to "
            f"aux{last + 1}"
        )
    return {entry.patient: stored_split(to) for entry in entries}


def _refuse_moves(kept: Mapping[str, str], asked: Mapping[str, str]) -> None:
    moved = sorted(patient for patient in kept if asked.get(patient, kept[patient]) != kept[patient])
    if moved:
        listed = "; ".join(f"'{p}' is in {kept[p]}, asked for {asked[p]}" for p in moved[:5])
        raise UsageError(
            f"{count(len(moved), 'patient is', 'patients are')} "
            f"in the set and will not change the split, since a model may have "
            "seen them: "
            f"{listed}; give their slides no split, or leave them out"
        )


def _drawn(
    free: Iterable[str],
    class_of: Mapping[str, str | None],
    present: Present,
    settings: SplitSettings,
    seed: int,
) -> dict[str, str]:
    """Split of each new labelled patient that train, val and test take up."""
    by_class: defaultdict[str, list[str]] = defaultdict(list)
    for patient in free:
        name = class_of[patient]
        if name is not None:
            by_class[name].append(patient)
    train, val, test = settings.weights
    weights = dict(zip(IMPORTANCE, (train, test, val), strict=True))
    splits: dict[str, str] = {}
    for name, patients in sorted(by_class.items()):
        have = {split: present.count(name)[split] for split in IMPORTANCE}
        splits |= fill(ranked(seed, "class", patients), have, weights, most=settings.labelled_per_class)
    return splits


def fill(
    patients: Sequence[str], have: Mapping[str, int], weights: Mapping[str, int], *, most: int | None = None
) -> dict[str, str]:
    """Give each patient to the split that lacks most of its share.

    Args:
        patients: New patients of one class, in the order of the draw.
        have: Patients of the class that each split has; the order of the splits breaks ties.
        weights: Shares of the splits, in whole numbers.
        most: Patients of the class that all splits together may have; None for any number.

    Returns:
        Split by patient; those beyond ``most`` are missing.
    """
    count = dict(have)
    whole = sum(weights.values())
    splits = {}
    for patient in patients:
        total = sum(count.values())
        if most is not None and total >= most:
            break
        # In whole numbers: how much of its share of one patient more each split would lack.
        lacking = {
            split: weights[split] * (total + 1) - whole * count[split] for split in count if weights[split]
        }
        splits[patient] = max(lacking, key=lambda split: lacking[split])
        count[splits[patient]] += 1
    return splits


def _auxiliary(
    remaining: Iterable[str], class_of: Mapping[str, str | None], present: Present, settings: SplitSettings
) -> dict[str, str]:
    """The increment takes unlabelled patients and, where the set draws auxiliary ones, labelled ones to spare."""
    increment = stored_split(f"aux{last_aux(present.split_of.values()) + 1}")
    return {patient: increment for patient in remaining if settings.aux or class_of[patient] is None}
