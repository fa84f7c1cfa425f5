"""Feature maps in, class probabilities of every place of the slide out. Pure.

The networks end in the mean over the feature map and one fully connected layer, so a region's logits are the mean over
its cells of ``sum_c W_kc F_chw + b_k``. What stands inside that mean are a cell's own logits: those of an image that
were all like this place. Their softmax, at the temperature of the network, is the cell's probability. It is calibrated
for regions, not for cells.

Probabilities are given of whole regions, which are boxes; the most probable class only of cells that hold tissue, since
glass is of no class. That is judged as coarsely as :mod:`kdtrain.predict.explain.agreement` does, and in favour of
tissue: a cell holds some where it touches a block that does, and a region without any, of a stain that is not seen by
that rule, is tissue all over.

Frames: *level-0 pixels* and *image pixels* are continuous, origin at the top left corner of the slide and of the
region's image. Cell i of a feature map is centred on image pixel ``output_stride * i + 0.5``, as
:mod:`kdtrain.predict.explain.gradcam` shows. A map's pixel has the value of the cell whose centre is nearest; nothing
is interpolated, so both files show what the network said.

Shapes: K classes, C channels, h x w cells; a map has rows x columns pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from kdtrain.bundle.runtime import Floats, Inference
from kdtrain.evaluation.temperature import softmax
from kdtrain.predict.answers.prediction import RegionPrediction
from kdtrain.predict.explain.agreement import TISSUE_BLOCK_PX
from kdtrain.predict.explain.heat_map import Mask

MAP_PX_PER_CELL = 4
"""At least, along a side: regions start anywhere, so a map's pixels cannot meet the cells of all of them, and a cell's
edge is drawn at most half a pixel, an eighth of a cell, beside its place."""

MAX_PIXELS = 16_000_000
"""Of a map; above, its pixels are twice as large, and so on: of two classes it takes 128 MB at this size."""


@dataclass(frozen=True, kw_only=True)
class RegionCells:
    """What the network says of the cells of one region.

    Attributes:
        region: Where it lies.
        probabilities_hwK: (h, w, K) float32, above 0.
        tissue_hw: (h, w): which of them hold tissue.
        stride_px: Image pixels between the centres of neighbouring cells.
    """

    region: RegionPrediction
    probabilities_hwK: Floats
    tissue_hw: Mask
    stride_px: int

    @property
    def cell_l0(self) -> tuple[float, float]:
        """(x, y): level-0 pixels between the centres of neighbouring cells."""
        one = self.region
        return self.stride_px * one.width / one.image_width, self.stride_px * one.height / one.image_height


def cell_probabilities(inference: Inference, fc_weight_KC: Floats, temperature: float) -> Floats:
    """Class probabilities of the cells of one image.

    Args:
        inference: What the network says of it, a batch of one.
        fc_weight_KC: (K, C), weights of its fc layer.
        temperature: By which logits are divided.

    Returns:
        (h, w, K) float32; none is 0, which in a map says that the network was not asked about the place.
    """
    features_Chw = inference.feature_map_BCHW[0].astype(np.float64)
    evidence_hwK = np.moveaxis(np.tensordot(fc_weight_KC.astype(np.float64), features_Chw, axes=1), 0, -1)
    bias_K = inference.logits_BK[0] - evidence_hwK.mean(axis=(0, 1))
    shares_hwK = softmax((evidence_hwK + bias_K) / temperature).astype(np.float32)
    return np.maximum(shares_hwK, np.finfo(np.float32).tiny)


def tissue_cells(blocks: Mask, *, stride_px: int, rows: int, columns: int) -> Mask:
    """Which cells hold tissue.

    Args:
        blocks: As of :func:`kdtrain.predict.explain.agreement.tissue_blocks`.
        stride_px: Image pixels between the centres of neighbouring cells.
        rows: Of the feature map.
        columns: Of the feature map.

    Returns:
        (rows, columns): those that touch a block of tissue; all of them where there is no such block.
    """
    if not blocks.any():
        return np.ones((rows, columns), bool)
    (top, bottom), (left, right) = (
        _touched(stride_px, cells, limit) for cells, limit in zip((rows, columns), blocks.shape, strict=True)
    )
    sums = np.pad(blocks.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    in_rows = sums[bottom] - sums[top]
    return np.asarray(in_rows[:, right] - in_rows[:, left] > 0)


def _touched(stride_px: int, cells: int, blocks: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first block that each cell of an axis touches, and the first beyond."""
    centres = np.arange(cells) * stride_px + 0.5
    first = np.floor((centres - stride_px / 2) / TISSUE_BLOCK_PX).astype(np.int64)
    last = np.ceil((centres + stride_px / 2) / TISSUE_BLOCK_PX).astype(np.int64)
    return np.clip(first, 0, blocks - 1), np.clip(last, 1, blocks)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The pixels of a map that covers a whole slide: the first starts where level 0 does.

    Attributes:
        width_l0: Width of the slide, level-0 pixels.
        height_l0: Height of the slide, level-0 pixels.
        step_l0: Side of a map's pixel, level-0 pixels: a power of two, as of most slides' levels.
    """

    width_l0: int
    height_l0: int
    step_l0: int

    @property
    def columns(self) -> int:
        """Pixels of a row; the last may reach beyond the slide."""
        return ceil(self.width_l0 / self.step_l0)

    @property
    def rows(self) -> int:
        """Rows; the last may reach beyond the slide."""
        return ceil(self.height_l0 / self.step_l0)


def grid_of(
    width_l0: int, height_l0: int, cells: Sequence[RegionCells], max_pixels: int = MAX_PIXELS
) -> Grid:
    """The coarsest grid that draws the cells of all regions well enough.

    Args:
        width_l0: Width of the slide, level-0 pixels.
        height_l0: Height of the slide, level-0 pixels.
        cells: The regions, at least one.
        max_pixels: Of the grid.
    """
    smallest = min(side for region in cells for side in region.cell_l0)
    step = 1
    while step * 2 * MAP_PX_PER_CELL <= smallest:
        step *= 2
    while ceil(width_l0 / step) * ceil(height_l0 / step) > max_pixels:
        step *= 2
    return Grid(width_l0=width_l0, height_l0=height_l0, step_l0=step)


def class_map(grid: Grid, cells: Sequence[RegionCells]) -> Floats:
    """Lay regions' probabilities into a map of the slide.

    Args:
        grid: The map's pixels.
        cells: The regions, at least one.

    Returns:
        (rows, columns, K) float32: the probabilities of the classes, or 0 for all of them where no region lies. Where
        several do, their mean.
    """
    return _laid(grid, cells, [one.probabilities_hwK for one in cells])


def labels_of(grid: Grid, cells: Sequence[RegionCells], map_hwK: Floats) -> NDArray[np.uint16]:
    """The most probable classes.

    Args:
        grid: The map's pixels.
        cells: The regions, at least one.
        map_hwK: Their probabilities, laid into a map.

    Returns:
        (rows, columns): 1 and up for the most probable class, the first of equals; 0 where there is no tissue.
    """
    tissue = _laid(grid, cells, [one.tissue_hw[..., None].astype(np.float32) for one in cells])[..., 0] > 0
    return np.where(tissue, map_hwK.argmax(axis=-1) + 1, 0).astype(np.uint16)


def _laid(grid: Grid, cells: Sequence[RegionCells], values: Sequence[Floats]) -> Floats:
    """(rows, columns, C) of values (h, w, C) of each region's cells: the nearest cell's, the mean of regions, or 0."""
    sums_hwC = np.zeros((grid.rows, grid.columns, values[0].shape[-1]), np.float32)
    counts_hw1 = np.zeros((grid.rows, grid.columns, 1), np.float32)
    for one, values_hwC in zip(cells, values, strict=True):
        region, (h, w) = one.region, values_hwC.shape[:2]
        columns = _pixels(region.x, region.width, grid.step_l0, grid.columns)
        rows = _pixels(region.y, region.height, grid.step_l0, grid.rows)
        cell_x = _nearest(
            columns, grid.step_l0, region.x, region.image_width / region.width, one.stride_px, w
        )
        cell_y = _nearest(rows, grid.step_l0, region.y, region.image_height / region.height, one.stride_px, h)
        sums_hwC[np.ix_(rows, columns)] += values_hwC[np.ix_(cell_y, cell_x)]
        counts_hw1[np.ix_(rows, columns)] += 1
    sums_hwC /= np.maximum(counts_hw1, 1)
    return sums_hwC


def _pixels(start_l0: float, length_l0: float, step_l0: int, limit: int) -> NDArray[np.int64]:
    """Numbers of the pixels of an axis whose centres lie in a region; of a tiny region, the one that it starts in."""
    centres = (np.arange(limit) + 0.5) * step_l0
    inside = np.flatnonzero((centres >= start_l0) & (centres < start_l0 + length_l0))
    return inside if inside.size else np.array([min(int(start_l0 // step_l0), limit - 1)])


def _nearest(
    pixels: NDArray[np.int64], step_l0: int, start_l0: float, scale: float, stride_px: int, cells: int
) -> NDArray[np.int64]:
    """Numbers of the cells of an axis that are nearest to pixels; ``scale`` is image pixels per level-0 pixel."""
    image_px = ((pixels + 0.5) * step_l0 - start_l0) * scale
    # A centre between two cells goes to the second: rint would go to the even one.
    numbers = np.floor((image_px - 0.5) / stride_px + 0.5).astype(np.int64)
    return np.clip(numbers, 0, cells - 1)
