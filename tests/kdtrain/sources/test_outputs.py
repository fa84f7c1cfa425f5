"""What networks say, read as maps: kdtrain/sources/outputs.py."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kdtrain.sources.outputs import OutputError, said, token_grid

TILE = (28, 28)


def test_tokens_are_rows_first_and_channels_last() -> None:
    """Token r * columns + c is at row r and column c; leading ones are left out."""
    tokens = torch.arange(5.0).view(1, 5, 1)
    assert said(tokens, None, tile=TILE, tiles=1).map_BChw.tolist() == [[[[1, 2], [3, 4]]]]


def test_a_map_is_taken_as_it_is_and_a_vector_is_a_map_of_one_cell() -> None:
    """Of any floating type; what comes out is float32."""
    values = torch.arange(8.0).view(1, 2, 2, 2)
    assert torch.equal(said(values.half(), None, tile=TILE, tiles=1).map_BChw, values)
    vectors = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert said(vectors, None, tile=TILE, tiles=2).map_BChw.shape == (2, 2, 1, 1)


@pytest.mark.parametrize(
    ("tokens", "side", "extra", "grid"),
    [
        (256, 224, 0, 16),  # patch 14
        (257, 224, 1, 16),  # and a class token: UNI's and DINOv2's
        (261, 224, 5, 16),  # and four registers: Virchow2, H-optimus-0
        (265, 224, 9, 16),  # and eight: UNI2-h
        (197, 224, 1, 14),  # patch 16
        (50, 224, 1, 7),  # patch 32
        (1025, 448, 1, 32),
        (49, 224, 0, 7),  # a Swin's last stage
        (1, 224, 0, 1),
    ],
)
def test_leading_tokens_are_found(tokens: int, side: int, extra: int, grid: int) -> None:
    """As many as a square grid of patches leaves over, for the encoders that there are."""
    assert token_grid(tokens, (side, side), None) == (extra, (grid, grid))
    assert token_grid(tokens, (side, side), extra) == (extra, (grid, grid))


def test_a_grid_need_not_be_square() -> None:
    """Patches are, and share a tile of 28 x 42 px evenly: 2 x 3 of 14 px."""
    assert token_grid(7, (28, 42), None) == (1, (2, 3))


@pytest.mark.parametrize(
    ("tokens", "tile", "extra"),
    [
        (250, (224, 224), None),
        (257, (224, 224), 0),
        (257, (224, 224), 5),
        (5, (14, 15), None),
        (0, (224, 224), None),
    ],
)
def test_tokens_that_are_no_grid_are_refused(tokens: int, tile: tuple[int, int], extra: int | None) -> None:
    """250 are none with up to 16 others; 257 are none with none or with five; patches of 1 px on 14 x 15 are 210."""
    with pytest.raises(OutputError, match=f"gives {tokens} tokens, which are no grid of square patches"):
        token_grid(tokens, tile, extra)


@pytest.mark.parametrize(
    ("vectors", "logits", "words"),
    [
        (torch.full((1, 2, 2, 2), float("nan")), None, "gives vectors that are not finite"),
        (torch.ones(1, 2, 2, 2), torch.tensor([[1.0, float("inf")]]), "gives logits that are not finite"),
        (torch.ones(1, 2, 2, 2, dtype=torch.int64), None, "gives vectors that are torch.int64, not floating"),
        (torch.ones(2, 2, 2, 2), None, r"gives vectors of shape \(2, 2, 2, 2\) for 1 tile"),
        (torch.tensor(1.0), None, r"gives vectors of shape \(\) for 1 tile"),
        (torch.ones(1, 2, 2, 2, 2), None, "which are none of a map"),
        (torch.ones(1), None, "which are none of a map"),
        (torch.ones(1, 0, 2, 2), None, "which hold nothing"),
        (torch.ones(1, 7, 7, 1024), None, "gives a map of 7 rows and 1024 columns for a tile of 28 x 28 px"),
        (torch.ones(1, 2, 2, 2), torch.ones(1, 3), r"gives logits of shape \(1, 3\), and those .* \(1, 2\)"),
        (torch.ones(1, 2, 2, 2), torch.ones(1, 2, 1), r"gives logits of shape \(1, 2, 1\)"),
        ([1.0], None, "gives vectors that are list, not floating point numbers of a tensor"),
    ],
)
def test_what_cannot_be_read_is_said(vectors: Tensor, logits: Tensor | None, words: str) -> None:
    """Values that are none, other shapes, channels last, logits of other classes: each in words of its own."""
    with pytest.raises(OutputError, match=words):
        said(vectors, logits, tile=TILE, tiles=1, classes=2)
