"""A student whose feature map is carried to the teacher's channels while it learns.

Eq. 3 of the paper compares maps of as many channels; a narrower student needs a 1x1 convolution in between, as FitNets
have it (Romero et al. 2015, arXiv 1412.6550, section 2.2). It learns with the student, lies in checkpoints beside it,
and is left out of the network that a run publishes: logits and the student's own map do not depend on it.

Legend: B images of a batch, C channels of the student, D of the teacher, H and W rows and columns of the map.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from kdtrain.model.init import he_init
from kdtrain.model.resnet import Model, ModelSpec, Output

PREFIX = "projector."
"""Of the names of its parameters in a checkpoint."""

T = TypeVar("T")


class ProjectedModel(Model):
    """A network whose feature map comes out with the teacher's channels; its logits are its own.

    Its parameters are named as in the network alone, beside ``projector.weight``, (D, C, 1, 1).
    """

    def __init__(self, spec: ModelSpec, channels: int) -> None:
        super().__init__(spec)
        self.projector = nn.Conv2d(spec.feature_channels, channels, kernel_size=1, bias=False)

    def forward(self, image_BCHW: Tensor) -> Output:
        """As the network alone, with a feature map (B, D, H, W), which can be below 0."""
        own = super().forward(image_BCHW)
        return Output(self.projector(own.feature_map_BCHW), own.logits_BK)


def build_projected(spec: ModelSpec, channels: int, *, seed: int) -> Model:
    """A student with fresh weights for a teacher of so many channels: projected only where its own differ.

    Args:
        spec: The student.
        channels: Of the teacher's feature map.
        seed: Of the weights; the student's are those that it has without a projector.
    """
    if spec.feature_channels == channels:
        with torch.device("meta"):
            model = Model(spec)
    else:
        with torch.device("meta"):
            model = ProjectedModel(spec, channels)
    model.to_empty(device="cpu")
    # The projector comes last, so what is drawn before it is what a network alone draws.
    he_init(model, torch.Generator().manual_seed(seed))
    return model


def without_projector(weights: Mapping[str, T]) -> dict[str, T]:
    """A checkpoint's weights less the projector's."""
    return {name: value for name, value in weights.items() if not name.startswith(PREFIX)}
