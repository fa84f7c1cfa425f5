"""Refuse a split that leaks: the same image, or the same patient, in two splits under two names.

Splitting by patient cannot see a file that was copied and renamed, nor a patient whose name was written in two ways.
Here fingerprints of the contents are compared, and names; the former come in ready-made
(:mod:`slideprep.slides.fingerprint`), no file is opened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from slideprep.errors import UsageError
from slideprep.labels.alike import like_groups
from slideprep.labels.columns import name_list
from slideprep.labels.match import SlideEntry
from slideprep.labels.split_plan import PlannedSlide, SplitPlan
from slideprep.text import count, revealed, slide_stem

_SHOWN = 10


def check_leaks(plan: SplitPlan, fingerprints: Mapping[str, str]) -> tuple[str, ...]:
    """Compare the contents of all slides that a split holds.

    Args:
        plan: The split.
        fingerprints: Content fingerprint by slide; slides without one (they could not be read) are passed
            over.

    Returns:
        Warnings: identical files within one split.

    Raises:
        UsageError: Identical files are in different splits; the message names all of them.
    """
    groups = _identical(plan, fingerprints)
    torn = [group for group in groups if len({slide.split for slide in group}) > 1]
    if torn:
        listed = "\n".join("  " + "; ".join(map(_described, group)) for group in torn)
        raise UsageError(
            f"{count(len(torn), 'file is', 'files are')} in two splits under different names, so a model would be "
            f"measured on what it has seen:\n{listed}\ndelete the copy, or give both the same patient (and split) in "
            "labels.csv"
        )
    return tuple(map(_copy_warning, groups))


def _identical(plan: SplitPlan, fingerprints: Mapping[str, str]) -> list[list[PlannedSlide]]:
    """Groups of two and more slides of equal content, without those left out."""
    groups: defaultdict[str, list[PlannedSlide]] = defaultdict(list)
    for name, slide in plan.slides.items():
        if slide.split is not None and name in fingerprints:
            groups[fingerprints[name]].append(slide)
    return [group for group in groups.values() if len(group) > 1]


def _described(slide: PlannedSlide) -> str:
    return f"'{slide.name}' of patient '{slide.patient}' in {slide.split}"


def _copy_warning(group: Sequence[PlannedSlide]) -> str:
    patients = sorted({slide.patient for slide in group})
    labels = sorted({slide.label for slide in group if slide.label})
    names = name_list(slide.name for slide in group)
    facts = [f"the same file {len(group)} times in {group[0].split}: {names}"]
    if len(patients) > 1:
        facts.append(f"under patients {name_list(patients)}")
    if len(labels) > 1:
        facts.append(f"with labels {name_list(labels)}, of which one at most is right")
    return ", ".join(facts) + "; it counts that often unless the copies are deleted"


def check_alike(
    entries: Sequence[SlideEntry],
    split_of: Mapping[str, str],
    *,
    present: Mapping[str, str] | None = None,
    differ: bool = False,
) -> list[str]:
    """Look for patients that are probably one and were taken for several.

    Args:
        entries: The slides.
        split_of: Stored split by patient; patients that no split holds are missing.
        present: Stored split by patient of a set that the slides are added to: only groups with a new patient count.
        differ: Whether a person said that such patients are different people (``--patients-differ``).

    Returns:
        Warnings: groups that are in one split.

    Raises:
        UsageError: A group is in two splits.
    """
    if differ:
        return []
    before = dict(present or {})
    splits = {**{entry.patient: split_of.get(entry.patient) for entry in entries}, **before}
    new = {entry.patient for entry in entries} - before.keys()
    groups = [group for group in like_groups(splits) if not new.isdisjoint(group)]
    torn = [group for group in groups if len({_side(splits[name]) for name in group if splits[name]}) > 1]
    if torn:
        rows = _rows(entries)
        listed = [
            "  " + "; ".join(f"{_named(name, rows)} in {splits[name] or 'no split'}" for name in group)
            for group in torn
        ]
        more = [f"  and {len(listed) - _SHOWN} more"] if len(listed) > _SHOWN else []
        raise UsageError(
            "patients whose names are nearly alike are in two splits, and if they are one person, a model would be "
            "measured on whom it has seen:\n"
            + "\n".join(listed[:_SHOWN] + more)
            + "\nwrite one person's name in one way, or, where all of these are different people, add --patients-differ"
        )
    return _alike_warnings(groups)


def _side(split: str | None) -> str | None:
    """Auxiliary sets hold each other, so a patient in two of them is measured on by none."""
    return "aux" if split is not None and split.startswith("aux") else split


def _rows(entries: Iterable[SlideEntry]) -> dict[str, SlideEntry]:
    """The first slide of each patient."""
    first: dict[str, SlideEntry] = {}
    for entry in entries:
        first.setdefault(entry.patient, entry)
    return first


def _named(patient: str, rows: Mapping[str, SlideEntry]) -> str:
    entry = rows.get(patient)
    if entry is None:
        return f"'{revealed(patient)}' of the set"
    where = [f"line {entry.line}"] if entry.line is not None else []
    where.append(f"slide '{entry.name}'")
    if patient == slide_stem(entry.name):
        where.append("which nothing gives a patient" if entry.line is None else "named like it")
    return f"'{revealed(patient)}' ({', '.join(where)})"


def _alike_warnings(groups: Sequence[Sequence[str]]) -> list[str]:
    """One sentence, however many groups there are."""
    if not groups:
        return []
    shown = [
        "; ".join(", ".join(f"'{revealed(name)}'" for name in group[:_SHOWN]) for group in groups[:_SHOWN])
    ]
    if len(groups) > _SHOWN:
        shown.append(f"and {len(groups) - _SHOWN} groups more")
    patients = sum(map(len, groups))
    return [
        f"patients {' '.join(shown)} have nearly the same name and count as {patients} patients; if they are one, "
        "write the name in one way; if not, --patients-differ says so"
    ]
