"""Vectors laid on a student's grid: kdtrain/sources/laying.py."""

from __future__ import annotations

import pytest
import torch

from kdtrain.sources.laying import Laying

ALL = (0.0, 0.0, 1.0, 1.0)


def test_a_grid_of_the_same_cells_is_taken_as_it_is() -> None:
    """Tokens as many as cells are the map itself."""
    tokens = torch.arange(12.0).view(1, 3, 4)
    laying = Laying(1, (3, 4))
    laying.add(tokens, ALL)
    laid, valid = laying.result()
    assert torch.equal(laid, tokens)
    assert valid.all()


def test_finer_tokens_are_averaged_and_coarser_ones_repeated() -> None:
    """Four tokens under a cell give their mean; one token over four cells is in each."""
    fine = Laying(1, (1, 1))
    fine.add(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]), ALL)
    coarse = Laying(1, (2, 2))
    coarse.add(torch.tensor([[[5.0]]]), ALL)
    assert fine.result()[0].tolist() == [[[3.0]]]
    assert coarse.result()[0].tolist() == [[[5.0, 5.0], [5.0, 5.0]]]


def test_tokens_across_cells_count_by_the_area_they_share() -> None:
    """Three tokens under two cells: each cell has one whole and half of the middle one."""
    laying = Laying(1, (1, 2))
    laying.add(torch.tensor([[[0.0, 3.0, 9.0]]]), ALL)
    # 1 x 0 and 0.5 x 3 over 1.5; 0.5 x 3 and 1 x 9 over 1.5.
    assert laying.result()[0].flatten().tolist() == pytest.approx([1.0, 7.0])


def test_overlapping_tiles_agree_by_their_mean_and_cover_once() -> None:
    """Two tiles over the same half of a cell say their mean there, and do not make it a whole."""
    laying = Laying(1, (1, 2))
    for value in (2.0, 4.0):
        laying.add(torch.tensor([[[value]]]), (0.0, 0.0, 0.2, 1.0))
    laid, valid = laying.result()
    assert laid.flatten().tolist() == [3.0, 0.0]
    assert valid.tolist() == [[False, False]]


def test_a_cell_counts_from_half_of_its_area() -> None:
    """Covered by half it counts, by less it does not."""
    laying = Laying(1, (1, 2))
    laying.add(torch.ones(1, 1, 1), (0.0, 0.0, 0.75, 1.0))
    assert laying.result()[1].tolist() == [[True, True]]
    less = Laying(1, (1, 2))
    less.add(torch.ones(1, 1, 1), (0.0, 0.0, 0.7, 1.0))
    assert less.result()[1].tolist() == [[True, False]]


def test_a_last_cell_beyond_the_image_counts_by_its_part_inside() -> None:
    """An image of 2.5 x 1 cells has three; its last holds half a cell, and all of that is covered."""
    laying = Laying(1, (1, 3), extent=(1.0, 2.5))
    laying.add(torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0]]]), ALL)
    laid, valid = laying.result()
    assert laid.flatten().tolist() == [1.5, 3.5, 5.0]
    assert valid.all()


def test_a_tile_may_reach_beyond_the_region() -> None:
    """Only what lies on the region is laid."""
    laying = Laying(1, (1, 1))
    laying.add(torch.tensor([[[7.0, 100.0]]]), (0.0, 0.0, 2.0, 1.0))
    assert laying.result()[0].tolist() == [[[7.0]]]


def test_the_order_of_patches_is_none() -> None:
    """Patches in any order give the same map to the last bit."""
    generator = torch.Generator().manual_seed(0)
    places = [(x / 7, y / 5) for x in range(7) for y in range(5)]
    vectors = torch.randn(35, 3, generator=generator)
    maps = []
    for order in (range(35), torch.randperm(35, generator=generator).tolist()):
        laying = Laying(3, (4, 6))
        for i in order:
            left, top = places[i]
            laying.add(vectors[i][:, None, None], (left, top, left + 1 / 7, top + 1 / 5))
        maps.append(laying.result()[0])
    assert torch.equal(*maps)


@pytest.mark.parametrize("box", [(0.5, 0.0, 0.5, 1.0), (0.0, 1.0, 1.0, 0.0)])
def test_a_box_without_area_is_refused(box: tuple[float, float, float, float]) -> None:
    """Nothing can lie on no area."""
    with pytest.raises(ValueError, match="a box has its left before its right"):
        Laying(1, (1, 1)).add(torch.ones(1, 1, 1), box)


def test_other_channels_are_refused() -> None:
    """Vectors of one region are of one length."""
    with pytest.raises(ValueError, match="tokens of 2 channels for a map of 1"):
        Laying(1, (1, 1)).add(torch.ones(2, 1, 1), ALL)


def test_patches_lie_as_single_vectors_laid_one_by_one() -> None:
    """In one call the same sums, areas and cover: finer and coarser than cells, overlapping, and beyond the region."""
    random = torch.Generator().manual_seed(0)
    corners = torch.rand((40, 2), generator=random, dtype=torch.float64) * 1.4 - 0.3
    sides = torch.rand((40, 2), generator=random, dtype=torch.float64) * 0.3 + 0.02
    boxes = torch.cat([corners, corners + sides], dim=1)
    vectors = torch.randn((40, 3), generator=random)
    one_by_one, together = (Laying(3, (5, 7), (4.3, 6.6)) for _ in range(2))
    for vector, box in zip(vectors, boxes.tolist(), strict=True):
        left, top, right, bottom = box
        one_by_one.add(vector[:, None, None], (left, top, right, bottom))
    together.add_patches(vectors, boxes)
    (wanted, wanted_valid), (laid, valid) = one_by_one.result(), together.result()
    assert torch.allclose(laid, wanted, rtol=0, atol=1e-6)
    assert torch.equal(valid, wanted_valid)
    assert 0 < int(valid.sum()) < valid.numel()


def test_no_patches_are_an_empty_map() -> None:
    """Nothing lies, and no cell counts."""
    laying = Laying(2, (3, 3))
    laying.add_patches(torch.empty(0, 2), torch.empty(0, 4, dtype=torch.float64))
    laid, valid = laying.result()
    assert not laid.any()
    assert not valid.any()


def test_patches_that_do_not_fit_are_refused() -> None:
    """Another number of channels, or a box without area."""
    laying = Laying(2, (3, 3))
    with pytest.raises(ValueError, match="vectors of 3 channels for a map of 2"):
        laying.add_patches(torch.ones(1, 3), torch.tensor([ALL], dtype=torch.float64))
    with pytest.raises(ValueError, match="its left before its right"):
        laying.add_patches(torch.ones(1, 2), torch.tensor([(0.5, 0.0, 0.5, 1.0)], dtype=torch.float64))
