"""What a picture of an explained slide shows, and a heat map laid over it at its place: for overlay and OME-TIFF alike.

Frame: *canvas pixels*, continuous, origin at the picture's top left corner; the caller says how many there are per
level-0 pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, floor

import numpy as np

from kdtrain.bundle.runtime import Pixels
from kdtrain.predict.answers.prediction import RegionPrediction, SlidePrediction
from kdtrain.predict.explain.colours import Scale
from kdtrain.predict.explain.heat_map import ExplainedRegion, HeatMap, Method

OPACITY = 0.65
"""Opacity of the strongest colours: the tissue under them stays visible."""

METHOD_NAMES: dict[Method, str] = {"occlusion": "Occlusion", "grad-cam": "Grad-CAM"}
"""The one that was measured to point better first (docs/predict.md, benchmarks/pointing.py)."""

MEANINGS: dict[Method, str] = {
    "occlusion": "how much less sure of '{}' the network is when the place is blurred away (log-odds)",
    "grad-cam": "what the place adds to the score (logit) of '{}', if all of the region were like it",
}
"""What a value is, by method."""

CAUTION = "Colours show what the network used. They are no diagnosis. For research use only."


@dataclass(frozen=True, kw_only=True)
class Place:
    """A region's box on a canvas, in canvas pixels.

    Attributes:
        left: Left edge.
        top: Top edge.
        right: Right edge.
        bottom: Bottom edge.
    """

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def of(cls, region: RegionPrediction, *, per_level0: float) -> Place:
        """Where a region lies.

        Args:
            region: With its box in level-0 pixels.
            per_level0: Canvas pixels per level-0 pixel.
        """
        return cls(
            left=region.x * per_level0,
            top=region.y * per_level0,
            right=(region.x + region.width) * per_level0,
            bottom=(region.y + region.height) * per_level0,
        )

    def pixels(self, *, width: int, height: int) -> tuple[slice, slice]:
        """(rows, columns) of the canvas pixels whose centres lie inside.

        Args:
            width: Width of the canvas.
            height: Height of the canvas.
        """
        return _inside(self.top, self.bottom, height), _inside(self.left, self.right, width)


def _inside(start: float, stop: float, limit: int) -> slice:
    first = min(max(0, ceil(start - 0.5)), limit)
    return slice(first, max(first, min(limit, floor(stop - 0.5) + 1)))


def paint(
    canvas_HWC: Pixels,
    heat_map: HeatMap,
    region: RegionPrediction,
    place: Place,
    scale: Scale,
    opacity: float,
) -> None:
    """Lay a map over a canvas, in place.

    Args:
        canvas_HWC: (rows, columns, 3) uint8 RGB; changed.
        heat_map: In pixels of the region's image.
        region: The region, for the size of its image.
        place: Where it lies.
        scale: What the colours mean.
        opacity: Opacity of the strongest colours, 0 to 1.
    """
    rows, columns = place.pixels(width=canvas_HWC.shape[1], height=canvas_HWC.shape[0])
    under = canvas_HWC[rows, columns]
    if not under.size:
        return
    x = (np.arange(columns.start, columns.stop) + 0.5 - place.left) / (place.right - place.left)
    y = (np.arange(rows.start, rows.stop) + 0.5 - place.top) / (place.bottom - place.top)
    values = heat_map.at(x=x * region.image_width, y=y * region.image_height)
    share = (opacity * scale.opacities(values))[..., None]
    under[...] = np.rint(under * (1 - share) + scale.colours(values) * share)


@dataclass(frozen=True, kw_only=True)
class SlidePicture:
    """One method and class over a whole slide.

    Attributes:
        prediction: What the network said of the slide.
        regions: Those to draw.
        bundle: Name of the bundle.
        method: Which maps.
        class_index: Index of the explained class.
        scale: What colours mean; made from the maps.
    """

    prediction: SlidePrediction
    regions: Sequence[ExplainedRegion]
    bundle: str
    method: Method
    class_index: int
    scale: Scale = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", Scale.of(heat_map for _, heat_map in self.maps()))

    def maps(self) -> Iterator[tuple[ExplainedRegion, HeatMap]]:
        """The regions that have this map, with it."""
        for region in self.regions:
            heat_map = region.map_of(self.method, self.class_index)
            if heat_map is not None:
                yield region, heat_map

    @property
    def class_name(self) -> str:
        """Name of the explained class."""
        return self.prediction.classes[self.class_index]

    @property
    def meaning(self) -> str:
        """What a value is, in words."""
        return f"{METHOD_NAMES[self.method]}: {MEANINGS[self.method].format(self.class_name)}"

    @property
    def verdict(self) -> str:
        """What the network said of the slide, in the words of the page."""
        p = self.prediction
        return f"Predicted: {p.label}, confidence {p.probabilities[p.predicted]:.2f}"
