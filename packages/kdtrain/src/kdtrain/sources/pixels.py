"""Pixels of tiles as a network takes them: standardised, scaled, or whole numbers. Pure.

Legend: B tiles of H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from kdtrain.augment import standardise

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What UNI, UNI2, Virchow, Virchow2, Prov-GigaPath, Phikon and torchvision's networks take, by their model cards, and
so the default. H-optimus takes (0.707223, 0.578729, 0.703617) and (0.211883, 0.230117, 0.177517)."""
Rgb = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class TilePixels:
    """What becomes of pixels before a network sees them.

    Attributes:
        kind: Type of the numbers; "uint8" are grey levels as decoded, and nothing else is done to them.
        mean: Per channel, in parts of the brightest.
        std: The same.
        levels: 1, or 255 for a network that takes grey levels: what standardised values are multiplied by.
    """

    kind: Literal["uint8", "float16", "float32"] = "float32"
    mean: Rgb = IMAGENET_MEAN
    std: Rgb = IMAGENET_STD
    levels: int = 1

    @property
    def record(self) -> dict[str, Any]:
        """For what decides a cache's bytes."""
        if self.kind == "uint8":
            return {"pixels": "uint8"}
        return {"pixels": self.kind, "mean": list(self.mean), "std": list(self.std), "levels": self.levels}

    def of(self, tiles_BCHW: Tensor) -> Tensor:
        """Tiles as the network takes them.

        Args:
            tiles_BCHW: (B, 3, H, W) float32 in [0, 1]; not changed.
        """
        if self.kind == "uint8":
            return tiles_BCHW.mul(255).round_().clamp_(0, 255).to(torch.uint8)
        grey = (tuple(255 * value for value in values) for values in (self.mean, self.std))
        ready = standardise(tiles_BCHW, *grey)
        return (ready if self.levels == 1 else ready.mul_(self.levels)).to(getattr(torch, self.kind))
