"""A slide's annotations in, what a person should know of them out: what is drawn twice, overlaps, or shows nothing.

Each region's sample is its bounding box with the surroundings kept, so boxes are what is compared. Nothing is refused
here and no slide is read.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import ceil, floor

import numpy as np
import numpy.typing as npt

from slideprep.text import count, readable
from slideprep.tissue.annotations import AnnotatedRegion, inside_mask
from slideprep.units import Pixels

_SHOWN = 8
"""Sentences of one kind about one slide; a file of thousands of outlines shall not fill the screen."""

_MOST_PAIRS = 2_000
"""Pairs that are looked for; beyond, there is no more to be learnt."""

SAME_BOX = 0.01
"""Edges of boxes that are nearer than this, in sides, or than 2 px, are the same: an outline drawn again by hand."""

MOSTLY_OUTSIDE = 0.5
GLASS_LEVELS = 12
"""Grey levels from the glass within which an overview's pixel shows nothing: light falls off by a few over a slide."""

_LEAST_PX = 9
"""Overview pixels inside an outline, fewer than which say nothing."""

Pair = tuple[AnnotatedRegion, AnnotatedRegion]


def annotation_notes(
    regions: Sequence[AnnotatedRegion], overview: Pixels, *, width_l0: int, height_l0: int
) -> list[str]:
    """Plain sentences about annotations that are probably not what was meant.

    Args:
        regions: Those that become samples.
        overview: The slide, (rows, columns, 3) uint8.
        width_l0: Width of the slide, level-0 pixels.
        height_l0: Height of the slide, level-0 pixels.
    """
    pairs = overlapping(regions)
    same = [_same_box(*pair) for pair in pairs]
    size = {"width_l0": width_l0, "height_l0": height_l0}
    glass = glass_of(overview)
    kinds: tuple[Iterable[str], ...] = (
        (_repeated(*pair) for pair, is_same in zip(pairs, same, strict=True) if is_same),
        (
            f"boxes of {a.label} and {b.label} overlap although their classes differ"
            for (a, b), is_same in zip(pairs, same, strict=True)
            if a.class_name != b.class_name and not is_same
        ),
        (note for region in regions if (note := _outside(region, **size))),
        (
            f"{region.label} shows bare glass alone; check that the annotations belong to this slide"
            for region in regions
            if is_on_glass(region, overview, glass, **size)
        ),
    )
    return [note for kind in kinds for note in _first(list(kind))]


def _first(notes: list[str]) -> list[str]:
    more = len(notes) - _SHOWN
    return notes[:_SHOWN] + ([f"and {more:,} more of the kind: {notes[_SHOWN]}"] if more > 0 else [])


def overlapping(regions: Sequence[AnnotatedRegion]) -> list[Pair]:
    """Pairs of regions whose bounding boxes overlap, in the order given; boxes that only touch do not.

    Of very many pairs the first that are found.
    """
    if not regions:
        return []
    bounds = np.array([region.bounds for region in regions])
    found: list[tuple[int, int]] = []
    for first, others in _hits(bounds):
        found += [(min(first, other), max(first, other)) for other in others]
        if len(found) > _MOST_PAIRS:
            break
    return [(regions[a], regions[b]) for a, b in sorted(found)]


def _hits(bounds: npt.NDArray[np.float64]) -> Iterator[tuple[int, list[int]]]:
    """Each box, from left to right, with those that begin further right, or at the same place, and overlap it."""
    order = np.argsort(bounds[:, 0], kind="stable")
    left, top, right, bottom = bounds[order].T
    for place, index in enumerate(order.tolist()):
        stop = int(np.searchsorted(left, right[place]))
        beside = slice(place + 1, stop)
        hits = (top[beside] < bottom[place]) & (top[place] < bottom[beside])
        if hits.any():
            yield index, order[beside][hits].tolist()


def _same_box(a: AnnotatedRegion, b: AnnotatedRegion) -> bool:
    first, second = np.array(a.bounds), np.array(b.bounds)
    sides = np.tile(np.maximum(first[2:] - first[:2], second[2:] - second[:2]), 2)
    return bool((np.abs(first - second) <= np.maximum(2, SAME_BOX * sides)).all())


def _repeated(a: AnnotatedRegion, b: AnnotatedRegion) -> str:
    if a.class_name == b.class_name:
        return f"{b.label} has the outline of {a.label} and is a sample once more; delete one of them"
    return (
        f"{b.label} has the outline of {a.label} and another class ('{b.class_name}', '{a.class_name}'), so one of "
        "them is wrong; delete it"
    )


def _outside(region: AnnotatedRegion, *, width_l0: int, height_l0: int) -> str | None:
    left, top, right, bottom = region.bounds
    inside = max(0.0, min(right, width_l0) - max(left, 0)) * max(0.0, min(bottom, height_l0) - max(top, 0))
    share = inside / max(1e-9, (right - left) * (bottom - top))
    if share >= MOSTLY_OUTSIDE:
        return None
    return (
        f"{region.label} lies on the slide with {share:.0%} of its box only; check that the annotations belong to this "
        "slide and are in pixels of its full-resolution image"
    )


def glass_of(overview: Pixels) -> npt.NDArray[np.float64]:
    """(red, green, blue) of the glass: of the tenth of an overview, (rows, columns, 3) uint8, that is brightest.

    Of a slide that is full of tissue it is its palest tissue.
    """
    darkest = overview.min(axis=2)
    glass: npt.NDArray[np.float64] = np.median(overview[darkest >= np.percentile(darkest, 90)], axis=0)
    return glass


def is_on_glass(
    region: AnnotatedRegion,
    overview: Pixels,
    glass: npt.NDArray[np.float64],
    *,
    width_l0: int,
    height_l0: int,
) -> bool:
    """Whether an outline holds nothing but glass, as far as an overview shows.

    Args:
        region: The annotation.
        overview: The slide, (rows, columns, 3) uint8.
        glass: From :func:`glass_of`.
        width_l0: Width of the slide, level-0 pixels.
        height_l0: Height of the slide, level-0 pixels.
    """
    factor = max(width_l0 / overview.shape[1], height_l0 / overview.shape[0])
    left, top, right, bottom = (edge / factor for edge in region.bounds)
    x, y = max(0, floor(left)), max(0, floor(top))
    part = overview[y : max(y, ceil(bottom)), x : max(x, ceil(right))]
    height, width = part.shape[:2]
    inside = inside_mask(region, x_l0=x * factor, y_l0=y * factor, factor=factor, width=width, height=height)
    if inside.sum() < _LEAST_PX:
        return False
    distance = np.abs(part[inside].astype(np.float64) - glass).max(axis=1)
    return bool((distance > GLASS_LEVELS).mean() < 0.01)


def unmatched_classes(excluded: Iterable[str], found: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Names of ``--exclude-class`` that no annotation has, each with the classes that were perhaps meant.

    Args:
        excluded: What is to be left out, in upper or lower case.
        found: Classes of all annotations.
    """
    there = {_folded(name): name for name in sorted(found)}
    unmatched = [name for name in excluded if _folded(name) not in there and not name.strip().endswith("*")]
    near = [difflib.get_close_matches(_folded(name), there, n=3, cutoff=0.75) for name in unmatched]
    return [(name, [there[key] for key in keys]) for name, keys in zip(unmatched, near, strict=True)]


def _folded(name: str) -> str:
    return name.strip().casefold()


def nothing_left(where: str, notes: Sequence[str], regions: Sequence[AnnotatedRegion]) -> str:
    """Why a slide has no region, where its annotation file can be read.

    Args:
        where: The file.
        notes: What was left out while it was read.
        regions: The regions in it, all of which ``--exclude-class`` leaves out.
    """
    if not regions:
        return f"{where} holds no region" + (f" ({'; '.join(notes)})" if notes else ": it is empty")
    classes = Counter(region.class_name or "none" for region in regions)
    shown = ", ".join(f"'{readable(name)}' {number}" for name, number in classes.most_common(5))
    return f"--exclude-class leaves out {count(len(regions), 'region')} of {where}, which are all ({shown})"
