"""A network as a run keeps it: how to build it, what its pixels looked like, what its outputs mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from kdtrain.model.resnet import Model, ModelSpec, build_from
from kdtrain.model.stain.target import StainTarget

_LATER = ("width", "stem", "stain")
"""Fields that the record has where they are not as in every network of earlier versions."""


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
        width: Channels of every stage, relative to the architecture's.
        stem: "standard" or "small".
        stain: That images are brought into first; None where they come in their own.
    """

    model: str
    output_stride: int
    classes: tuple[str, ...]
    magnification: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    width: float = 1.0
    stem: str = "standard"
    stain: StainTarget | None = None

    @property
    def spec(self) -> ModelSpec:
        """What determines the model up to its weights.

        Raises:
            ValueError: There is no such model.
        """
        return ModelSpec(
            name=self.model,
            n_classes=len(self.classes),
            output_stride=self.output_stride,
            width=self.width,
            stem=self.stem,
        )

    def build(self, *, seed: int | None) -> Model:
        """A model with fresh weights."""
        return build_from(self.spec, seed=seed)

    @property
    def record(self) -> dict[str, Any]:
        """JSON-able; read back by :meth:`of`."""
        usual = {field.name: field.default for field in fields(self) if field.name in _LATER}
        given = asdict(self) | {"stain": None if self.stain is None else self.stain.record}
        return {k: v for k, v in given.items() if k not in usual or v != usual[k]}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Network:
        """From a run's record.

        Raises:
            TypeError: A field is missing, or none of this version's.
            ValueError: The stain is damaged.
        """
        given = dict(record)
        if given.get("stain") is not None:
            given["stain"] = StainTarget.of(given["stain"])
        for name in ("classes", "mean", "std"):
            given[name] = tuple(given[name])
        return cls(**given)
