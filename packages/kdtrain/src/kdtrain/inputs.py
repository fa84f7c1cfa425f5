"""Samples in, what a network takes out: augmented alike at every magnification, standardised, on the device.

Shapes: B images of a micro-batch, all of one size; C = 3 channels; H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdtrain.augment import IDENTITY, AugmentSettings, Draw, apply_batch, draw, standardise
from kdtrain.network import Network
from kdtrain.sample_io import LoadedSample


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How samples are augmented in one epoch; the draw of a sample is a function of seed, epoch and key alone.

    Attributes:
        settings: None for no augmentation: in evaluation.
        seed: Of the run.
        epoch: From 0.
    """

    settings: AugmentSettings | None
    seed: int = 0
    epoch: int = 0

    def of(self, key: str) -> Draw:
        """The draw of one sample: the same at both magnifications."""
        return (
            IDENTITY
            if self.settings is None
            else draw(self.settings, seed=self.seed, epoch=self.epoch, key=key)
        )


NO_DRAWING = Drawing(settings=None)


def image_batch(
    samples: Sequence[LoadedSample], network: Network, drawing: Drawing, device: torch.device
) -> Tensor:
    """A micro-batch for a network: (B, 3, H, W) float32, augmented and standardised on the device.

    Args:
        samples: Of one size.
        network: Says which magnification and which colour statistics.
        drawing: How to augment.
        device: Where the network is.
    """
    images_BCHW = torch.stack([sample.images[network.magnification] for sample in samples])
    moved_BCHW = images_BCHW.to(device, non_blocking=True)
    augmented_BCHW = apply_batch(moved_BCHW, [drawing.of(sample.key) for sample in samples])
    return standardise(augmented_BCHW, network.mean, network.std)


def label_batch(samples: Sequence[LoadedSample], device: torch.device) -> Tensor:
    """Labels (B,) int64 of a micro-batch out of a labelled split."""
    labels = [sample.label for sample in samples]
    assert all(label is not None for label in labels), "labelled phases read labelled splits only"
    return torch.tensor(labels, dtype=torch.int64, device=device)
