"""What a person should know about a split before training on it, in plain sentences."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from slideprep.labels.columns import name_list
from slideprep.labels.match import RegionClasses, SlideEntry, slide_votes
from slideprep.labels.split_plan import DEFAULT_SPLIT, SplitSettings
from slideprep.text import count

Classes = Mapping[str, str | None]
"""Class by patient, None for an unlabelled one."""


def explicit_warnings(
    entries: Iterable[SlideEntry], class_of: Classes, explicit: Mapping[str, str], settings: SplitSettings
) -> list[str]:
    """How the split column and the options share the work.

    Args:
        entries: The slides.
        class_of: Class by patient.
        explicit: Stored split of each patient that the split column names.
        settings: The options.
    """
    if not explicit:
        return []
    free = [patient for patient, name in class_of.items() if patient not in explicit and name is not None]
    warnings = _overruled(free, settings)
    if free:
        warnings.append(
            f"{count(len(free), 'labelled patient has', 'labelled patients have')} "
            f"no split in labels.csv; the options "
            "share them out among themselves"
        )
    part = {entry.patient for entry in entries if entry.split is None and entry.patient in explicit}
    if part:
        warnings.append(
            f"{count(len(part), 'patient has', 'patients have')} "
            f"a split on some of their slides only; it holds for all "
            "their slides: " + name_list(sorted(part))
        )
    return warnings


def _overruled(free: Sequence[str], settings: SplitSettings) -> list[str]:
    asked = {
        "--split": settings.split != DEFAULT_SPLIT,
        "--labelled-per-class": settings.labelled_per_class is not None,
        "--dev-per-class": settings.dev_per_class is not None,
    }
    overruled = [option for option, given in asked.items() if given]
    if free or not overruled:
        return []
    return [f"labels.csv names the split of every labelled patient, so {' and '.join(overruled)} did nothing"]


def share_warnings(classes: Sequence[str], drawn: Mapping[str, str], settings: SplitSettings) -> list[str]:
    """Where the totals are not what ``--split`` says.

    Args:
        classes: All classes.
        drawn: Split of each patient that was drawn.
        settings: The options.
    """
    warnings = []
    if settings.counts is not None and sum(settings.counts) == 100:
        warnings.append(
            "--split takes whole numbers as numbers of patients, not as percentages; for these write "
            + ",".join(f"{count / 100:g}" for count in settings.counts)
        )
    totals = Counter(drawn.values())
    got = [totals[name] for name in ("train", "val", "test")]
    exact = [sum(got) * weight / sum(settings.weights) for weight in settings.weights]
    if settings.counts is None and any(abs(g - e) >= 1 for g, e in zip(got, exact, strict=True)):
        warnings.append(
            f"train, val and test have {got[0]}, {got[1]} and {got[2]} patients where the fractions ask for "
            f"{exact[0]:.1f}, {exact[1]:.1f} and {exact[2]:.1f}: each of the {len(classes)} classes "
            "puts one patient into every split first, and some have few"
        )
    return warnings


def class_warnings(
    classes: Sequence[str], reach: Mapping[str, Mapping[str, str | None]], wanted: Sequence[str]
) -> list[str]:
    """Classes that are alone, or of which some split has no slide and no region.

    Args:
        classes: All classes in order.
        reach: For each class, the stored split (or None) of each patient of whom a slide or region has it.
        wanted: Splits that the options ask for; those that hold any class are expected to hold each.
    """
    if not classes:
        return ["no slide has a label, so every slide is unlabelled and only auxiliary sets are made"]
    warnings = []
    if len(classes) == 1:
        warnings.append(f"there is one class only, '{classes[0]}'; a classifier needs two")
    numbers = {name: Counter(reach.get(name, {}).values()) for name in classes}
    expected = [
        split
        for split in ("train", "val", "test")
        if split in wanted or any(number[split] for number in numbers.values())
    ]
    for name, number in numbers.items():
        missing = [split for split in expected if not number[split]]
        if missing:
            warnings.append(_unreached(name, number, missing))
    return warnings


def _unreached(name: str, counts: Counter[str | None], missing: Sequence[str]) -> str:
    number = counts.total()
    has = ", ".join(f"{split} {counts[split]}" for split in ("train", "val", "test", "dev") if counts[split])
    patients = {0: "no patient", 1: "one patient only"}.get(number, f"{number} patients")
    listed = f" ({has})" if has else ""
    return f"class '{name}' has {patients}{listed} and does not reach {' and '.join(missing)}"


def mixed_warnings(entries: Iterable[SlideEntry], region_classes: RegionClasses) -> list[str]:
    """How many patients carry several classes, since the split balances only the most frequent."""
    classes: defaultdict[str, set[str]] = defaultdict(set)
    for entry in entries:
        classes[entry.patient].update(slide_votes(entry, region_classes))
    mixed = sum(len(names) > 1 for names in classes.values())
    if not mixed:
        return []
    have = count(mixed, "patient has", "patients have")
    return [f"{have} more than one class; each was balanced by its most frequent one"]


def left_out_warnings(reasons: Mapping[str, str]) -> list[str]:
    """One sentence per kind of reason, with the slides.

    Args:
        reasons: Reason by slide.
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for slide, reason in reasons.items():
        groups[reason].append(slide)
    return [
        f"{len(slides)} slide{'s' * (len(slides) > 1)} left out because {reason}: {name_list(slides)}"
        for reason, slides in groups.items()
    ]
