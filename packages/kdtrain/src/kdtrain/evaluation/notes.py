"""What must be known before a level's numbers are read, in sentences: for ``kdtrain evaluate`` and for a model card.

In: counts of a level's record (:mod:`kdtrain.evaluation.record`). Out: sentences without a full stop, the gravest
first. Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class LevelCounts:
    """What decides which sentences hold.

    Attributes:
        level: What its items are: "sample", "slide" or "patient".
        unit: What the bootstrap draws: "patient" or "sample".
        iterations: Draws.
        n: Items.
        units: Bootstrap units among them.
        class_counts: Items of each class.
        mixed_left_out: Slides or patients left out because their samples have several labels.
        absent_classes: Classes that no item has.
        hidden_classes: Those of them that samples have, of slides or patients that were left out.
        single_unit_classes: Classes that one unit alone has.
        draws_with_absent_classes: Draws that lack a class.
        has_unit_option: Whether the command that measured lets its user choose the unit.
    """

    level: str
    unit: str
    iterations: int
    n: int
    units: int
    class_counts: Mapping[str, int]
    mixed_left_out: int = 0
    absent_classes: tuple[str, ...] = ()
    hidden_classes: tuple[str, ...] = ()
    single_unit_classes: tuple[str, ...] = ()
    draws_with_absent_classes: int = 0
    has_unit_option: bool = True

    @classmethod
    def of(
        cls,
        record: Mapping[str, Any],
        *,
        level: str,
        unit: str,
        iterations: int,
        has_unit_option: bool = True,
    ) -> LevelCounts:
        """From a level's record; one of an earlier version may lack a count, which is then 0."""
        names = ("n", "units", "class_counts", *_ADDED)
        known = {name: record[name] for name in names if name in record}
        known |= {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
        return cls(level=level, unit=unit, iterations=iterations, has_unit_option=has_unit_option, **known)

    @property
    def drawn(self) -> str:
        """What one bootstrap unit is: drawing by sample draws the level's own items."""
        return "patient" if self.unit == "patient" else self.level


_ADDED = (
    "mixed_left_out",
    "absent_classes",
    "hidden_classes",
    "single_unit_classes",
    "draws_with_absent_classes",
)


def level_notes(counts: LevelCounts) -> Iterator[str]:
    """What a level leaves out, and what its intervals are of."""
    if not counts.n:
        yield f"nothing is measured, since {_none_of_one_class(counts)}"
        return
    yield from _left_out(counts)
    yield from interval_notes(counts)


def _none_of_one_class(counts: LevelCounts) -> str:
    return (
        f"the one {counts.level} has samples of several classes"
        if counts.mixed_left_out == 1
        else f"each of the {counts.mixed_left_out:,} {counts.level}s has samples of several classes"
    )


def _left_out(counts: LevelCounts) -> Iterator[str]:
    hidden = set(counts.hidden_classes)
    absent = [name for name in counts.absent_classes if name not in hidden]
    if absent:
        yield f"no {', '.join(absent)} in this split; left out of the averages"
    if counts.mixed_left_out:
        only = (
            f", among them all that have {', '.join(counts.hidden_classes)}: the averages are over the other classes"
            if hidden
            else ""
        )
        yield f"{counts.mixed_left_out:,} left out, with samples of several classes{only}"


def interval_notes(counts: LevelCounts) -> Iterator[str]:
    """What has no interval and why, or which draws the intervals leave out."""
    alone = "which says nothing of others"
    if counts.units == 1:
        yield f"one {counts.drawn}, {alone}, so there are no intervals{_by_sample(counts, counts.n)}"
    elif counts.single_unit_classes:
        named = ", ".join(counts.single_unit_classes)
        fewest = min(counts.class_counts[name] for name in counts.single_unit_classes)
        yield (
            f"one {counts.drawn} of {named}, {alone}, so the averages over classes have no interval"
            f"{_by_sample(counts, fewest)}"
        )
    elif counts.draws_with_absent_classes:
        share = counts.draws_with_absent_classes / max(1, counts.iterations)
        yield (
            f"{counts.draws_with_absent_classes:,} of {counts.iterations:,} draws ({share:.1%}) lack a class; the "
            "intervals of the averages are over the others"
        )


def _by_sample(counts: LevelCounts, items: int) -> str:
    no_help = counts.unit == "sample" or counts.level == "patient" or items < 2
    if no_help or not counts.has_unit_option:
        return ""
    return f"; --unit sample draws {counts.level}s, as if those of a patient were independent"
