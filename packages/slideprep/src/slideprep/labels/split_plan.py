"""How patients are to be shared out (options of ``build-shards``), and the answer: where every slide goes.

:class:`SplitSettings` are checked on construction. A :class:`SplitPlan` holds stored splits, which are disjoint, and
named sets, which are unions of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, lcm

from slideprep.errors import UsageError
from slideprep.units import exact

DEFAULT_SPLIT = (0.7, 0.15, 0.15)
"""Training, validation and testing fractions of the paper (section 4.2)."""

MOST_PATIENTS = 100_000_000
"""More than any archive has."""

_AUX = re.compile(r"aux([0-9]+)(?:_added)?")

LABELLED_SPLITS = ("train", "val", "test", "dev")
"""Splits whose samples carry labels; all others are auxiliary and drop them."""


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """The options that decide which patient goes where.

    Attributes:
        split: train,val,test: fractions or numbers of patients. Fractions sum to 1, numbers are whole; a zero means
            that there is no such split.
        labelled_per_class: Patients per class that are split; None for all.
        dev_per_class: Further patients per class for a development set. None: there is none.
        aux: Patients in nested unlabelled sets, such as 300,1004. They count from the first: ``aux1`` holds 300,
            ``aux2`` those and 704 more. Empty: every unlabelled patient is in ``aux1``.
        patients_differ: Patients whose names are nearly alike (P1, P-1, 001) are different people. Else such patients
            are refused where they are in two splits, since one of them would be trained on and the other tested.
    """

    split: tuple[float, ...] = DEFAULT_SPLIT
    labelled_per_class: int | None = None
    dev_per_class: int | None = None
    aux: tuple[int, ...] = ()
    patients_differ: bool = False

    def __post_init__(self) -> None:
        _check_split(self.split)
        for option, value in (
            ("--labelled-per-class", self.labelled_per_class),
            ("--dev-per-class", self.dev_per_class),
        ):
            if value is not None and value < 1:
                raise UsageError(
                    f"{option} {value} is not a number of patients; give 1 or more, or leave it out"
                )
        if any(later <= earlier for earlier, later in zip((0, *self.aux), self.aux, strict=False)):
            raise UsageError(
                f"--aux {','.join(map(str, self.aux))} must grow, since each set holds the one before it; "
                "give total numbers of patients such as 300,1004"
            )

    @property
    def counts(self) -> tuple[int, int, int] | None:
        """Numbers of patients (train, val, test), or None where ``split`` is in fractions."""
        if sum(map(exact, self.split)) == 1:
            return None
        train, val, test = map(int, self.split)
        return train, val, test

    @property
    def weights(self) -> tuple[int, int, int]:
        """Whole numbers in the ratios of ``split``: (14, 3, 3) for 0.7, 0.15, 0.15."""
        fractions = [exact(value) for value in self.split]
        common = lcm(*(fraction.denominator for fraction in fractions))
        train, val, test = (int(fraction * common) for fraction in fractions)
        return train, val, test

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the splits that are not switched off by a zero."""
        return tuple(
            name for name, weight in zip(("train", "val", "test"), self.split, strict=True) if weight
        )


def _check_split(split: Sequence[float]) -> None:
    given = ",".join(f"{value:g}" for value in split)
    if len(split) != 3:
        raise UsageError(
            f"--split {given} has {len(split)} values; give three, train,val,test, with 0 for a split that "
            "is not wanted"
        )
    if max(split) > MOST_PATIENTS:
        raise UsageError(f"--split {given}: there are no more than {MOST_PATIENTS:,} patients; give fewer")
    if not all(isfinite(value) and value >= 0 for value in split) or split[0] == 0:
        raise UsageError(
            f"--split {given}: no value may be negative and train must not be 0; give e.g. 0.7,0.15,0.15"
        )
    whole = all(float(value).is_integer() for value in split)
    if sum(map(exact, split)) != 1 and not whole:
        raise UsageError(
            f"--split {given} sums to {float(sum(map(exact, split))):g}; fractions must sum to 1 "
            "(0.7,0.15,0.15), and numbers of patients must be whole (235,0,34)"
        )


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
