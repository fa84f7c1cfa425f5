"""Images in, what the network says out, whichever library computes it.

Shapes: B images of one size, H x W pixels, K classes, C channels of the feature map with h x w cells.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from kdtrain.errors import NotFiniteError
from kdtrain.evaluation.temperature import UNCHANGED, softmax

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Inference(NamedTuple):
    """What a network says of a batch.

    Attributes:
        probabilities_BK: Softmax of the logits, which are divided by the temperature of a bundle that is calibrated.
        logits_BK: Output of the fc layer, as it is.
        feature_map_BCHW: Output of the last stage, after its ReLU.
    """

    probabilities_BK: Floats
    logits_BK: Floats
    feature_map_BCHW: Floats


class Runtime(Protocol):
    """A network ready to be asked.

    Attributes:
        name: "pytorch" or "onnxruntime", and where it runs: "onnxruntime on cpu".
    """

    name: str

    def infer(self, images_BHWC: Pixels) -> Inference:
        """Ask the network.

        Args:
            images_BHWC: (B, H, W, 3) uint8 RGB, as decoded; standardised inside.

        Raises:
            ValueError: Another shape or type, or an image too small for the network.
            MemoryError: There is not enough for images of this size.
            NotFiniteError: What the network says is no number.
            TrainingError: The file cannot compute it.
        """
        ...


def finite(inference: Inference, name: str) -> Inference:
    """What a runtime returns.

    Args:
        inference: What its library computed.
        name: Name of the runtime.

    Raises:
        NotFiniteError: The logits are NaN or infinite, of which the first class would be called the highest.
    """
    if not np.isfinite(inference.logits_BK).all():
        raise NotFiniteError(
            f"the network's outputs are not finite ({name}); its weights are too large for such an image: take another "
            "network"
        )
    return inference


def calibrated(inference: Inference, temperature: float) -> Inference:
    """What a runtime of a calibrated bundle returns: probabilities of logits that are divided by the temperature."""
    if temperature == UNCHANGED:
        return inference
    scaled_BK = inference.logits_BK.astype(np.float64) / temperature
    return inference._replace(probabilities_BK=softmax(scaled_BK).astype(np.float32))


def out_of_memory(images_BHWC: Pixels, name: str) -> MemoryError:
    """What a runtime raises where its library could not get the memory that it asked for.

    Args:
        images_BHWC: What it was asked about.
        name: Name of the runtime.
    """
    height, width = images_BHWC.shape[1:3]
    return MemoryError(
        f"{name} has not enough memory for an image of {width} x {height} px; use a machine with more, or a network of "
        "a lower magnification"
    )


def check_images(images_BHWC: Pixels, min_side_px: int) -> None:
    """Refuse what no runtime takes.

    Args:
        images_BHWC: Given to :meth:`Runtime.infer`.
        min_side_px: Shortest side of an image that the network takes, pixels.

    Raises:
        ValueError: Another shape or type, or an image too small.
    """
    if (
        images_BHWC.dtype != np.uint8
        or images_BHWC.ndim != 4
        or images_BHWC.shape[3] != 3
        or not len(images_BHWC)
    ):
        raise ValueError(
            f"images are (B, H, W, 3) uint8 RGB; got {images_BHWC.shape} {images_BHWC.dtype}; of a single image, pass "
            "image[None]"
        )
    height, width = images_BHWC.shape[1:3]
    if min(height, width) < min_side_px:
        raise ValueError(
            f"an image of {width} x {height} px is too small: the network needs {min_side_px} px a side; leave it out"
        )
