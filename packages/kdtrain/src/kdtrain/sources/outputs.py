"""What a network says of a batch of tiles in, maps of vectors and logits out, whatever shape they came in. Pure.

Legend: B tiles; C channels; h and w rows and columns of a grid; T tokens, N of them leading ones that stand for no
place (a class token, registers); K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor

from kdtrain.text import plural

MOST_EXTRA = 16
"""Tokens without a place that are looked for where none were said: a class token and registers are 1 to 9."""
_MOST_ROUNDED = 2
"""How far rounding takes the sides of a cell apart: 33 and 64 px make two cells each at 32 px a cell."""
_KINDS = {4: "a map (tiles, channels, rows, columns)", 3: "tokens (tiles, tokens, channels)", 2: "vectors"}


class OutputError(Exception):
    """What a network says cannot be laid on a region; the words are what the network does: "gives vectors that ..."."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a network said of a batch of tiles.

    Attributes:
        map_BChw: (B, C, h, w) float32, on the CPU; of one cell where it gives one vector a tile.
        logits_BK: (B, K) float32, on the CPU, or None.
    """

    map_BChw: Tensor
    logits_BK: Tensor | None


def said(
    vectors: Tensor,
    logits: Tensor | None,
    *,
    tile: tuple[int, int],
    tiles: int,
    extra: int | None = None,
    classes: int | None = None,
) -> Said:
    """Read what a network gave.

    Args:
        vectors: (B, C, h, w), (B, T, C) or (B, C); of any floating type, on any device.
        logits: (B, K), or None.
        tile: (height, width) of the tiles, pixels.
        tiles: B.
        extra: N; None takes the smallest that leaves a grid of square patches.
        classes: K; None where none are known.

    Raises:
        OutputError: Another shape, tokens that make no grid, or values that are not finite.
    """
    _check_floats(vectors, "vectors", tiles)
    if vectors.ndim not in _KINDS:
        raise OutputError(
            f"gives vectors of shape {tuple(vectors.shape)}, which are none of {_listed_kinds()}"
        )
    if not vectors.numel():
        raise OutputError(f"gives vectors of shape {tuple(vectors.shape)}, which hold nothing")
    if logits is not None:
        _check_floats(logits, "logits", tiles)
        if logits.ndim != 2 or (classes is not None and logits.shape[1] != classes):
            wanted = "(tiles, classes)" if classes is None else (tiles, classes)
            raise OutputError(
                f"gives logits of shape {tuple(logits.shape)}, and those of the set's classes are {wanted}"
            )
    return Said(
        map_BChw=_map(vectors, tile, extra).float().cpu(),
        logits_BK=None if logits is None else logits.float().cpu(),
    )


def _check_floats(values: Tensor, what: str, tiles: int) -> None:
    if not isinstance(values, Tensor) or not values.is_floating_point():
        given = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise OutputError(f"gives {what} that are {given}, not floating point numbers of a tensor")
    if values.ndim == 0 or values.shape[0] != tiles:
        raise OutputError(f"gives {what} of shape {tuple(values.shape)} for {plural(tiles, 'tile')}")
    if not bool(torch.isfinite(values).all()):
        raise OutputError(f"gives {what} that are not finite")


def _map(vectors: Tensor, tile: tuple[int, int], extra: int | None) -> Tensor:
    if vectors.ndim == 4:
        _check_cells((vectors.shape[2], vectors.shape[3]), tile)
        return vectors
    if vectors.ndim == 2:
        return vectors[:, :, None, None]
    skipped, (rows, columns) = token_grid(vectors.shape[1], tile, extra)
    placed_BTC = vectors[:, skipped:]
    return placed_BTC.transpose(1, 2).reshape(len(vectors), -1, rows, columns)


def _check_cells(cells: tuple[int, int], tile: tuple[int, int]) -> None:
    """Refuse a map that is none of the tile: with channels last, say."""
    high, wide = (side / n for side, n in zip(tile, cells, strict=True))
    if min(high, wide) < 1 or not 1 / _MOST_ROUNDED <= high / wide <= _MOST_ROUNDED:
        raise OutputError(
            f"gives a map of {cells[0]} rows and {cells[1]} columns for a tile of {tile[1]} x {tile[0]} px, whose "
            "cells would be no squares of it; maps are (tiles, channels, rows, columns)"
        )


def token_grid(tokens: int, tile: tuple[int, int], extra: int | None) -> tuple[int, tuple[int, int]]:
    """How many leading tokens have no place, and (rows, columns) of the others.

    Patches are squares that share the tile evenly, as those of every vision transformer do; rows come first.

    Args:
        tokens: T.
        tile: (height, width) of a tile, pixels.
        extra: N, where it was said.

    Raises:
        OutputError: No such patches leave that many tokens.
    """
    height, width = tile
    side = gcd(height, width)
    grids = [(height // px, width // px) for px in range(1, side + 1) if side % px == 0]  # finest first
    for rows, columns in grids:
        left = tokens - rows * columns
        if left == extra or (extra is None and 0 <= left <= MOST_EXTRA):
            return left, (rows, columns)
    others = f"up to {MOST_EXTRA} others" if extra is None else f"the {extra} of --extra-tokens"
    raise OutputError(
        f"gives {plural(tokens, 'token')}, which are no grid of square patches over a tile of {width} x {height} px "
        f"and {others}"
    )


def _listed_kinds() -> str:
    return ", ".join(_KINDS.values())
