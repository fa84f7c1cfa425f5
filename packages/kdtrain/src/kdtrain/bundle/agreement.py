"""Two runtimes of one network in, how far they are apart out: what makes an ONNX file worth trusting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import sqrt

import numpy as np

from kdtrain.bundle.entries import AgreementEntry
from kdtrain.bundle.runtime import Pixels, Runtime
from kdtrain.errors import TrainingError
from kdtrain.model.network import Network
from kdtrain.model.resnet import MIN_SIDE_PX

MOST_LOGITS = 1e-3
MOST_PROBABILITIES = 1e-4
"""Largest differences that are accepted; rounding in float32 makes about 1e-5."""
MOST_PIXELS = 16_000_000
"""Of the largest test image: above, the check would take longer than the export."""

Shape = tuple[int, int, int]


def probe_shapes(largest: tuple[int, int]) -> tuple[Shape, ...]:
    """(batch, height, width) of test images: the smallest, odd, not square, two together, and the largest.

    Args:
        largest: (width, height) of the largest training image; it is shrunk to MOST_PIXELS.
    """
    width, height = largest
    shrink = min(1.0, sqrt(MOST_PIXELS / (width * height)))
    last = (1, max(MIN_SIDE_PX, int(height * shrink)), max(MIN_SIDE_PX, int(width * shrink)))
    return ((1, MIN_SIDE_PX, MIN_SIDE_PX), (1, 33, 47), (1, 97, 260), (2, 64, 80), last)


def agreement(
    pytorch: Runtime,
    onnx: Runtime,
    network: Network,
    largest: tuple[int, int],
    *,
    on_shape: Callable[[Shape], None] = lambda shape: None,
) -> AgreementEntry:
    """Ask both and compare.

    Args:
        pytorch: What was evaluated.
        onnx: What is to be the same.
        network: Its colour statistics make the test images.
        largest: (width, height) of the largest training image, pixels.
        on_shape: Told before every test image.

    Raises:
        TrainingError: They are too far apart.
    """
    shapes = probe_shapes(largest)
    apart = np.zeros(3)
    for number, shape in enumerate(shapes):
        on_shape(shape)
        for images_BHWC in _images(shape, network, number):
            pairs = zip(pytorch.infer(images_BHWC), onnx.infer(images_BHWC), strict=True)
            apart = np.maximum(apart, [np.abs(ours - theirs).max() for ours, theirs in pairs])
    probabilities, logits, feature_map = (float(f"{value:.3g}") for value in apart)
    if not (logits <= MOST_LOGITS and probabilities <= MOST_PROBABILITIES):
        raise TrainingError(
            f"the ONNX graph is not the network: logits differ by {logits:g} (at most {MOST_LOGITS:g} is accepted), "
            f"probabilities by {probabilities:g} ({MOST_PROBABILITIES:g}); nothing was written. Use the versions of "
            "torch, onnx and onnxruntime in kdtrain's lock file"
        )
    return AgreementEntry(images=shapes, probabilities=probabilities, logits=logits, feature_map=feature_map)


def _images(shape: Shape, network: Network, seed: int) -> Iterator[Pixels]:
    """Noise in the colours of the training set; small ones blank as well, where a norm divides by almost nothing."""
    rng = np.random.Generator(np.random.PCG64(seed))
    noise = rng.standard_normal((*shape, 3), dtype=np.float32)
    noise = noise * np.asarray(network.std, np.float32) + np.asarray(network.mean, np.float32)
    yield np.clip(noise, 0, 255).astype(np.uint8)
    if shape[1] * shape[2] < 100_000:
        yield np.full((*shape, 3), 255, dtype=np.uint8)
