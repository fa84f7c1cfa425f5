"""A region's image in, tiles of a network's size out, each with its place. Pure.

Tiles begin at the top left and follow one another at the tile's side less the overlap. The last one of a row or column
is moved inwards, so that it ends where the image does; an image smaller than a tile is padded by white on its right and
at its bottom, and what is padded reaches beyond the region, where nothing is laid.

Legend: H and W rows and columns of the image, h and w of a map; frame: pixels of the image, from its top left corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F  # noqa: N812 - PyTorch's own abbreviation
from torch import Tensor

from kdtrain.errors import UsageError
from kdtrain.sources.laying import Box

WHITE = 1.0
"""What stands around a slide, and so beyond a region that is smaller than a tile."""
_STRIDES = tuple(1 << power for power in range(11))
"""Pixels a cell of convolutional networks: every layer with a stride halves."""


@dataclass(frozen=True, kw_only=True)
class TilePlan:
    """How regions are cut.

    Attributes:
        height: Of a tile, pixels; 0 for tiles as large as each image.
        width: Likewise.
        overlap_px: That two tiles in a row or a column share, at least.
    """

    height: int
    width: int
    overlap_px: int = 0

    @classmethod
    def checked(cls, height: int, width: int, overlap_px: int) -> TilePlan:
        """A plan out of options.

        Raises:
            UsageError: Tiles overlap more than they are large, or are as large as their region.
        """
        if overlap_px and overlap_px >= min(height, width):
            side = f"tiles of {width} x {height} px" if height else "regions that are one tile each"
            raise UsageError(
                f"--overlap-px {overlap_px} is not below the shorter side of {side}; give less, or leave it out"
            )
        return cls(height=height, width=width, overlap_px=overlap_px)

    @property
    def record(self) -> dict[str, Any]:
        """For what decides a cache's bytes."""
        return {
            "tile_px": "region" if self.whole else [self.height, self.width],
            "overlap_px": self.overlap_px,
        }

    @property
    def whole(self) -> bool:
        """Whether each image is one tile."""
        return not self.height

    def tiles(self, size: tuple[int, int]) -> list[Tile]:
        """The tiles of an image of (H, W) pixels, row by row."""
        tile = size if self.whole else (self.height, self.width)
        tops, lefts = (_starts(side, of, self.overlap_px) for side, of in zip(size, tile, strict=True))
        return [Tile(top=top, left=left, height=tile[0], width=tile[1]) for top in tops for left in lefts]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A tile's place: pixels of the image."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, image_CHW: Tensor) -> Tensor:
        """Its pixels, (3, height, width); white beyond the image.

        Args:
            image_CHW: (3, H, W) in [0, 1].
        """
        inside = image_CHW[:, self.top : self.top + self.height, self.left : self.left + self.width]
        below, right = self.height - inside.shape[1], self.width - inside.shape[2]
        return F.pad(inside, (0, right, 0, below), value=WHITE) if below or right else inside

    def box(self, size: tuple[int, int], cells: tuple[int, int]) -> Box:
        """Where a map of its cells lies, in parts of an image of (H, W) pixels.

        The cells of most maps share the tile evenly. Those of a convolutional network are squares of a power of two
        pixels, of which the last may reach beyond the tile, or leave a rest.

        Args:
            size: (H, W) of the image.
            cells: (h, w) of the map.
        """
        cell_px = _cell_px((self.height, self.width), cells)
        high, wide = (
            (self.height, self.width) if cell_px is None else (cells[0] * cell_px, cells[1] * cell_px)
        )
        bottom, right = self.top + high, self.left + wide
        return self.left / size[1], self.top / size[0], right / size[1], bottom / size[0]

    def area(self, size: tuple[int, int]) -> int:
        """Pixels of an image of (H, W) pixels that it covers."""
        return min(self.height, size[0] - self.top) * min(self.width, size[1] - self.left)


def _starts(side: int, tile: int, overlap_px: int) -> list[int]:
    """Where tiles begin along a side, pixels."""
    if side <= tile:
        return [0]
    step = tile - overlap_px
    return [*range(0, side - tile, step), side - tile]


def _cell_px(tile: tuple[int, int], cells: tuple[int, int]) -> int | None:
    """Side of the square cells of a map that does not share its tile evenly; None where it does."""
    if not (tile[0] % cells[0] or tile[1] % cells[1]):
        return None
    for px in _STRIDES:  # padded convolutions round up
        if tuple(-(-side // px) for side in tile) == cells:
            return px
    for px in _STRIDES:
        if tuple(side // px for side in tile) == cells:
            return px
    return None
