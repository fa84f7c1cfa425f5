"""What square tiles cost a network that was trained on whole regions: both are asked on a labelled split.

In: a network and a split. Out: for every image what it says of it whole, and the mean of what it says of its tiles;
then their metrics, and the difference over the same bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kdtrain.bundle.runtime import Pixels, Runtime
from kdtrain.bundle.source import measured_samples
from kdtrain.bundle.wsinfer import tile_starts
from kdtrain.evaluation.bootstrap import bootstrap, interval, score
from kdtrain.evaluation.predictions import Level, Prediction, check_predictions, items_at
from kdtrain.evaluation.record import outcomes_of
from kdtrain.evaluation.temperature import softmax
from kdtrain.shards.index import Index

WHITE = 255
LEVELS: tuple[Level, ...] = ("sample", "slide")
_DRAWS = 2_000
_BATCH_PIXELS = 4_000_000


@dataclass(frozen=True, kw_only=True)
class TileCost:
    """Numbers of both readings, by level.

    Attributes:
        split: On which.
        images: Of it.
        tiles: Into which they were cut.
        same_class: Share of images whose class stays.
        mean_change: Mean absolute change of an image's probability of its predicted class.
        largest_change: The largest.
        levels: By sample and slide: ``n``, balanced accuracy ``whole`` and by ``tiles``, ``difference``, ``low``,
            ``high``.
    """

    split: str
    images: int
    tiles: int
    same_class: float
    mean_change: float
    largest_change: float
    levels: dict[str, dict[str, Any]]


def tiles_of(image_HWC: Pixels, patch_px: int) -> Pixels:
    """An image's tiles, (N, patch_px, patch_px, 3); what an image lacks to be as large as one is white."""
    height, width, _ = image_HWC.shape
    missing = [(0, max(0, patch_px - height)), (0, max(0, patch_px - width)), (0, 0)]
    padded_HWC = np.pad(image_HWC, missing, constant_values=WHITE)
    return np.stack(
        [
            padded_HWC[y : y + patch_px, x : x + patch_px]
            for y in tile_starts(height, patch_px)
            for x in tile_starts(width, patch_px)
        ]
    )


def measure_tile_cost(
    runtime: Runtime,
    index: Index,
    split: str,
    *,
    classes: Sequence[str],
    magnification: float,
    temperature: float,
    patch_px: int,
    on_image: Callable[[int, int], None] = lambda done, of: None,
) -> TileCost:
    """Ask a network about a labelled split both ways.

    Args:
        runtime: The network.
        index: The shard set.
        split: A labelled split or set of it.
        classes: In the order of the logits and of the set's labels.
        magnification: The network's.
        temperature: By which logits are divided.
        patch_px: Side of a tile.
        on_image: Told after every image how many were asked about, of how many.

    Raises:
        NotFiniteError: The network gives no number.
        ShardError: The set lacks the split, or is damaged.
    """
    whole, tiled, tiles = [], [], 0
    for sample in measured_samples(index, [split], magnification, on_image=on_image):
        image_HWC = sample.images[magnification].permute(1, 2, 0).numpy()
        cut_NHWC = tiles_of(image_HWC, patch_px)
        assert sample.label is not None, "a labelled split"
        one = Prediction(
            key=sample.key,
            slide=sample.slide,
            patient=sample.patient,
            label=sample.label,
            probabilities=_mean(runtime, image_HWC[None], temperature),
        )
        whole.append(one)
        tiled.append(replace(one, probabilities=_mean(runtime, cut_NHWC, temperature)))
        tiles += len(cut_NHWC)
    return summed_up(whole, tiled, classes, split=split, tiles=tiles)


def _mean(runtime: Runtime, images_NHWC: Pixels, temperature: float) -> tuple[float, ...]:
    """Mean probabilities over images of one size."""
    at_once = max(1, _BATCH_PIXELS // (images_NHWC.shape[1] * images_NHWC.shape[2]))
    with torch.inference_mode():
        logits_NK = np.concatenate(
            [
                runtime.infer(np.ascontiguousarray(images_NHWC[first : first + at_once])).logits_BK
                for first in range(0, len(images_NHWC), at_once)
            ]
        )
    return tuple(map(float, softmax(logits_NK.astype(np.float64) / temperature).mean(axis=0)))


def summed_up(
    whole: Sequence[Prediction],
    tiled: Sequence[Prediction],
    classes: Sequence[str],
    *,
    split: str,
    tiles: int,
) -> TileCost:
    """The cost, of what was said of the same images both ways.

    Raises:
        PredictionsError: There is none.
    """
    both = [check_predictions(said, classes) for said in (whole, tiled)]
    said = [np.array([one.probabilities for one in found]) for found in both]
    predicted_N: NDArray[np.int64] = said[0].argmax(axis=1)
    places = np.arange(len(predicted_N))
    changes_N = np.abs(said[1][places, predicted_N] - said[0][places, predicted_N])
    return TileCost(
        split=split,
        images=len(whole),
        tiles=tiles,
        same_class=float((predicted_N == said[1].argmax(axis=1)).mean()),
        mean_change=float(changes_N.mean()),
        largest_change=float(changes_N.max()),
        levels={level: _level(both, level) for level in LEVELS},
    )


def _level(both: Sequence[Sequence[Prediction]], level: Level) -> dict[str, Any]:
    items = [items_at(level, said) for said in both]
    outcomes = [outcomes_of(one, "patient") for one in items]
    values = [float(score(one).balanced_accuracy) for one in outcomes]
    draws = [found.balanced_accuracy for found in bootstrap(outcomes, iterations=_DRAWS, seed=0)]
    bounds = interval(draws[1] - draws[0])
    return {
        "n": len(items[0].names),
        "whole": values[0],
        "tiles": values[1],
        "difference": values[1] - values[0],
        "low": bounds.low,
        "high": bounds.high,
    }
