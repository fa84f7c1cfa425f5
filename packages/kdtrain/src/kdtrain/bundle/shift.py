"""How images from elsewhere differ from those that a network was trained on: stain, size, pixel size, scanner. Pure.

In: what bundle.json says of the training images, and numbers of others. Out: each number here and there, how many
standard deviations lie between the means, and the share of images beyond what training saw. A network whose numbers are
worse elsewhere is worse for a reason; these are the ones that can be measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdtrain.bundle.stain import STAIN_WORDS, StainNumber
from kdtrain.bundle.training_data import Extent, TrainingData, outside_in

NOTABLE = 1.0
"""Standard deviations between the means from which a shift of stain is said to a person."""
_SIZES = {
    "longer_side_px": "longer side of an image, px",
    "shorter_side_px": "shorter side of an image, px",
    "area_px": "area of an image, px",
    "mpp": "size of a pixel, µm",
}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen of one image from elsewhere.

    Attributes:
        width: Pixels that the network saw.
        height: Pixels that the network saw.
        mpp: Microns per image pixel, if known.
        objective: Objective power of the scan, if known.
        stain: From :func:`kdtrain.bundle.stain.stain_numbers`.
    """

    width: int
    height: int
    mpp: float | None
    objective: float | None
    stain: Mapping[StainNumber, float]


def shift(data: TrainingData, seen: Sequence[Seen]) -> dict[str, Any]:
    """Hold images against the training data.

    Args:
        data: What the bundle says of its training data.
        seen: Images, one or more.

    Returns:
        JSON-able: ``images``; ``outside``, how many of them lie outside in any way; ``outside_in``, how many in which
        way; ``stain`` by the names of
        STAIN_NUMBERS; the sizes by their names; ``level0_objectives``, images by objective power ("unknown" too).
    """
    ways = [_outside_in(data, one) for one in seen]
    objectives = Counter("unknown" if one.objective is None else f"{one.objective:g}" for one in seen)
    return {
        "images": len(seen),
        "outside": sum(map(bool, ways)),
        "outside_in": dict(sorted(Counter(way for found in ways for way in found).items())),
        "stain": {name: found for name in data.stain if (found := _stain(data, name, seen))},
        "longer_side_px": _size(data.longer_side_px, [max(one.width, one.height) for one in seen]),
        "shorter_side_px": _size(data.shorter_side_px, [min(one.width, one.height) for one in seen]),
        "area_px": _size(data.area_px, [one.width * one.height for one in seen]),
        "mpp": _size(data.mpp, [one.mpp for one in seen if one.mpp is not None]),
        "level0_objectives": {
            "training": list(data.level0_objectives),
            "here": {name: objectives[name] for name in sorted(objectives)},
        },
    }


def _outside_in(data: TrainingData, one: Seen) -> tuple[str, ...]:
    return outside_in(
        data,
        width=one.width,
        height=one.height,
        stain=one.stain,
        mpp=one.mpp,
        level0_objective=one.objective,
    )


def _stain(data: TrainingData, name: StainNumber, seen: Sequence[Seen]) -> dict[str, float | None] | None:
    """None where no image has stain, of which density and hue are."""
    values = [one.stain[name] for one in seen if name in one.stain]
    if not values:
        return None
    spread, mean = data.stain[name], float(np.mean(values))
    beyond = float(np.mean([not spread.p01 <= value <= spread.p99 for value in values]))
    return {
        "training_mean": spread.mean,
        "training_std": spread.std,
        "mean": mean,
        "std": float(np.std(values)),
        "shift": (mean - spread.mean) / spread.std if spread.std else None,
        "beyond": beyond,
    }


def _size(known: Extent | None, values: Sequence[float]) -> dict[str, Any] | None:
    """None where one of both is not known."""
    if known is None or not values:
        return None
    # The bundle keeps six digits, so the very same images would else lie beyond.
    low, high = known.min * (1 - 1e-5), known.max * (1 + 1e-5)
    return {
        "training": {"min": known.min, "max": known.max},
        "min": float(min(values)),
        "median": float(np.median(values)),
        "max": float(max(values)),
        "beyond": float(np.mean([not low <= value <= high for value in values])),
    }


def shift_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What a person must know of a shift, in sentences without a full stop; the stain first.

    Args:
        found: From :func:`shift`.
    """
    images = found["images"]
    yield f"{found['outside']:,} of {images:,} images lie outside the training data in stain, size or scan"
    yield from _stain_lines(found["stain"])
    for name, words in _SIZES.items():
        entry = found[name]
        if entry is not None and entry["beyond"]:
            there, here = _range(entry["training"]), _range(entry)
            yield f"{words}: {here} here, {there} in training; {entry['beyond']:.0%} of the images lie beyond"
    scans = found["level0_objectives"]
    trained = {f"{power:g}" for power in scans["training"]}
    if trained and (other := set(scans["here"]) - trained - {"unknown"}):
        named = ", ".join(f"{power}x" for power in sorted(other, key=float))
        yield f"scanned at {named}, the training slides at {', '.join(f'{p}x' for p in sorted(trained, key=float))}"


def _stain_lines(stain: Mapping[StainNumber, Mapping[str, Any]]) -> Iterator[str]:
    moved = {name: one for name, one in stain.items() if abs(one["shift"] or 0.0) >= NOTABLE}
    for name, one in sorted(moved.items(), key=lambda item: -abs(item[1]["shift"])):
        side = "above" if one["shift"] > 0 else "below"
        yield (
            f"{STAIN_WORDS[name]} is {one['mean']:.3f} on average, {abs(one['shift']):.1f} standard deviations {side} "
            f"that of training ({one['training_mean']:.3f}); {one['beyond']:.0%} of the images lie beyond 98 % of those"
        )


def _range(entry: Mapping[str, float]) -> str:
    low, high = f"{entry['min']:,.5g}", f"{entry['max']:,.5g}"
    return low if low == high else f"{low} to {high}"
