"""What a bare loop reads: a set's tars by tarfile and Pillow, without kdtrain."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset


class Tars(Dataset[tuple[str, Tensor, int]]):
    """Samples of a set's training tars: key, image (3, H, W) uint8, label.

    Args:
        shards: The set.
        magnification: Of the images.
        order: Keys in the order of an epoch; None for the keys sorted.
    """

    def __init__(self, shards: Path, magnification: float, order: Sequence[str] | None = None) -> None:
        self._places: dict[str, tuple[Path, int, int]] = {}
        self._labels: dict[str, int] = {}
        for path in sorted((shards / f"{magnification:g}x").glob("train-*.tar")):
            with tarfile.open(path) as tar:
                for member in tar:
                    key, _, field = member.name.partition(".")
                    if field == "jpg":
                        self._places[key] = (path, member.offset_data, member.size)
                    elif field == "cls":
                        self._labels[key] = int(tar.extractfile(member).read())  # type: ignore[union-attr]
        self._keys = sorted(self._places) if order is None else order

    def __len__(self) -> int:
        """Of an epoch."""
        return len(self._keys)

    def __getitem__(self, number: int) -> tuple[str, Tensor, int]:
        """Read and decode one."""
        key = self._keys[number]
        path, offset, size = self._places[key]
        with path.open("rb") as file:
            file.seek(offset)
            image = np.array(Image.open(io.BytesIO(file.read(size))))
        return key, torch.from_numpy(image).permute(2, 0, 1), self._labels[key]
