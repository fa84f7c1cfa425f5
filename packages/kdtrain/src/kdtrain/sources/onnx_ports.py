"""Inputs and outputs of a graph in, the image, the vectors and the logits among them out: by name or by shape. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from kdtrain.errors import UsageError
from kdtrain.sources.outputs import OutputError
from kdtrain.sources.settings import TileSettings
from kdtrain.text import brief

Kind = Literal["uint8", "float16", "float32"]
_KINDS: Mapping[str, Kind] = {
    "tensor(uint8)": "uint8",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
}
_NO_LOGITS = "none"


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """The one input of a graph.

    Attributes:
        name: Its name.
        kind: Type of its numbers.
        channels_last: Whether it is (N, H, W, 3).
        tiles: N; None where it is free.
        size: (H, W); each None where it is free.
    """

    name: str
    kind: Kind
    channels_last: bool
    tiles: int | None
    size: tuple[int | None, int | None]


def image_input(inputs: Sequence[tuple[str, str, tuple[int | str | None, ...]]], path: Path) -> ImageInput:
    """The image among a graph's inputs.

    Args:
        inputs: Name, type and shape of each, as ONNX Runtime tells them.
        path: For messages.

    Raises:
        UsageError: There is not one input, or it is no image.
    """
    shown = ", ".join(f"{brief(name)} {kind} {brief(shape)}" for name, kind, shape in inputs)
    rule = "a teacher has one input, an image (N, 3, H, W) or (N, H, W, 3) of float32, float16 or uint8"
    if len(inputs) != 1:
        raise UsageError(
            f"--from {path} takes {shown or 'nothing'}, and {rule}; export the network with that alone"
        )
    ((name, kind, shape),) = inputs
    places = [axis for axis in (1, 3) if len(shape) == 4 and shape[axis] == 3]
    if not places or kind not in _KINDS:
        raise UsageError(
            f"--from {path} takes {shown}, and {rule}; export the network so, with 3 as a fixed size"
        )
    channels_last = places[0] == 3
    high, wide = shape[1:3] if channels_last else shape[2:4]
    return ImageInput(
        name=name,
        kind=_KINDS[kind],
        channels_last=channels_last,
        tiles=_fixed(shape[0]),
        size=(_fixed(high), _fixed(wide)),
    )


def _fixed(side: int | str | None) -> int | None:
    """A size that is a number; None for a free one, which has a name or none."""
    return side if isinstance(side, int) and side > 0 else None


def choose_outputs(given: Mapping[str, Tensor], settings: TileSettings) -> tuple[str, str | None]:
    """Names of the outputs that hold vectors and logits.

    By name where names were given. Else vectors are the one output of four axes, or the one of three, or the one of two
    that are no logits; logits are the output of two axes with as many columns as the set has classes, and of several
    the one that is called so.

    Args:
        given: Every output for a tile or more.
        settings: Names, where there are any, and the classes.

    Raises:
        OutputError: There is none, or more than one.
    """
    shown = ", ".join(f"{brief(name)} {tuple(value.shape)}" for name, value in given.items())
    for option, name in (("features", settings.features_output), ("logits", settings.logits_output)):
        if name not in (None, _NO_LOGITS, *given):
            raise OutputError(f"has no output {brief(name)} (--{option}-output); there is {shown}")
    logits = _logits_of(given, settings, shown)
    if settings.features_output is not None:
        return settings.features_output, logits
    for axes in (4, 3, 2):
        names = [
            name
            for name, value in given.items()
            if value.ndim == axes and name != logits and (axes > 2 or value.shape[1] != len(settings.classes))
        ]
        if len(names) > 1:
            raise OutputError(
                f"gives {shown}, of which several may be vectors; choose one by --features-output"
            )
        if names:
            return names[0], logits
    raise OutputError(f"gives {shown}, of which none are vectors")


def _logits_of(given: Mapping[str, Tensor], settings: TileSettings, shown: str) -> str | None:
    classes = len(settings.classes)
    if settings.logits_output == _NO_LOGITS:
        return None
    if settings.logits_output is not None:
        if not classes:
            raise OutputError(
                "has logits, and the set names no classes that they could be of; leave --logits-output out"
            )
        return settings.logits_output
    names = [
        name
        for name, value in given.items()
        if classes and value.ndim == 2 and value.shape[1] == classes and name != settings.features_output
    ]
    named = [name for name in names if name == "logits"]
    if len(names) > 1 and not named:
        raise OutputError(
            f"gives {shown}, of which several may be logits; choose one by --logits-output, or none by --logits-output "
            f"{_NO_LOGITS}"
        )
    return next(iter(named or names), None)
