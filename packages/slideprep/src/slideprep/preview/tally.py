"""The slides of a set in, what `preview.html` says of all of them out: one pass, nothing kept per slide but its state.

Also settles which slides get a card: all of up to a thousand; of a larger set the failures, the slides with warnings
and, so that what went well can be seen too, some of the others, drawn by a hash of their names.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from slideprep.preview.model import PreviewSlide, SlideStatus

CARDS = 1000
"""Slides on the page: 20 MB with thumbnails of 15 KB, which a browser opens at once; no person looks at more."""

SHARES: Mapping[SlideStatus, float] = {"failed": 0.4, "warning": 0.3, "ok": 0.3}
"""Share of the cards for each state; what one state does not need goes to the others, failures first."""


@dataclass(frozen=True, kw_only=True)
class ImageSizes:
    """The images of one magnification: how many, how large, and the largest, which bounds training memory."""

    magnification: float
    images: int
    megapixels: float
    median_megapixels: float
    largest_px: tuple[int, int]
    largest_slide: str


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What is said of all slides of a set.

    Attributes:
        states: States of each slide, in the set's order.
        ranks: Ranks of each slide, for drawing some of them.
        failed: Slides with failures.
        warned: Slides with warnings, failed ones among them.
        patients: How many there are.
        regions: Number of regions by status.
        splits: Slides by split, in the order of first appearance, slides in none last.
        classes: Slides by class; None counts those without one.
        shared_patients: Patients whose slides are in more than one split, with those splits: a leak.
        sizes: The images written, highest magnification first.
    """

    states: tuple[SlideStatus, ...]
    ranks: tuple[bytes, ...]
    failed: int
    warned: int
    patients: int
    regions: Mapping[str, int]
    splits: tuple[tuple[str | None, int], ...]
    classes: Mapping[str | None, int]
    shared_patients: Mapping[str, tuple[str, ...]]
    sizes: tuple[ImageSizes, ...]

    @property
    def has_splits(self) -> bool:
        """Whether any slide has both a patient and a split, so that a leak could be seen."""
        return bool(self.patients) and any(name is not None for name, _ in self.splits)

    def shown(self, limit: int = CARDS) -> list[int]:
        """Positions of the slides that get a card: failures first, then warnings, otherwise in the set's order."""
        groups: dict[SlideStatus, list[int]] = {state: [] for state in SHARES}
        for position, state in enumerate(self.states):
            groups[state].append(position)
        chosen = []
        for state, count in _counts({state: len(group) for state, group in groups.items()}, limit).items():
            drawn = sorted(groups[state], key=lambda position: self.ranks[position])[:count]
            chosen += sorted(drawn)
        return chosen


def _counts(there: Mapping[SlideStatus, int], limit: int) -> dict[SlideStatus, int]:
    """How many slides of each state are shown."""
    counts = {state: min(there[state], int(limit * share)) for state, share in SHARES.items()}
    for state in SHARES:
        counts[state] += min(there[state] - counts[state], limit - sum(counts.values()))
    return counts


def rank(name: str) -> bytes:
    """Draws slides: a name's rank depends on no other name."""
    return sha256(name.encode("utf-8", "surrogatepass")).digest()[:8]


class _Sizes:
    """Images of one magnification, as they come."""

    def __init__(self) -> None:
        self.areas = array("Q")
        self.largest = (0, 0, 0, "")

    def add(self, width: int, height: int, slide: str) -> None:
        self.areas.append(width * height)
        self.largest = max(self.largest, (width * height, width, height, slide))

    def summed_up(self, magnification: float) -> ImageSizes:
        _, width, height, name = self.largest
        areas = sorted(self.areas)
        return ImageSizes(
            magnification=magnification,
            images=len(areas),
            megapixels=sum(areas) / 1e6,
            median_megapixels=areas[(len(areas) - 1) // 2] / 1e6,
            largest_px=(width, height),
            largest_slide=name,
        )


def tally(slides: Iterable[PreviewSlide]) -> Tally:
    """Go through the slides once."""
    states: list[SlideStatus] = []
    ranks: list[bytes] = []
    kinds_of: Counter[str] = Counter()
    regions: Counter[str] = Counter()
    splits: Counter[str | None] = Counter()
    classes: Counter[str | None] = Counter()
    patients: dict[str, set[str]] = {}
    sizes: dict[float, _Sizes] = {}
    for slide in slides:
        states.append(slide.status)
        ranks.append(rank(slide.name))
        kinds_of.update({kind for kind, _ in slide.messages})
        regions.update(region.status for region in slide.regions)
        splits[slide.split] += 1
        classes.update(slide.classes or (None,))
        if slide.patient is not None:
            patients.setdefault(slide.patient, set()).update([slide.split] if slide.split else [])
        for region in slide.written:
            for magnification, width, height in region.sizes:
                sizes.setdefault(magnification, _Sizes()).add(width, height, slide.name)
    return Tally(
        states=tuple(states),
        ranks=tuple(ranks),
        failed=kinds_of["failed"],
        warned=kinds_of["warning"],
        patients=len(patients),
        regions=regions,
        splits=tuple(sorted(splits.items(), key=lambda item: item[0] is None)),
        classes=classes,
        shared_patients=_shared(patients),
        sizes=tuple(sizes[m].summed_up(m) for m in sorted(sizes, reverse=True)),
    )


def _shared(patients: Mapping[str, set[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(sorted(splits)) for name, splits in sorted(patients.items()) if len(splits) > 1}


def selection_note(found: Tally, shown: Sequence[int]) -> str:
    """Which slides have a card, in a sentence; empty where all have one."""
    if len(shown) == len(found.states):
        return ""
    there, here = Counter(found.states), Counter(found.states[position] for position in shown)
    return (
        f"{len(shown):,} of the {len(found.states):,} slides are shown: {here['failed']:,} of the {there['failed']:,} "
        f"with failures, {here['warning']:,} of the {there['warning']:,} with warnings and {here['ok']:,} of the "
        f"{there['ok']:,} others, drawn by a hash of their names. The numbers above count all slides; slides.csv and "
        "failures.csv list all."
    )
