"""What is said of a slide and of its regions, or why it could not be said: plain data.

Frames: boxes of regions are in level-0 pixels, origin at the slide's top left corner. Probabilities are in the order of
the bundle's classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from kdtrain.bundle.stain import StainNumber

Stage = Literal["open", "magnification", "tissue", "read", "outside", "memory", "network", "dicom", "crash"]


@dataclass(frozen=True, kw_only=True)
class FastPrice:
    """What reading a pyramid level instead of level 0 changes, measured in the middle of one region both ways.

    Attributes:
        downsample: Level-0 pixels per pixel of that level.
        region: Number of the region in whose middle it was measured.
        mean: Mean |difference| of the network's image, grey levels.
        bias: Mean difference, grey levels: above 0 the level is brighter.
        largest: Largest |difference|, grey levels.
        probabilities_level0: What the network says of that part from level 0.
        probabilities_fast: What it says of the same part from the level that was read.
    """

    downsample: float
    region: int
    mean: float
    bias: float
    largest: float
    probabilities_level0: tuple[float, ...]
    probabilities_fast: tuple[float, ...]


QualityNumber = Literal["focus", "ink", "folds", "bubbles"]
"""How good tissue is to see; slideprep's names for what its builds measure."""


@dataclass(frozen=True, kw_only=True)
class RegionPrediction:
    """What the network said of one region.

    Attributes:
        index: Number of the region on its slide.
        key: As in a shard set.
        x: Left edge, level-0 pixels.
        y: Top edge, level-0 pixels.
        width: Level-0 pixels; fractional where the factor is.
        height: Level-0 pixels.
        image_width: Pixels that the network saw.
        image_height: Pixels that the network saw.
        probabilities: One per class.
        outside: In what the image lies outside the training data; plain sentences.
        stain: Its numbers by the names in kdtrain.bundle.stain; without tissue the share of it alone.
        quality: How good its tissue is to see; focus is None without tissue. Empty where it was not measured: without
            an explanation, or where a level too coarse for it was read.
    """

    index: int
    key: str
    x: int
    y: int
    width: float
    height: float
    image_width: int
    image_height: int
    probabilities: tuple[float, ...]
    outside: tuple[str, ...] = ()
    stain: dict[StainNumber, float] = field(default_factory=dict)
    quality: dict[QualityNumber, float | None] = field(default_factory=dict)

    @property
    def predicted(self) -> int:
        """The most probable class; the first of equals."""
        return self.probabilities.index(max(self.probabilities))


@dataclass(frozen=True, kw_only=True)
class SlidePrediction:
    """What the network said of a slide: the mean over its regions, as ``kdtrain evaluate`` sums up slides.

    Attributes:
        slide: Name.
        classes: In the order of the probabilities.
        probabilities: Mean over the regions, each counting the same.
        regions: In reading order.
        width: Level-0 pixels.
        height: Level-0 pixels.
        mpp: Microns per level-0 pixel, or None.
        objective: Objective power, or None.
        magnification: Magnification of the images that the network saw.
        reader: What decoded the file.
        temperature: By which a region's logits were divided to be its probabilities; 1 where the network was not
            calibrated.
        level: Pyramid level that pixels came from: 0 but with ``fast``.
        fast: What that changed; None at level 0.
        left_out: Number and reason of regions that no image could be made of.
        failed: Number and reason of regions whose pixels are damaged.
        outside: In what the slide lies outside the training data; plain sentences.
        warnings: What is odd about the file; plain sentences.
    """

    slide: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    regions: tuple[RegionPrediction, ...]
    width: int
    height: int
    mpp: float | None
    objective: float | None
    magnification: float
    reader: str
    temperature: float = 1.0
    level: int = 0
    fast: FastPrice | None = None
    left_out: tuple[tuple[int, str], ...] = ()
    failed: tuple[tuple[int, str], ...] = ()
    outside: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def predicted(self) -> int:
        """The most probable class; the first of equals."""
        return self.probabilities.index(max(self.probabilities))

    @property
    def label(self) -> str:
        """Name of the predicted class."""
        return self.classes[self.predicted]


def slide_key(prediction: SlidePrediction) -> str:
    """What files about a slide are called: the key of its regions without their number."""
    return prediction.regions[0].key.rpartition("-r")[0]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One line of failures.csv.

    Attributes:
        slide: Name of the slide or file.
        region: Number of the region; None for the slide as a whole.
        stage: What was being done.
        reason: Rule, reason, what to do.
    """

    slide: str
    region: int | None
    stage: Stage
    reason: str


class SlideError(Exception):
    """A slide cannot be predicted: damaged, of unknown magnification, without tissue, or outside the training data.

    Attributes:
        failure: What failures.csv says of it.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        return self.failure.reason
