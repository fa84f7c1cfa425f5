"""Refuse a split that leaks: the same image in two splits, under whatever name and patient.

Splitting by patient cannot see a file that was copied and renamed. Here fingerprints of the contents are
compared; they come in ready-made (:mod:`slideprep.slides.fingerprint`), no file is opened.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from slideprep.errors import UsageError
from slideprep.labels.columns import name_list
from slideprep.labels.split_plan import PlannedSlide, SplitPlan


def check_leaks(plan: SplitPlan, fingerprints: Mapping[str, str]) -> tuple[str, ...]:
    """Compare the contents of all slides that a split holds.

    Args:
        plan: The split.
        fingerprints: Content fingerprint by slide; slides without one (they could not be read) are passed
            over.

    Returns:
        Warnings: identical files within one split, and patients whose names differ only in case or spaces.

    Raises:
        UsageError: Identical files are in different splits; the message names all of them.
    """
    groups = _identical(plan, fingerprints)
    torn = [group for group in groups if len({slide.split for slide in group}) > 1]
    if torn:
        listed = "\n".join("  " + "; ".join(map(_described, group)) for group in torn)
        raise UsageError(
            f"{len(torn)} files are in two splits under different names, so a model would be measured on "
            f"what it has seen:\n{listed}\ndelete the copy, or give both the same patient (and split) in "
            "labels.csv"
        )
    return (*map(_copy_warning, groups), *_near_twins(slide.patient for slide in plan.slides.values()))


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


def _near_twins(patients: Iterable[str]) -> list[str]:
    """Patients that are probably one: equal but for case, spaces or the coding of accents."""
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for patient in patients:
        groups["".join(unicodedata.normalize("NFKC", patient).casefold().split())].add(patient)
    return [
        f"patients {name_list(sorted(names))} differ only in case or spaces and count as {len(names)} "
        "patients; if they are one, write the name in one way, else their slides can land in two splits"
        for names in groups.values()
        if len(names) > 1
    ]
