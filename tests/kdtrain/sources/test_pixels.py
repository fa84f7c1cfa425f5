"""Pixels as networks take them: kdtrain/sources/pixels.py."""

from __future__ import annotations

import pytest
import torch

from kdtrain.sources.pixels import TilePixels

GREY = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1)


def test_values_are_standardised_by_what_most_encoders_take() -> None:
    """(0 - 0.485) / 0.229, (0.5 - 0.456) / 0.224 and (1 - 0.406) / 0.225."""
    found = TilePixels().of(GREY)
    assert found.flatten().tolist() == pytest.approx([-0.485 / 0.229, 0.044 / 0.224, 0.594 / 0.225], rel=1e-5)
    assert GREY.flatten().tolist() == [0, 0.5, 1]


def test_grey_levels_may_be_asked_for() -> None:
    """Without mean and deviation, times 255."""
    plain = TilePixels(mean=(0, 0, 0), std=(1, 1, 1), levels=255)
    assert plain.of(GREY).flatten().tolist() == [0, 127.5, 255]


def test_whole_grey_levels_are_as_they_were_decoded() -> None:
    """Every level comes back through [0, 1] as itself, and nothing else is done to it."""
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    found = TilePixels(kind="uint8").of(levels.float() / 255)
    assert found.dtype == torch.uint8
    assert torch.equal(found, levels)
    assert TilePixels(kind="uint8").record == {"pixels": "uint8"}


def test_half_precision_is_the_networks() -> None:
    """What it takes is what it is given."""
    assert TilePixels(kind="float16").of(GREY).dtype == torch.float16
