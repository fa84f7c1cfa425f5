"""Where tiles lie on a region, and what is cut there: kdtrain/sources/tiles.py."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from kdtrain.errors import UsageError
from kdtrain.sources.tiles import Tile, TilePlan


def places(plan: TilePlan, size: tuple[int, int]) -> list[tuple[int, int]]:
    """(top, left) of a plan's tiles."""
    return [(tile.top, tile.left) for tile in plan.tiles(size)]


def test_tiles_follow_one_another_and_the_last_is_moved_inwards() -> None:
    """Ten pixels in tiles of four begin at 0, 4 and 6; the last ends where the image does."""
    assert places(TilePlan(height=4, width=4), (4, 10)) == [(0, 0), (0, 4), (0, 6)]
    assert places(TilePlan(height=4, width=4), (8, 8)) == [(0, 0), (0, 4), (4, 0), (4, 4)]


def test_overlap_brings_tiles_closer() -> None:
    """Tiles of four that share one begin at 0, 3 and 6."""
    assert places(TilePlan(height=4, width=4, overlap_px=1), (4, 10)) == [(0, 0), (0, 3), (0, 6)]


@pytest.mark.parametrize("overlap_px", range(7))
@pytest.mark.parametrize("side", [1, 6, 7, 8, 13, 14, 15, 29])
def test_every_pixel_lies_in_a_tile_and_none_ends_outside(side: int, overlap_px: int) -> None:
    """Whatever the side and the overlap; neighbours share the overlap at least."""
    tiles = TilePlan(height=7, width=7, overlap_px=overlap_px).tiles((7, side))
    covered = {x for tile in tiles for x in range(tile.left, tile.left + 7)}
    assert covered >= set(range(side))
    assert max(covered) < max(side, 7)
    lefts = [tile.left for tile in tiles]
    assert all(0 < after - before <= 7 - overlap_px for before, after in pairwise(lefts))


def test_a_region_may_be_one_tile() -> None:
    """Of its own size, whatever that is."""
    assert TilePlan(height=0, width=0).tiles((5, 9)) == [Tile(top=0, left=0, height=5, width=9)]


def test_what_is_beyond_the_region_is_white_and_not_laid() -> None:
    """A region of 2 x 3 px in a tile of four: its pixels, then ones; a map of the tile reaches beyond 1."""
    (tile,) = TilePlan(height=4, width=4).tiles((2, 3))
    cut = tile.cut(torch.zeros(3, 2, 3))
    assert cut[0].tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [1, 1, 1, 1], [1, 1, 1, 1]]
    assert tile.box((2, 3), (2, 2)) == (0, 0, 4 / 3, 2.0)
    assert tile.area((2, 3)) == 6


def test_a_tile_inside_is_a_part_of_the_image() -> None:
    """Its pixels are those at its place; its box is its place in parts of the image."""
    image = torch.arange(48.0).view(1, 6, 8).expand(3, 6, 8)
    tile = Tile(top=2, left=4, height=3, width=2)
    assert torch.equal(tile.cut(image), image[:, 2:5, 4:6])
    assert tile.box((6, 8), (1, 1)) == (0.5, 2 / 6, 0.75, 5 / 6)
    assert tile.area((6, 8)) == 6


@pytest.mark.parametrize(
    ("side", "cells", "covered"),
    [
        (96, 3, 96),  # shared evenly
        (97, 4, 128),  # 32 px a cell, rounded up, as a padded network of stride 32 does
        (224, 16, 224),  # patches of 14 px
        (100, 3, 96),  # 32 px a cell, rounded down
        (100, 7, 112),  # 16 px a cell
        (100, 9, 100),  # no power of two: shared evenly
        (33, 5, 40),  # 8 px a cell, rounded up
        (2, 1, 2),
    ],
)
def test_cells_of_a_map_have_their_places(side: int, cells: int, covered: int) -> None:
    """A convolutional network's last cell may reach beyond the tile, and one that rounds down leaves a rest."""
    tile = Tile(top=0, left=0, height=side, width=side)
    assert tile.box((side, side), (cells, cells)) == (0, 0, covered / side, covered / side)


@pytest.mark.parametrize(("side", "overlap_px"), [(7, 7), (7, 8), (0, 1)])
def test_an_overlap_of_whole_tiles_is_refused(side: int, overlap_px: int) -> None:
    """Tiles would not move on; regions that are one tile have no neighbours."""
    with pytest.raises(UsageError, match=f"--overlap-px {overlap_px} is not below the shorter side of"):
        TilePlan.checked(side, side, overlap_px)
