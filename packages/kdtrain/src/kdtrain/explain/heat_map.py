"""A heat map of one image, and where its cells lie in it.

Frames: *image pixels* are continuous, origin at the image's top left corner; pixel i covers i to i + 1, so its centre
is at i + 0.5. A map's cells lie on a regular grid of centres; what is between them is interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatMap = NDArray[np.float32]
Method = Literal["grad-cam", "occlusion"]


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
            width: Of the image, pixels.
            height: Of the image, pixels.
        """
        columns = _positions(width, self.step_x, self.first_x, self.values.shape[1])
        rows = _positions(height, self.step_y, self.first_y, self.values.shape[0])
        across = _interpolated(self.values.T, columns).T
        return _interpolated(across, rows)

    def peak(self) -> tuple[float, float]:
        """(x, y) of the largest cell's centre, image pixels; the first of equals in reading order."""
        row, column = np.unravel_index(int(np.argmax(self.values)), self.values.shape)
        return self.first_x + float(column) * self.step_x, self.first_y + float(row) * self.step_y


def _positions(pixels: int, step: float, first: float, cells: int) -> NDArray[np.float64]:
    """Where the centres of pixels lie between a map's cells, in cells, held to the map."""
    return np.clip((np.arange(pixels) + 0.5 - first) / step, 0, cells - 1)


def _interpolated(values: FloatMap, positions: NDArray[np.float64]) -> FloatMap:
    """Rows of ``values`` at fractional row numbers."""
    low = np.minimum(positions.astype(np.int64), len(values) - 1)
    high = np.minimum(low + 1, len(values) - 1)
    share = (positions - low).astype(np.float32)[:, None]
    return np.asarray(values[low] * (1 - share) + values[high] * share, dtype=np.float32)
