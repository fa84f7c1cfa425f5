"""Vectors with places on a region in, the student's feature map out: any teacher's tokens on any student's grid.

A cell of the result is the mean of the vectors whose boxes lie under it, each weighted by the area shared with it. So
tokens that are finer than cells are averaged, coarser ones repeated, overlapping tiles agree by their mean,
and a cell with nothing under it is known to be empty.

Legend: C channels; H and W rows and columns of the student's map; h and w of a grid of tokens. Boxes are (left, top,
right, bottom) in parts of the region: (0, 0, 1, 1) is all of it, and a tile may reach beyond.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, floor

import torch
from torch import Tensor

COVERED = 0.5
"""Share of a cell's area within the region that something must lie on for its vector to count."""
POINTS = 8
"""Places on a cell's side at which it is asked whether something lies there."""

Box = tuple[float, float, float, float]


class Laying:
    """A map of the student's size that vectors are laid on, one grid of tokens after the other.

    Sums are float64, so that the order in which tiles and patches come decides no float32 bit that is kept.

    Args:
        channels: C of the vectors.
        size: (H, W) of the student's map.
        extent: (height, width) of the region in cells: at most (H, W), less where the last row or column of cells
            reaches beyond the image, as it does for sides that are no multiple of the output stride.
    """

    def __init__(
        self, channels: int, size: tuple[int, int], extent: tuple[float, float] | None = None
    ) -> None:
        self._extent = (float(size[0]), float(size[1])) if extent is None else extent
        self._sum_CHW = torch.zeros((channels, *size), dtype=torch.float64)
        self._area_HW = torch.zeros(size, dtype=torch.float64)
        self._covered = torch.zeros([side * POINTS for side in size], dtype=torch.bool)

    def add(self, tokens_Chw: Tensor, box: Box) -> None:
        """Lay a grid of tokens: its h x w cells share the box evenly.

        Args:
            tokens_Chw: (C, h, w), finite.
            box: Of the whole grid.

        Raises:
            ValueError: Another number of channels, or a box without area.
        """
        channels, rows, columns = tokens_Chw.shape
        if channels != self._sum_CHW.shape[0]:
            raise ValueError(f"tokens of {channels} channels for a map of {self._sum_CHW.shape[0]}")
        left, top, right, bottom = box
        if not (right > left and bottom > top):
            raise ValueError(f"a box has its left before its right and its top before its bottom; got {box}")
        height, width = self._extent
        high = _cells(self._sum_CHW.shape[1], top * height, bottom * height)
        wide = _cells(self._sum_CHW.shape[2], left * width, right * width)
        down_Hh = _shared(high, top * height, bottom * height, rows)
        across_Ww = _shared(wide, left * width, right * width, columns)
        # A tile touches few of a large region's cells: the others are left alone.
        part = (slice(high.start, high.stop), slice(wide.start, wide.stop))
        tokens = tokens_Chw.double()
        self._sum_CHW[:, *part] += torch.einsum("Hh,chw,Ww->cHW", down_Hh, tokens, across_Ww)
        self._area_HW[part] += torch.outer(down_Hh.sum(1), across_Ww.sum(1))
        # Asked by place, because tiles that overlap cover what they share only once.
        inside = [
            (places >= start) & (places < end)
            for places, start, end in zip(
                self._places, (top * height, left * width), (bottom * height, right * width), strict=True
            )
        ]
        self._covered |= torch.outer(*inside)

    def add_patches(self, vectors_NC: Tensor, boxes_N4: Tensor) -> None:
        """Lay N single vectors, each on a box of its own: what N calls of :meth:`add` do, several times as fast.

        Args:
            vectors_NC: (N, C), finite.
            boxes_N4: (N, 4) float64, each (left, top, right, bottom) in parts of the region.

        Raises:
            ValueError: Another number of channels, or a box without area.
        """
        if vectors_NC.shape[1] != self._sum_CHW.shape[0]:
            raise ValueError(
                f"vectors of {vectors_NC.shape[1]} channels for a map of {self._sum_CHW.shape[0]}"
            )
        if not bool((boxes_N4[:, 2:] > boxes_N4[:, :2]).all()):
            raise ValueError("a box has its left before its right and its top before its bottom")
        height, width = self._extent
        boxes = boxes_N4.double() * torch.tensor([width, height, width, height], dtype=torch.float64)
        left, top, right, bottom = boxes.unbind(1)
        vectors = vectors_NC.double()
        _, rows, columns = self._sum_CHW.shape
        # Cells last in memory make a sum of rows; each patch adds to the few cells that it touches.
        sum_PC = torch.zeros((rows * columns, vectors.shape[1]), dtype=torch.float64)
        area_P = torch.zeros(rows * columns, dtype=torch.float64)
        for row, high in _touched(top, bottom, rows):
            for column, wide in _touched(left, right, columns):
                shared = high * wide
                hit = shared > 0
                cell = (row * columns + column)[hit]
                sum_PC.index_add_(0, cell, vectors[hit] * shared[hit, None])
                area_P.index_add_(0, cell, shared[hit])
        self._sum_CHW.view(len(self._sum_CHW), -1).add_(sum_PC.T)
        self._area_HW += area_P.view(rows, columns)
        self._cover(boxes)

    def _cover(self, boxes_N4: Tensor) -> None:
        """Mark the places that lie in any of the boxes, in cells: 1 more where one begins, 1 less where it ends."""
        rows, columns = self._places
        sides = zip(boxes_N4.T.contiguous(), (columns, rows, columns, rows), strict=True)
        left, top, right, bottom = (torch.searchsorted(places, side) for side, places in sides)
        edges = torch.zeros([side + 1 for side in self._covered.shape], dtype=torch.int64)
        for row, column, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
            edges.index_put_((row, column), torch.tensor(sign), accumulate=True)
        self._covered |= edges.cumsum(0).cumsum(1)[:-1, :-1] > 0

    def result(self) -> tuple[Tensor, Tensor]:
        """The map, (C, H, W) float32, 0 where nothing lies; and which cells count, (H, W) bool."""
        map_CHW = torch.where(self._area_HW > 0, self._sum_CHW / self._area_HW, 0.0)
        region = torch.outer(
            *(places < side for places, side in zip(self._places, self._extent, strict=True))
        )
        covered_HW, whole_HW = _per_cell(self._covered & region), _per_cell(region)
        return map_CHW.float(), (self._area_HW > 0) & (whole_HW > 0) & (covered_HW >= COVERED * whole_HW)

    @property
    def _places(self) -> tuple[Tensor, Tensor]:
        """Rows and columns, in cells, of the places where cover is asked."""
        rows, columns = ((torch.arange(n, dtype=torch.float64) + 0.5) / POINTS for n in self._covered.shape)
        return rows, columns


def _touched(start: Tensor, end: Tensor, cells: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The first cell that each of N spans touches, then the next, as long as any has one: cells, and how much of them.

    Args:
        start: (N,) where the spans begin, in cells.
        end: (N,) where they end.
        cells: Number of cells; what lies beyond is shared with none.
    """
    first = start.floor()
    most = int((end.ceil() - first).max().clamp(max=cells)) if len(start) else 0
    # A span may begin long before the first cell, and is then met at cell 0.
    first = first.clamp(min=0)
    for step in range(most):
        cell = first + step
        shared = (torch.minimum(end, cell + 1) - torch.maximum(start, cell)).clamp(min=0)
        yield cell.clamp(max=cells - 1).long(), torch.where(cell < cells, shared, 0.0)


def _per_cell(places: Tensor) -> Tensor:
    """How many of a cell's places are true, (H, W)."""
    rows, columns = (n // POINTS for n in places.shape)
    return places.view(rows, POINTS, columns, POINTS).sum(dim=(1, 3))


def _cells(cells: int, start: float, end: float) -> range:
    """The cells that lie between start and end."""
    first = min(max(floor(start), 0), cells)
    return range(first, max(first, min(ceil(end), cells)))


def _shared(cells: range, start: float, end: float, tokens: int) -> Tensor:
    """How much of each cell [i, i + 1) each of the tokens between start and end takes: (cells, tokens)."""
    edges = torch.linspace(start, end, tokens + 1, dtype=torch.float64)
    first = torch.arange(cells.start, cells.stop, dtype=torch.float64)[:, None]
    return (torch.minimum(edges[1:], first + 1) - torch.maximum(edges[:-1], first)).clamp(min=0)
