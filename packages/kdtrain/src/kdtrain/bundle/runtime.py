"""Images in, what the network says out, whichever library computes it.

Shapes: B images of one size, H x W pixels, K classes, C channels of the feature map with h x w cells.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Inference(NamedTuple):
    """What a network says of a batch.

    Attributes:
        probabilities_BK: Softmax of the logits.
        logits_BK: Output of the fc layer.
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
        """
        ...
