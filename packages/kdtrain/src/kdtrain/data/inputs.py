"""Samples in, what a network takes out: augmented alike at every magnification, standardised, on the device.

Shapes: B images of a micro-batch, all of one size; C = 3 channels; H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kdtrain.augment import IDENTITY, AugmentSettings, Draw, apply, apply_batch, draw, standardise
from kdtrain.data.device_decode import decode_images
from kdtrain.data.samples import LoadedSample
from kdtrain.model.network import Network
from kdtrain.model.placing import lay_out
from kdtrain.model.stain.normalise import normalise


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How samples are augmented; the draw of a sample is a function of seed, view and key alone.

    Attributes:
        settings: None for no augmentation: in evaluation.
        seed: Seed of the run.
    """

    settings: AugmentSettings | None
    seed: int = 0

    def of(self, sample: LoadedSample) -> Draw:
        """The draw of one sample: the same at both magnifications. Fresh draws have the epoch's number as view.

        A sample out of a teacher cache has its recorded draw, whatever the settings.
        """
        if sample.taught is not None:
            return sample.taught.draw
        if self.settings is None:
            return IDENTITY
        return draw(self.settings, seed=self.seed, epoch=sample.view, key=sample.key)


NO_DRAWING = Drawing(settings=None)


def image_batch(
    samples: Sequence[LoadedSample], network: Network, drawing: Drawing, device: torch.device
) -> Tensor:
    """A micro-batch for a network: (B, 3, H, W) float32, augmented and standardised on the device.

    Args:
        samples: Samples of one size, in the network's stain where it has one; those out of a teacher cache, of one size
            after their recorded draws.
        network: Says which magnification and which colour statistics.
        drawing: How to augment.
        device: Where the network is.
    """
    assert all(sample.stain == network.stain for sample in samples), (
        "the stream was told of the network's stain"
    )
    images = moved_images(samples, network.magnification, device)
    draws = [drawing.of(sample) for sample in samples]
    if samples[0].taught is not None:
        # Never apply_batch, which may turn an image otherwise than its draw says: the teacher saw that draw.
        return drawn_batch(images, draws, network, device)
    augmented_BCHW = apply_batch(torch.stack(images), draws)
    return lay_out(standardise(augmented_BCHW, network.mean, network.std))


def moved_images(samples: Sequence[LoadedSample], magnification: float, device: torch.device) -> list[Tensor]:
    """Images (3, rows, columns) uint8 on the device, decoded there where the loader has not done it.

    Each is moved by itself: stacked first, they would leave the page-locked memory, from where a GPU fetches them while
    this process goes on.

    Raises:
        ShardError: An image that was to be decoded on the device is damaged.
    """
    encoded = [sample.encoded[magnification] for sample in samples if sample.encoded]
    if encoded:
        return decode_images(encoded, device)
    return [sample.images[magnification].to(device, non_blocking=True) for sample in samples]


def drawn_batch(
    images: Sequence[Tensor], drawn: Sequence[Draw], network: Network, device: torch.device
) -> Tensor:
    """Images that each get exactly their draw: (B, 3, H, W) float32, standardised on the device.

    Args:
        images: (3, rows, columns) uint8, in the network's stain where it has one; of one size once they are turned.
        drawn: One each.
        network: Says which colour statistics.
        device: Where the network is.
    """
    moved = (image_CHW.to(device, non_blocking=True) for image_CHW in images)
    augmented_BCHW = torch.stack([apply(image_CHW, d) for image_CHW, d in zip(moved, drawn, strict=True)])
    return lay_out(standardise(augmented_BCHW, network.mean, network.std))


def in_stain_of(network: Network, image_CHW: Tensor) -> Tensor:
    """An image as a network's stream would have read it.

    Args:
        network: Says which stain, if any.
        image_CHW: (3, rows, columns) uint8, in its own stain.
    """
    if network.stain is None:
        return image_CHW
    image_HWC = np.ascontiguousarray(image_CHW.permute(1, 2, 0).cpu().numpy())
    normalised = normalise(image_HWC, network.stain, network.magnification)
    return torch.from_numpy(normalised.image_HWC).permute(2, 0, 1).to(image_CHW.device)


def label_batch(samples: Sequence[LoadedSample], device: torch.device) -> Tensor:
    """Labels (B,) int64 of a micro-batch out of a labelled split."""
    labels = [sample.label for sample in samples]
    assert all(label is not None for label in labels), "labelled phases read labelled splits only"
    return torch.tensor(labels, dtype=torch.int64, device=device)
