"""A region's feature map in, vectors and the boxes on level 0 that they are of out. Pure.

Frames: level-0 pixels, (x, y) top left, boxes (left, top, right, bottom). Legend: C channels, H and W rows and columns
of a feature map, N vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdtrain.sources.feature_writing import SlideVectors


@dataclass(frozen=True, kw_only=True)
class SeenSlide:
    """A slide as its vectors' file describes it.

    Attributes:
        name: The slide's.
        width: Level-0 pixels.
        height: Level-0 pixels.
        mpp: Microns per level-0 pixel, or None.
    """

    name: str
    width: int
    height: int
    mpp: float | None


@dataclass(frozen=True, kw_only=True)
class SeenRegion:
    """A region, and what the network made of it.

    Attributes:
        x: Left edge.
        y: Top edge.
        width: Level-0 pixels.
        height: Level-0 pixels.
        factor: Level-0 pixels per pixel of the image.
        map_CHW: (C, H, W) float32.
    """

    x: int
    y: int
    width: float
    height: float
    factor: float
    map_CHW: NDArray[np.float32]


def region_vectors(region: SeenRegion) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The mean over a region's map, which is what the network's own last layer takes: (1, C), and its box (1, 4)."""
    mean_C = region.map_CHW.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)
    box = (region.x, region.y, region.x + region.width, region.y + region.height)
    return mean_C[None], np.array([box], dtype=np.float64)


def cell_vectors(region: SeenRegion, stride_px: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Every cell of a region's map, row by row: (N, C), and their boxes (N, 4).

    All are of one size. Of an image whose side is no multiple of the stride, the last ones reach beyond it.
    """
    channels, rows, columns = region.map_CHW.shape
    side = stride_px * region.factor
    left, top = np.meshgrid(region.x + side * np.arange(columns), region.y + side * np.arange(rows))
    corners = np.stack([left.ravel(), top.ravel()], axis=1)
    vectors = np.ascontiguousarray(region.map_CHW.reshape(channels, -1).T)
    return vectors, np.concatenate([corners, corners + side], axis=1)


def slide_vectors(
    slide: SeenSlide,
    regions: Sequence[SeenRegion],
    *,
    encoder: str,
    magnification: float,
    stride_px: int,
    cells: bool,
) -> SlideVectors:
    """A slide's vectors, region by region.

    Args:
        slide: The slide.
        regions: At least one.
        encoder: Name of the network.
        magnification: Of the images that it saw.
        stride_px: Pixels of these per cell.
        cells: A vector a cell, else one a region.
    """
    parts = [cell_vectors(one, stride_px) if cells else region_vectors(one) for one in regions]
    return SlideVectors(
        slide=slide.name,
        encoder=encoder,
        vectors_NC=np.concatenate([vectors for vectors, _ in parts]),
        boxes_N4=np.concatenate([boxes for _, boxes in parts]),
        magnification=magnification,
        patch_px=stride_px if cells else None,
        factor=regions[0].factor,
        level0_size=(slide.width, slide.height),
        mpp=slide.mpp,
    )
