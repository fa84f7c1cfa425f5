"""What `preview.html` shows, and the numbers derived from it; no HTML here.

In: one record per slide with its regions (boxes in level-0 pixels, (x, y) top left). Out: states, counts and areas.
Everything is a pure function of the records, so the same set always gives the same page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from slideprep.units import Box

RegionStatus = Literal["written", "left out", "failed"]
SlideStatus = Literal["failed", "warning", "ok"]
Message = tuple[Literal["failed", "warning", "note"], str]


QUALITY = ("focus", "ink", "folds", "bubbles")
"""What a region is measured by, in the order in which it is shown."""


@dataclass(frozen=True, kw_only=True)
class PreviewQuality:
    """How good a region, or the worst of a slide's regions, is to see.

    Attributes:
        focus: Sharpness, the higher the sharper; None where it could not be measured.
        ink: Share of the box under marker ink.
        folds: Share of the tissue in folds.
        bubbles: Share of the box inside air bubbles.
    """

    focus: float | None
    ink: float
    folds: float
    bubbles: float


@dataclass(frozen=True, kw_only=True)
class PreviewRegion:
    """One region of a slide.

    Attributes:
        box: Where it is, in level-0 pixels.
        name: Its name within the slide, such as "r0".
        class_name: Its class where annotations give one, else None.
        status: "written" to the shards, "left out" by a rule, or "failed" while it was read or written.
        reason: Why it was left out or failed; None where it was written.
        sizes: (magnification, width, height) of each image written, in pixels of that magnification.
        quality: What was measured on it; None where it was not read, or by an earlier version.
    """

    box: Box
    name: str
    class_name: str | None = None
    status: RegionStatus = "written"
    reason: str | None = None
    sizes: tuple[tuple[float, int, int], ...] = ()
    quality: PreviewQuality | None = None


@dataclass(frozen=True, kw_only=True)
class PreviewSlide:
    """One slide of the set, whether or not anything of it could be written.

    Attributes:
        name: The slide's name, unique in the set.
        patient: Patient name, or None where it is unknown.
        label: Slide-level class, or None for an unlabelled slide.
        split: Name of the split, or None where the slide is in none.
        reader: What decoded the pixels, or None where the slide could not be opened.
        vendor: Scanner vendor as the file names it.
        width_l0: Width of level 0 in pixels.
        height_l0: Height of level 0 in pixels.
        mpp: Microns per level-0 pixel.
        mpp_source: Where ``mpp`` came from, such as "slide" or "labels.csv".
        objective: Objective power of the scan.
        objective_source: Where ``objective`` came from.
        thumbnail_jpeg: The whole slide as JPEG, at most about 320 px a side, or None where there is none. It must
            show all of level 0 and nothing else: the outlines are laid over it by proportion.
        regions: The slide's regions, in the order in which they are listed.
        warnings: What a person should check; the slide was used all the same.
        failures: Why the slide, or a part of it, is missing from the shards.
    """

    name: str
    patient: str | None = None
    label: str | None = None
    split: str | None = None
    reader: str | None = None
    vendor: str | None = None
    width_l0: int | None = None
    height_l0: int | None = None
    mpp: float | None = None
    mpp_source: str | None = None
    objective: float | None = None
    objective_source: str | None = None
    thumbnail_jpeg: bytes | None = None
    regions: tuple[PreviewRegion, ...] = ()
    warnings: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()

    @property
    def status(self) -> SlideStatus:
        """The gravest of the slide's messages; "ok" where all of them are notes or there are none."""
        kinds = {kind for kind, _ in self.messages}
        return "failed" if "failed" in kinds else "warning" if "warning" in kinds else "ok"

    @property
    def messages(self) -> tuple[Message, ...]:
        """Failures, then warnings, then notes: the slide's own and its regions', each with what it concerns."""
        failures = list(self.failures) + [_about(r) for r in self.regions if r.status == "failed"]
        warnings = list(self.warnings)
        if not failures and not self.written:
            warnings.append("no region of this slide was written")
        notes = [_about(r) for r in self.regions if r.status == "left out"]
        return (
            *(("failed", text) for text in failures),
            *(("warning", text) for text in warnings),
            *(("note", text) for text in notes),
        )

    @property
    def written(self) -> tuple[PreviewRegion, ...]:
        """The regions that are in the shards."""
        return tuple(region for region in self.regions if region.status == "written")

    @property
    def quality(self) -> PreviewQuality | None:
        """The worst of every measure over the regions, those left out included; None where none was measured."""
        return worst([region.quality for region in self.regions if region.quality is not None])

    @property
    def classes(self) -> tuple[str, ...]:
        """Every class the slide takes part in: its regions' classes where they have one, else its label."""
        names = {region.class_name or self.label for region in self.written} or {self.label}
        return tuple(sorted(name for name in names if name is not None))

    @property
    def megapixels(self) -> float | None:
        """Size of level 0 in megapixels, or None where it is unknown."""
        if self.width_l0 is None or self.height_l0 is None:
            return None
        return self.width_l0 * self.height_l0 / 1e6

    @property
    def covered_fraction(self) -> float | None:
        """Part of level 0 inside at least one written region, overlaps counted once; None without a size."""
        if not self.width_l0 or not self.height_l0:
            return None
        slide = Box(x=0, y=0, width=self.width_l0, height=self.height_l0)
        inside = [part for region in self.written if (part := region.box.intersection(slide))]
        return _union_area_px(inside) / slide.area_px


@dataclass(frozen=True, kw_only=True)
class PreviewTable:
    """A table shown above the slides, such as the counts of classes by split.

    Attributes:
        caption: One sentence that says what is counted.
        header: Column names; the first column names the rows.
        rows: One tuple per row, as long as ``header``.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.header) for row in self.rows), f"ragged table: {self}"


@dataclass(frozen=True, kw_only=True)
class PreviewSet:
    """Everything on the page.

    Attributes:
        title: Name of the set, such as its folder's.
        slides: Every slide, also those that failed, in the set's own order. They are gone through once; those that
            get a card are asked for once more, by their position.
        synthetic: Whether the slides were generated; the page then says so wherever a slide is shown.
        magnifications: Those asked for, highest first.
        classes: Class names in the order of the index.
        table: The split table, or None where there is none.
        settings: The resolved options, shown as given.
        tool_versions: Name and version of each tool that shaped the pixels.
    """

    title: str
    slides: Sequence[PreviewSlide]
    synthetic: bool = False
    magnifications: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    table: PreviewTable | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    tool_versions: Mapping[str, str] = field(default_factory=dict)


def worst(found: Sequence[PreviewQuality]) -> PreviewQuality | None:
    """The lowest focus and the greatest shares; None of none."""
    if not found:
        return None
    return PreviewQuality(
        focus=min((one.focus for one in found if one.focus is not None), default=None),
        ink=max(one.ink for one in found),
        folds=max(one.folds for one in found),
        bubbles=max(one.bubbles for one in found),
    )


def _about(region: PreviewRegion) -> str:
    return f"{region.name} {region.status}: {region.reason or 'no reason recorded'}"


def _union_area_px(boxes: list[Box]) -> int:
    """Area of the union, on the grid of the boxes' own edges, so exact."""
    if not boxes:
        return 0
    xs = np.unique([edge for box in boxes for edge in (box.x, box.right)])
    ys = np.unique([edge for box in boxes for edge in (box.y, box.bottom)])
    covered = np.zeros((len(ys) - 1, len(xs) - 1), dtype=np.int64)
    for box in boxes:
        rows = slice(*np.searchsorted(ys, (box.y, box.bottom)))
        columns = slice(*np.searchsorted(xs, (box.x, box.right)))
        covered[rows, columns] = 1
    return int(np.diff(ys) @ covered @ np.diff(xs))
