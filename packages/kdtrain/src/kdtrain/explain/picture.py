"""What a picture of an explained slide shows, and in what words: for the overlay and for the OME-TIFF alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kdtrain.explain.heat_map import HeatMap, Method
from kdtrain.explain.model import ExplainedRegion
from kdtrain.explain.scale import Scale
from kdtrain.predict.prediction import SlidePrediction

METHOD_NAMES: dict[Method, str] = {"grad-cam": "Grad-CAM", "occlusion": "Occlusion"}

MEANINGS: dict[Method, str] = {
    "grad-cam": "what the place adds to the logit of '{}', if all of the image were like it",
    "occlusion": "what the log-odds of '{}' lose when the place is blurred away",
}
"""What a value is, by method."""

CAUTION = "Colours show what the network used. They are no diagnosis. For research use only."


@dataclass(frozen=True, kw_only=True)
class SlidePicture:
    """One method and class over a whole slide.

    Attributes:
        prediction: What the network said of the slide.
        regions: Those to draw.
        bundle: Name of the bundle.
        method: Which maps.
        class_index: Of which class.
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
        """Of the class explained."""
        return self.prediction.classes[self.class_index]

    @property
    def meaning(self) -> str:
        """What a value is, in words."""
        return f"{METHOD_NAMES[self.method]}: {MEANINGS[self.method].format(self.class_name)}"

    @property
    def verdict(self) -> str:
        """What the network said of the slide, in words."""
        p = self.prediction
        return f"Predicted: {p.label}, probability {p.probabilities[p.predicted]:.2f}"
