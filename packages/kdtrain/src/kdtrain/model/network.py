"""A network as a run keeps it: how to build it, what its pixels looked like, what its outputs mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kdtrain.model.resnet import Model, build_model


@dataclass(frozen=True, kw_only=True)
class Network:
    """Everything but the weights.

    Attributes:
        model: Name of the architecture.
        output_stride: Input pixels per feature-map pixel.
        classes: In the order of the logits.
        magnification: Magnification of the images.
        mean: Grey levels per channel, of the labelled training split at that magnification.
        std: Grey levels per channel, likewise.
    """

    model: str
    output_stride: int
    classes: tuple[str, ...]
    magnification: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def build(self, *, seed: int | None) -> Model:
        """A model with fresh weights."""
        return build_model(
            self.model, n_classes=len(self.classes), output_stride=self.output_stride, seed=seed
        )

    @property
    def record(self) -> dict[str, Any]:
        """JSON-able; read back by :meth:`of`."""
        return asdict(self)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Network:
        """From a run's record."""
        fields = dict(record)
        for name in ("classes", "mean", "std"):
            fields[name] = tuple(fields[name])
        return cls(**fields)
