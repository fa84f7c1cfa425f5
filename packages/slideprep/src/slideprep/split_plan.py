"""Where every slide goes: stored splits, which are disjoint, and named sets, which are unions of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_AUX = re.compile(r"aux([0-9]+)(?:_added)?")

LABELLED_SPLITS = ("train", "val", "test", "dev")
"""Splits whose samples carry labels; all others are auxiliary and drop them."""


@dataclass(frozen=True, kw_only=True)
class PlannedSlide:
    """Where one slide goes.

    Attributes:
        name: The slide's name.
        patient: Its patient.
        label: Its label in labels.csv, or None; auxiliary splits drop it (see ``keeps_label``).
        split: The stored split, or None where it is left out.
        left_out: The reason, where it is left out.
    """

    name: str
    patient: str
    label: str | None
    split: str | None
    left_out: str | None = None

    @property
    def keeps_label(self) -> bool:
        """Whether its samples carry a class: those of auxiliary splits never do."""
        return self.split in LABELLED_SPLITS


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """Where every slide goes.

    Attributes:
        slides: All slides, by name.
        classes: Classes in the order of their indices.
        sets: Stored splits that each named set is the union of, in the order of presentation.
        warnings: Plain sentences for the person who runs the build.
    """

    slides: Mapping[str, PlannedSlide]
    classes: tuple[str, ...]
    sets: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...]

    @property
    def left_out(self) -> dict[str, str]:
        """Reason by slide, for the slides that no split holds."""
        return {name: slide.left_out for name, slide in self.slides.items() if slide.left_out is not None}


def stored_split(name: str) -> str:
    """The stored split that makes a patient a member of a named set and of no smaller one."""
    return f"{name}_added" if name.startswith("aux") and name != "aux1" else name


def last_aux(stored: Collection[str]) -> int:
    """Number of the last auxiliary set among stored splits; 0 where there is none."""
    numbers = [int(match[1]) for name in stored if (match := _AUX.fullmatch(name))]
    return max(numbers, default=0)


def named_sets(stored: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Named sets as unions of the stored splits that exist: train, val, test, aux1, aux2, ..., dev."""
    sets: dict[str, tuple[str, ...]] = {name: (name,) for name in ("train", "val", "test") if name in stored}
    members: tuple[str, ...] = ()
    for number in range(1, last_aux(stored) + 1):
        if stored_split(f"aux{number}") in stored:
            members = (*members, stored_split(f"aux{number}"))
            sets[f"aux{number}"] = members
    if "dev" in stored:
        sets["dev"] = ("dev",)
    return sets
