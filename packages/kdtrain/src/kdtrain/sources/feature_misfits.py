"""Features that do not fit a set, by name: what is refused, and in which words. Pure. Frames: level-0 pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdtrain.errors import UsageError
from kdtrain.shards.sample import SampleRecord
from kdtrain.sources.feature_files import SlideFeatures
from kdtrain.sources.feature_names import SUFFIX, Matched, name_list, nearly, slide_stem

_OTHER_SCAN = 1.5
"""Programs round a scan's magnification to 20 or 40; a factor of this is another scan, or another export of it."""


def touching(boxes_N4: NDArray[np.float64], box: tuple[float, float, float, float]) -> NDArray[np.bool_]:
    """Which boxes share some area with one, (N,)."""
    left, top, right, bottom = box
    x, y = (
        (boxes_N4[:, 2] > left) & (boxes_N4[:, 0] < right),
        (boxes_N4[:, 3] > top) & (boxes_N4[:, 1] < bottom),
    )
    touched: NDArray[np.bool_] = x & y
    return touched


def check_slide(
    path: Path, slide: str, found: SlideFeatures, record: SampleRecord, slides: Iterable[str]
) -> None:
    """Refuse features that are another slide's, or of another export of it.

    Args:
        path: The file.
        slide: Name of the slide that the file is called after.
        found: Its content.
        record: Of one of the slide's regions.
        slides: Names of all slides of the set.

    Raises:
        UsageError: They are.
    """
    again = "extract features of the file that the set was built of"
    width, height = record.level0.width, record.level0.height
    facts, boxes_N4 = found.facts, found.boxes_N4
    called = {name for other in slides if other != slide for name in (other, slide_stem(other))}
    if facts.slide in called and facts.slide not in (slide, slide_stem(slide)):
        raise UsageError(
            f"slide '{slide}': {path} says that it is of '{facts.slide}', another slide of the set; call each file as "
            "the slide that it is of"
        )
    if facts.level0_size not in (None, (width, height)):
        assert facts.level0_size is not None
        there = " x ".join(map(str, facts.level0_size))
        raise UsageError(
            f"slide '{slide}': {path} is of a slide of {there} level-0 pixels, and the set's has {width} x {height}; "
            f"{again}"
        )
    beyond = ~touching(boxes_N4, (0.0, 0.0, float(width), float(height)))
    if beyond.any():
        x, y = boxes_N4[int(beyond.argmax()), :2]
        raise UsageError(
            f"slide '{slide}': {int(beyond.sum()):,} of {len(boxes_N4):,} patches of {path} lie beyond the slide's "
            f"{width} x {height} level-0 pixels (one at {x:g}, {y:g}), so it is of another slide, or its coords are no "
            f"level-0 pixels; {again}"
        )
    scan, stated = record.factor * record.magnification, facts.level0_magnification
    if stated and max(scan / stated, stated / scan) >= _OTHER_SCAN:
        raise UsageError(
            f"slide '{slide}': {path} is of a scan of {stated:g}x, and the set's slide is one of {scan:g}x; {again}"
        )


def check_alike(first_path: Path, first: SlideFeatures, path: Path, found: SlideFeatures) -> None:
    """Refuse slides whose vectors are not of one encoder on one kind of patch.

    Raises:
        UsageError: They differ in what both say.
    """
    wanted, facts = first.facts, found.facts
    for what, there, here in (
        ("channels", first.vectors_NC.shape[1], found.vectors_NC.shape[1]),
        ("encoder", wanted.encoder, facts.encoder),
        ("magnification", wanted.magnification, facts.magnification),
        ("pixels a patch", wanted.patch_px, facts.patch_px),
    ):
        if None not in (there, here) and there != here:
            raise UsageError(
                f"{path} and {first_path} do not go together: {what} {here} and {there}; give a folder of one encoder "
                "at one magnification"
            )


def refuse_slides(matched: Matched, folder: Path, slides: int, most_missing: float) -> None:
    """Refuse a folder that lacks too many slides.

    Raises:
        UsageError: More than the share, or all.
    """
    without = matched.without
    if len(without) <= most_missing * slides and matched.files:
        return
    alike = [(slide, nearly(slide, matched.spare)) for slide in without]
    pairs = [f"'{name}' for '{slide}'" for slide, name in alike if name is not None]
    spare = f"; the folder also has {name_list(matched.spare, 3)}" if matched.spare else ""
    hint = f" (nearly alike: {', '.join(pairs[:3])})" if pairs else ""
    raise UsageError(
        f"{len(without):,} of {slides:,} slides have no features in {folder}: {name_list(without)}{spare}{hint}; a "
        f"file is called as its slide, such as {slide_stem(without[0])}{SUFFIX}; --missing-share says how many "
        f"may lack one, {most_missing:.0%} now"
    )


def refuse_regions(
    without: Sequence[tuple[str, int]], folder: Path, regions: int, most_missing: float
) -> None:
    """Refuse a folder whose patches miss too many regions.

    Args:
        without: (slide, region) of those that no patch touches.
        folder: The folder, for the message.
        regions: How many there are.
        most_missing: Share that may be missed.

    Raises:
        UsageError: More than that, or all.
    """
    if len(without) <= most_missing * regions and len(without) < regions:
        return
    shown = ", ".join(f"slide '{slide}' region {index}" for slide, index in without[:5])
    more = f" and {len(without) - 5:,} more" if len(without) > 5 else ""
    raise UsageError(
        f"no patch of {folder} lies on {len(without):,} of {regions:,} regions: {shown}{more}; extract features of all "
        "tissue that the set has, from the same files, or build the set on the tissue that has features; "
        f"--missing-share says how many may lack one, {most_missing:.0%} now"
    )
