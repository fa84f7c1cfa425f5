"""Which parts of an image hold tissue: coarse, for weighing heat maps, not for finding regions.

A pixel is tissue where it holds stain, as :mod:`kdtrain.bundle.stain` measures it.
"""

from __future__ import annotations

import numpy as np

from kdtrain.bundle.runtime import Pixels
from kdtrain.bundle.stain import densities, is_stained
from kdtrain.explain.model import Mask

TISSUE_BLOCK_PX = 8
"""Side of a block in image pixels: finer than any map, and an image of 60 megapixels has a mask of one megabyte."""


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
