"""A heat map of one image, and where its cells lie in it.

Frames: *image pixels* are continuous, origin at the image's top left corner; pixel i covers i to i + 1, so its centre
is at i + 0.5. A map's cells lie on a regular grid of centres; what is between them is interpolated.

An :class:`ExplainedRegion` holds the maps of one region: plain data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kdtrain.predict.answers.prediction import RegionPrediction

FloatMap = NDArray[np.float32]
Places = NDArray[np.floating[Any]]
Method = Literal["grad-cam", "occlusion"]

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """How much each place of an image speaks for a class.

    Attributes:
        method: What made it.
        class_index: The class it speaks for.
        values: (rows, columns) float32, larger is more; below 0 speaks against the class.
        step_x: Image pixels between the centres of neighbouring columns.
        step_y: Image pixels between the centres of neighbouring rows.
        first_x: Centre of column 0, image pixels.
        first_y: Centre of row 0, image pixels.
    """

    method: Method
    class_index: int
    values: FloatMap
    step_x: float
    step_y: float
    first_x: float
    first_y: float

    def at_pixels(self, *, width: int, height: int) -> FloatMap:
        """Interpolate to the image's pixels: (height, width) float32; beyond the outer centres the edge goes on.

        Args:
            width: Width of the image, pixels.
            height: Height of the image, pixels.
        """
        return self.at(x=np.arange(width) + 0.5, y=np.arange(height) + 0.5)

    def at(self, *, x: Places, y: Places) -> FloatMap:
        """Interpolate on a grid of places: (len(y), len(x)) float32; beyond the outer centres the edge goes on.

        Args:
            x: Image pixels, one per column of the result.
            y: Image pixels, one per row of the result.
        """
        rows, columns = self.values.shape
        across = _interpolated(self.values.T, np.clip((x - self.first_x) / self.step_x, 0, columns - 1)).T
        return _interpolated(across, np.clip((y - self.first_y) / self.step_y, 0, rows - 1))

    def peak(self) -> tuple[float, float]:
        """(x, y) of the largest cell's centre, image pixels; the first of equals in reading order."""
        row, column = np.unravel_index(int(np.argmax(self.values)), self.values.shape)
        return self.first_x + float(column) * self.step_x, self.first_y + float(row) * self.step_y


def _interpolated(values: FloatMap, positions: Places) -> FloatMap:
    """Rows of ``values`` at fractional row numbers."""
    low = np.minimum(positions.astype(np.int64), len(values) - 1)
    high = np.minimum(low + 1, len(values) - 1)
    share = (positions - low).astype(np.float32)[:, None]
    return np.asarray(values[low] * (1 - share) + values[high] * share, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class ExplainedRegion:
    """A region with what the network said of it and where it looked.

    Attributes:
        prediction: What the network said.
        maps: At most one of each method and class; cells in pixels of the image that the network saw.
        tissue: Which blocks of that image hold tissue, as :func:`kdtrain.predict.explain.agreement.tissue_blocks` finds
            them: (rows, columns) of blocks of ``TISSUE_BLOCK_PX`` a side. None where that is not known.
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
