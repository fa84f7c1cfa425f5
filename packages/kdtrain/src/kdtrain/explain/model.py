"""What is explained of a region: plain data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdtrain.explain.heat_map import HeatMap, Method
from kdtrain.predict.prediction import RegionPrediction

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ExplainedRegion:
    """A region with what the network said of it and where it looked.

    Attributes:
        prediction: What the network said.
        maps: At most one of each method and class; cells in pixels of the image that the network saw.
        tissue: Which blocks of that image hold tissue, as :func:`kdtrain.explain.tissue.tissue_blocks` finds them:
            (rows, columns) of blocks of ``TISSUE_BLOCK_PX`` a side. None where that is not known.
    """

    prediction: RegionPrediction
    maps: tuple[HeatMap, ...]
    tissue: Mask | None = None

    def map_of(self, method: Method, class_index: int) -> HeatMap | None:
        """The map of one method and class, or None."""
        wanted = (method, class_index)
        return next((m for m in self.maps if (m.method, m.class_index) == wanted), None)

    @property
    def level0_per_pixel(self) -> tuple[float, float]:
        """(x, y): level-0 pixels per pixel of the image that the network saw."""
        p = self.prediction
        return p.width / p.image_width, p.height / p.image_height
