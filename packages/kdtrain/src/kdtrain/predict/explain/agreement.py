"""Whether two maps of an image put its places in the same order: Spearman's rank correlation over the tissue.

Grad-CAM and occlusion ask the same question in ways that have nothing in common. Where they agree, the answer is not an
artefact of one of them; where they do not, neither should be believed alone.

Both maps are taken at one resolution: that of the coarser one, each of whose cells is the mean of both maps over the
part of the cell that is tissue. Ranks, because the maps have different units; tissue, because two maps that are
nought on an empty background would agree on that.

A pixel is tissue where it holds stain, as :mod:`kdtrain.bundle.stain` measures it: coarse, for weighing heat maps, not
for finding regions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdtrain.bundle.runtime import Pixels
from kdtrain.bundle.stain import densities, is_stained
from kdtrain.predict.explain.heat_map import HeatMap, Mask, Places

if TYPE_CHECKING:
    from kdtrain.predict.explain.heat_map import ExplainedRegion

MIN_CELLS = 8
"""Below this, chance alone often gives an absolute correlation above 0.7, and no number is better than one."""

_POINTS = 4
"""Points along a side at which a cell is looked at."""

_MIN_TISSUE = 0.25
"""Share of a cell that must be tissue: a smaller one is mostly the edge of a piece."""

TISSUE_BLOCK_PX = 8
"""Side of a block in image pixels: finer than any map, and an image of 60 megapixels has a mask of one megabyte."""


def agreement(
    first: HeatMap, second: HeatMap, *, width: int, height: int, tissue: Mask | None = None
) -> float | None:
    """Spearman's rank correlation of two maps of one image.

    Args:
        first: One map.
        second: The other.
        width: Width of the image, pixels.
        height: Height of the image, pixels.
        tissue: As of :func:`kdtrain.predict.explain.agreement.tissue_blocks`; None counts all of the image.

    Returns:
        From -1 (opposite order) to 1 (same order). None where fewer than MIN_CELLS cells can be compared, or a map is
        the same everywhere.
    """
    coarse = min(first, second, key=lambda m: m.values.size)
    x = _points(coarse.first_x, coarse.step_x, coarse.values.shape[1])
    y = _points(coarse.first_y, coarse.step_y, coarse.values.shape[0])
    counts = (
        ((y >= 0) & (y < height))[:, None]
        & ((x >= 0) & (x < width))[None]
        & (_on_tissue(tissue, x, y) if tissue is not None else True)
    )
    shares = _cell_means(counts.astype(np.float64))
    kept = shares >= _MIN_TISSUE
    if kept.sum() < MIN_CELLS:
        return None
    of_first, of_second = (_cell_means(m.at(x=x, y=y) * counts)[kept] / shares[kept] for m in (first, second))
    return spearman(of_first, of_second)


def agreements(region: ExplainedRegion) -> dict[int, float]:
    """Agreement of Grad-CAM and occlusion, by class, for the classes of a region that have both and a number."""
    found = {}
    image = region.prediction
    for cam in region.maps:
        occlusion = region.map_of("occlusion", cam.class_index)
        if cam.method == "grad-cam" and occlusion is not None:
            value = agreement(
                cam, occlusion, width=image.image_width, height=image.image_height, tissue=region.tissue
            )
            if value is not None:
                found[cam.class_index] = value
    return found


def spearman(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> float | None:
    """Rank correlation of (N,) and (N,), equal values sharing their mean rank; None if either is constant."""
    ranks = np.stack([_mean_ranks(first), _mean_ranks(second)])
    if (np.ptp(ranks, axis=1) == 0).any():
        return None
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    return float(centred[0] @ centred[1] / np.sqrt((centred**2).sum(axis=1).prod()))


def _mean_ranks(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], dtype=np.float64)


def _points(first: float, step: float, cells: int) -> Places:
    """Image pixels: _POINTS evenly spread in each cell of an axis."""
    offsets = (np.arange(_POINTS) + 0.5) / _POINTS - 0.5
    return ((np.arange(cells)[:, None] + offsets) * step + first).ravel()


def _on_tissue(tissue: Mask, x: Places, y: Places) -> Mask:
    rows = np.clip(y // TISSUE_BLOCK_PX, 0, tissue.shape[0] - 1).astype(np.int64)
    columns = np.clip(x // TISSUE_BLOCK_PX, 0, tissue.shape[1] - 1).astype(np.int64)
    return tissue[np.ix_(rows, columns)]


def _cell_means(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    rows, columns = values.shape[0] // _POINTS, values.shape[1] // _POINTS
    return np.asarray(values.reshape(rows, _POINTS, columns, _POINTS).mean(axis=(1, 3)), dtype=np.float64)


def tissue_blocks(image_HWC: Pixels) -> Mask:
    """Blocks of which at least half is tissue.

    Args:
        image_HWC: (rows, columns, 3) uint8 RGB.

    Returns:
        (block rows, block columns): blocks of TISSUE_BLOCK_PX a side from the top left corner; those at the right and
        bottom edges are cut off by the image and count by what is left of them.
    """
    rows = [_shares(image_HWC[y : y + TISSUE_BLOCK_PX]) for y in range(0, len(image_HWC), TISSUE_BLOCK_PX)]
    return np.stack(rows) >= 0.5


def _shares(strip_HWC: Pixels) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Share of tissue in each block of a strip of blocks."""
    tissue = is_stained(densities(strip_HWC))
    edges = np.arange(0, tissue.shape[1], TISSUE_BLOCK_PX)
    widths = np.diff(np.append(edges, tissue.shape[1]))
    counts = np.add.reduceat(tissue.sum(axis=0), edges)
    return np.asarray(counts / (widths * len(tissue)), dtype=np.float64)
