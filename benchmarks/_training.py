"""Synthetic shard sets for the training benchmarks: squares in label-coloured noise, by the format's own builders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
try:
    from fixtures.shard_sets import write_set
finally:
    sys.path.pop(0)

CELLS = ((64, 64), (96, 64), (64, 96), (128, 128))
"""(columns, rows): 256 x 256 to 512 x 512 px at 10x, 64 x 64 to 128 x 128 px at 2.5x."""


def write_benchmark_set(folder: Path, samples: int, **edits: Any) -> Path:
    """A set of two classes at 10x and 2.5x: training samples in three shards, and eight to validate on.

    ``edits`` are write_set's.
    """
    third = samples // 3
    shards = {"train": [third, third, samples - 2 * third], "val": [8]}
    return write_set(folder, shards, cells=CELLS, **edits)


def write_one_size(folder: Path, side_px: int) -> Path:
    """A set of two classes with four square training images of ``side_px`` at 10x, a quarter of that at 2.5x."""
    return write_set(folder, {"train": [4]}, cells=[(side_px // 4, side_px // 4)])
