"""A student whose feature map is carried to the teacher's channels while it learns.

Eq. 3 of the paper compares maps of as many channels; a narrower student needs a 1x1 convolution in between, as FitNets
have it (Romero et al. 2015, arXiv 1412.6550, section 2.2). A teacher of another kind always takes one, with a bias: a
student's map ends in a ReLU, and what a transformer says of a place is neither positive nor around zero.

It learns with the student, lies in checkpoints beside it, and is left out of the network that a run publishes: logits
and the student's own map do not depend on it.

Legend: B images of a batch, C channels of the student, D of the teacher, H and W rows and columns of the map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from kdtrain.model.init import he_init
from kdtrain.model.resnet import Model, ModelSpec, Output

PREFIX = "projector."
"""Of the names of its parameters in a checkpoint."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Projection:
    """What stands between a student's map and its teacher's.

    Attributes:
        channels: D.
        bias: Whether a constant is added to each of them.
    """

    channels: int
    bias: bool = False

    @classmethod
    def to_network(cls, student: ModelSpec, teacher: ModelSpec) -> Projection | None:
        """To a teacher of the student's kind: only where the channels differ."""
        channels = teacher.feature_channels
        return None if channels == student.feature_channels else cls(channels=channels)

    @classmethod
    def to_vectors(cls, channels: int) -> Projection:
        """To any other teacher's, whose channels have another meaning even where they are as many."""
        return cls(channels=channels, bias=True)


class ProjectedModel(Model):
    """A network whose feature map comes out with the teacher's channels; its logits are its own.

    Its parameters are named as in the network alone, beside ``projector.weight``, (D, C, 1, 1), and ``projector.bias``,
    (D), where the projection has one.
    """

    def __init__(self, spec: ModelSpec, projection: Projection) -> None:
        super().__init__(spec)
        self.projector = nn.Conv2d(
            spec.feature_channels, projection.channels, kernel_size=1, bias=projection.bias
        )

    def forward(self, image_BCHW: Tensor) -> Output:
        """As the network alone, with a feature map (B, D, H, W), which can be below 0."""
        own = super().forward(image_BCHW)
        return Output(self.projector(own.feature_map_BCHW), own.logits_BK)


def build_projected(spec: ModelSpec, projection: Projection | None, *, seed: int) -> Model:
    """A student with fresh weights for its teacher.

    Args:
        spec: The student.
        projection: To the teacher's channels; None for the student alone.
        seed: Of the weights; the student's are those that it has without a projector.
    """
    with torch.device("meta"):
        model = Model(spec) if projection is None else ProjectedModel(spec, projection)
    model.to_empty(device="cpu")
    # The projector comes last, so what is drawn before it is what a network alone draws.
    he_init(model, torch.Generator().manual_seed(seed))
    return model


def without_projector(weights: Mapping[str, T]) -> dict[str, T]:
    """A checkpoint's weights less the projector's."""
    return {name: value for name, value in weights.items() if not name.startswith(PREFIX)}
