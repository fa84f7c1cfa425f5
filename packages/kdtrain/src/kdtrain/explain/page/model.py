"""What the page of a slide shows: plain data, filled by whoever predicted.

Frames: boxes of regions are in level-0 pixels. A region's heat maps are in pixels of the image that the network saw,
``image_width`` x ``image_height`` of its prediction, whatever the size of the image shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from kdtrain.explain.heat_map import HeatMap
from kdtrain.predict.prediction import RegionPrediction, SlidePrediction


@dataclass(frozen=True, kw_only=True)
class RegionView:
    """A region with its picture and its maps.

    Attributes:
        prediction: What the network said of it, and where it lies.
        display: JPEG of the region's box at any resolution, often finer than what the network saw; None shows the
            slide's overview alone.
        maps: At most one for each method and class; none where nothing was explained.
        agreement: Rank correlation of the Grad-CAM and the occlusion map of the region's predicted class, -1 to 1,
            or None where it was not computed.
    """

    prediction: RegionPrediction
    display: bytes | None = None
    maps: tuple[HeatMap, ...] = ()
    agreement: float | None = None


@dataclass(frozen=True, kw_only=True)
class SlidePage:
    """All that a page shows.

    Attributes:
        prediction: What the network said of the slide.
        regions: One for each region of the prediction, in its order.
        overview: JPEG of the whole slide, from corner to corner.
        bundle: Name of the bundle.
        backend: What computed the network, as a runtime is named: "onnxruntime on cpu".

    Raises:
        ValueError: ``regions`` are not those of the prediction.
    """

    prediction: SlidePrediction
    regions: tuple[RegionView, ...]
    overview: bytes
    bundle: str
    backend: str

    def __post_init__(self) -> None:
        shown, predicted = [view.prediction.index for view in self.regions], self.prediction.regions
        if shown != [region.index for region in predicted]:
            raise ValueError(
                f"a page needs one view for each region of its prediction, in its order: it has views of {shown} "
                f"for regions {[region.index for region in predicted]}"
            )
