"""What a network was trained on, in ranges, and in what an image or a slide lies outside of them.

In: numbers of the training images. Out: ranges for bundle.json, and plain sentences. Pure: no file is opened.

A warning is only worth reading where it is rare on slides like those trained on and sure on others. The limits below
were measured on five synthetic sets, with 656 test images of the sources trained on: the students' bundles (213 to 234
training images) call none of them outside, the teachers' and baselines' (46 to 58) 2 %. Of the same images without
colour, with red and green exchanged, or at half the grey levels, all are called outside, and of those at twice the
density 98 %; of those at half the density 16 to 49 %. What measures alike is not told apart: red and blue are about
equally strong in these stains, and of images with both exchanged at most 4 % are noticed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from kdtrain.bundle.entries import Entry
from kdtrain.bundle.stain import STAIN_NUMBERS, STAIN_WORDS, StainNumber

MARGIN = 2.0
"""Standard deviations beyond the 1st and the 99th percentile of the training images."""
SIZE_RATIO = 1.5
"""Beyond the largest and the smallest training image, of the longer side and of the area."""
MPP_RATIO = 1.1
"""Beyond the training slides' pixel sizes; where nominal and physical magnification part by more, slideprep warns."""

_SEEN = {
    "tissue": {"below": "less of it is stained", "above": "more of it is stained"},
    "density": {"below": "its stain is paler", "above": "its stain is darker"},
    "hue": {"below": "its stain has another colour", "above": "its stain has another colour"},
}
"""What a person sees of a number, by the first word of its name."""

_DIGITS = 6
"""Kept of every number: more would be the noise of sums."""


class Extent(Entry):
    """Smallest and largest."""

    min: float
    max: float


class Spread(Entry):
    """How a number is distributed over the training images; p01 and p99 are percentiles."""

    mean: float
    std: float
    min: float
    p01: float
    p99: float
    max: float


class TrainingData(Entry):
    """The training images at the network's magnification.

    Attributes:
        images: In the sets trained on.
        measured: That were opened for what the set's index does not say; all, or evenly spaced ones.
        longer_side_px: Longer side of the images.
        shorter_side_px: Shorter side of the images.
        area_px: Area of the images, pixels.
        mpp: Microns per image pixel; None where no slide says.
        level0_mpp: Microns per level-0 pixel; likewise.
        level0_objectives: Objective powers, ascending; likewise.
        readers: Libraries that read the slides.
        without_tissue: Measured images without a stained pixel.
        stain: By the names in :mod:`kdtrain.bundle.stain`; those of density and hue over images with tissue.
    """

    images: Annotated[int, Field(ge=1)]
    measured: Annotated[int, Field(ge=1)]
    longer_side_px: Extent
    shorter_side_px: Extent
    area_px: Extent
    mpp: Extent | None
    level0_mpp: Extent | None
    level0_objectives: tuple[float, ...]
    readers: tuple[str, ...]
    without_tissue: Annotated[int, Field(ge=0)]
    stain: dict[StainNumber, Spread]

    @field_validator("stain", mode="before")
    @classmethod
    def _known(cls, stain: Any) -> Any:
        """A newer minor version may measure more."""
        if not isinstance(stain, dict):
            return stain
        return {name: spread for name, spread in stain.items() if name in STAIN_NUMBERS}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was seen of one training image.

    Attributes:
        mpp: Microns per image pixel, if known.
        level0_mpp: Microns per level-0 pixel, if known.
        level0_objective: If known.
        reader: Library that read the slide.
        stain: From :func:`kdtrain.bundle.stain.stain_numbers`.
    """

    mpp: float | None
    level0_mpp: float | None
    level0_objective: float | None
    reader: str
    stain: Mapping[StainNumber, float]


def training_data(sizes: Sequence[tuple[int, int]], measured: Sequence[Measured]) -> TrainingData:
    """Sum up the training images.

    Args:
        sizes: (width, height) of all of them, pixels; one or more.
        measured: What was seen of those that were opened; one or more.
    """
    objectives = {row.level0_objective for row in measured if row.level0_objective is not None}
    return TrainingData(
        images=len(sizes),
        measured=len(measured),
        longer_side_px=_known_extent([max(size) for size in sizes]),
        shorter_side_px=_known_extent([min(size) for size in sizes]),
        area_px=_known_extent([width * height for width, height in sizes]),
        mpp=_extent([row.mpp for row in measured]),
        level0_mpp=_extent([row.level0_mpp for row in measured]),
        level0_objectives=tuple(sorted(objectives)),
        readers=tuple(sorted({row.reader for row in measured})),
        without_tissue=sum(not row.stain["tissue_share"] for row in measured),
        stain={
            name: _spread([row.stain[name] for row in measured if name in row.stain])
            for name in STAIN_NUMBERS
            if any(name in row.stain for row in measured)
        },
    )


def image_outside(
    data: TrainingData, *, width: int, height: int, stain: Mapping[StainNumber, float]
) -> tuple[str, ...]:
    """In what an image lies outside the training data.

    Args:
        data: What the bundle says of its training data.
        width: Pixels.
        height: Pixels.
        stain: From :func:`kdtrain.bundle.stain.stain_numbers`.

    Returns:
        Plain sentences; none where it lies inside.
    """
    return (*_size_outside(data, width, height), *_stain_outside(data, stain))


def slide_outside(
    data: TrainingData, *, mpp: float | None, level0_objective: float | None
) -> tuple[str, ...]:
    """In what a slide lies outside the training data.

    Args:
        data: What the bundle says of its training data.
        mpp: Microns per pixel of the images that the network sees; None where the slide does not say.
        level0_objective: Objective power of the scan; None where the slide does not say.

    Returns:
        Plain sentences; none where it lies inside, or where nothing is known of the training slides.
    """
    return (*_mpp_outside(data.mpp, mpp), *_objective_outside(data.level0_objectives, level0_objective))


def outside_in(
    data: TrainingData,
    *,
    width: int,
    height: int,
    stain: Mapping[StainNumber, float],
    mpp: float | None,
    level0_objective: float | None,
) -> tuple[str, ...]:
    """In which ways an image lies outside the training data: "stain", "size", "pixel size", "objective".

    Args:
        data: What the bundle says of its training data.
        width: Pixels.
        height: Pixels.
        stain: From :func:`kdtrain.bundle.stain.stain_numbers`.
        mpp: Microns per pixel of the image; None where the slide does not say.
        level0_objective: Objective power of the scan; likewise.
    """
    ways = {
        "stain": _stain_outside(data, stain),
        "size": _size_outside(data, width, height),
        "pixel size": _mpp_outside(data.mpp, mpp),
        "objective": _objective_outside(data.level0_objectives, level0_objective),
    }
    return tuple(way for way, sentences in ways.items() if any(sentences))


def _size_outside(data: TrainingData, width: int, height: int) -> Iterator[str]:
    sides, areas = data.longer_side_px, data.area_px
    if max(width, height) > SIZE_RATIO * sides.max or width * height > SIZE_RATIO * areas.max:
        yield (
            f"its field of {width} x {height} px is over {SIZE_RATIO:g} times as large as the largest in training "
            f"(longer side {sides.max:g} px, {areas.max:,.0f} px in all)"
        )
    if max(width, height) * SIZE_RATIO < sides.min or width * height * SIZE_RATIO < areas.min:
        yield (
            f"its field of {width} x {height} px is over {SIZE_RATIO:g} times as small as the smallest in training "
            f"(longer side {sides.min:g} px, {areas.min:,.0f} px in all)"
        )


def _stain_outside(data: TrainingData, stain: Mapping[StainNumber, float]) -> Iterator[str]:
    if not stain["tissue_share"]:
        if not data.without_tissue:
            yield "nothing in it is stained; every training image had some stain"
        return
    for name, spread in data.stain.items():
        value, slack = stain[name], MARGIN * spread.std
        if not spread.p01 - slack <= value <= spread.p99 + slack:
            side = "below" if value < spread.p01 else "above"
            yield (
                f"{_SEEN[name.partition('_')[0]][side]} than in training: {STAIN_WORDS[name]} is {value:.3f}, {side} "
                f"98 % of the training images ({spread.p01:.3f} to {spread.p99:.3f}; all {spread.min:.3f} to "
                f"{spread.max:.3f})"
            )


def _mpp_outside(known: Extent | None, mpp: float | None) -> Iterator[str]:
    if known is None:
        return
    trained = f"{known.min:.4g} to {known.max:.4g}" if known.min < known.max else f"{known.min:.4g}"
    if mpp is None:
        yield f"it carries no mpp, so its pixels may be of another size than in training ({trained} µm)"
    elif not known.min / MPP_RATIO <= mpp <= known.max * MPP_RATIO:
        yield (
            f"its magnification is not that of training: a pixel measures {mpp:.4g} µm for the network, over "
            f"{(MPP_RATIO - 1) * 100:.0f} % from those of training ({trained} µm)"
        )


def _objective_outside(known: Sequence[float], objective: float | None) -> Iterator[str]:
    if known and objective is not None and objective not in known:
        trained = ", ".join(f"{value:g}x" for value in known)
        yield f"it was scanned at {objective:g}x, the training slides at {trained}"


def _known_extent(values: Sequence[float]) -> Extent:
    return Extent(min=_rounded(min(values)), max=_rounded(max(values)))


def _extent(values: Sequence[float | None]) -> Extent | None:
    known = [value for value in values if value is not None]
    return _known_extent(known) if known else None


def _spread(values: Sequence[float]) -> Spread:
    p01, p99 = np.percentile(values, [1, 99])
    numbers = (np.mean(values), np.std(values), min(values), p01, p99, max(values))
    return Spread(**dict(zip(Spread.model_fields, map(_rounded, numbers), strict=True)))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
