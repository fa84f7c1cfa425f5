"""A view: what the teacher makes of one sample under one augmentation draw; its bytes are a safetensors file.

safetensors holds a table of names, shapes and types and then numbers: nothing in it is executed when it is read.

Legend: K classes, C channels, H and W rows and columns of the student's feature map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from kdtrain.augment import Draw
from kdtrain.errors import NotFiniteError, TrainingError
from kdtrain.losses import Resize

MAPS: tuple[Resize, ...] = ("maxpool", "bicubic")
"""g1(F_t) and g2(F_t) of the paper's eq. 3; the variants of the ablation choose among them."""
LOGITS = "logits"
MAP_TYPE = torch.float16
"""11 bits of mantissa: a value is off by 2^-12 of itself at most, and half the bytes of float32."""


@dataclass(frozen=True, kw_only=True)
class TeacherView:
    """The teacher's outputs for one sample under one draw.

    Attributes:
        logits_K: (K,) float32.
        maps: (C, H, W) by resize, at the size of the student's map.
    """

    logits_K: Tensor
    maps: Mapping[Resize, Tensor]


@dataclass(frozen=True, kw_only=True)
class Taught:
    """A view that was read, with the draw that the student's image gets as well."""

    draw: Draw
    view: TeacherView

    def pin_memory(self) -> Taught:
        """This view in page-locked memory."""
        maps = {how: tensor.pin_memory() for how, tensor in self.view.maps.items()}
        return Taught(draw=self.draw, view=TeacherView(logits_K=self.view.logits_K.pin_memory(), maps=maps))


@dataclass(frozen=True, kw_only=True)
class ViewShape:
    """What the tensors of a view must be.

    Attributes:
        classes: K.
        channels: C.
        size: (H, W).
    """

    classes: int
    channels: int
    size: tuple[int, int]


def map_size(image_size: tuple[int, int], output_stride: int, *, turned: bool) -> tuple[int, int]:
    """(H, W) of the feature map of an image.

    Every stage that halves rounds up, so the whole network does.

    Args:
        image_size: (width, height) in pixels, before augmentation.
        output_stride: Image pixels per cell.
        turned: Whether the draw turns the image by an odd number of quarters.
    """
    width, height = (-(-side // output_stride) for side in image_size)
    return (width, height) if turned else (height, width)


def encode_view(view: TeacherView, what: str) -> bytes:
    """The bytes of a view's member, maps rounded to float16.

    Args:
        view: On the CPU.
        what: Key and view, for messages.

    Raises:
        TrainingError: A value is beyond float16; NotFiniteError where it is not finite at all.
    """
    largest = torch.finfo(MAP_TYPE).max
    for name, tensor in ((LOGITS, view.logits_K), *view.maps.items()):
        peak = float(tensor.abs().max())
        if not math.isfinite(peak):
            raise NotFiniteError(
                f"the teacher's outputs are not finite for {what} ({name}); use --precision fp32, or another teacher"
            )
        if not peak <= (largest if name != LOGITS else torch.finfo(torch.float32).max):
            raise TrainingError(
                f"the teacher's {name} for {what} reach {peak:g}, and a cache holds finite values up to {largest:g}; "
                "use --precision fp32, or a teacher trained with --gradient-clipping or more --weight-decay; or "
                "distil without a cache"
            )
    tensors: dict[str, Tensor] = {how: view.maps[how].to(MAP_TYPE).contiguous() for how in MAPS}
    return safetensors.torch.save(tensors | {LOGITS: view.logits_K.float().contiguous()})


def decode_view(data: bytes, shape: ViewShape) -> TeacherView:
    """A view out of its member's bytes.

    Raises:
        ValueError: It is no safetensors file, holds other tensors than the shape says, or values that are not finite.
    """
    try:
        tensors = safetensors.torch.load(data)
    except SafetensorError as error:
        raise ValueError(f"not a safetensors file: {error}") from error
    found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    wanted: dict[str, tuple[tuple[int, ...], torch.dtype]] = {LOGITS: ((shape.classes,), torch.float32)}
    wanted |= dict.fromkeys(MAPS, ((shape.channels, *shape.size), MAP_TYPE))
    if found != wanted:
        raise ValueError(f"the tensors are {_shown(found)}, not {_shown(wanted)}")
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds values that are not finite, of which no student can learn")
    return TeacherView(logits_K=tensors[LOGITS], maps={how: tensors[how] for how in MAPS})


def _shown(tensors: Mapping[str, tuple[tuple[int, ...], torch.dtype]]) -> str:
    return ", ".join(f"{name} {shape} {dtype}" for name, (shape, dtype) in sorted(tensors.items()))
