"""A view: what the teacher makes of one sample under one augmentation draw; its bytes are a safetensors file.

safetensors holds a table of names, shapes and types and then numbers: nothing in it is executed when it is read.

Two kinds: of a run of kdtrain, whose last feature map is resized by both ways of eq. 3 (version 1 of the format); and
of any other teacher, whose vectors were laid on the student's grid, so that some cells may lack one (version 2).

Legend: K classes, C channels, H and W rows and columns of the student's feature map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from kdtrain.augment import Draw
from kdtrain.errors import NotFiniteError, TrainingError
from kdtrain.losses import MapName, Resize

MAPS: tuple[Resize, ...] = ("maxpool", "bicubic")
"""g1(F_t) and g2(F_t) of the paper's eq. 3; the variants of the ablation choose among them."""
LAID: Literal["laid"] = "laid"
LAID_TENSOR, VALID = "map", "valid"
"""The one map of any other teacher, its tensor's name, and that of the mask beside it."""
LOGITS = "logits"
MAP_TYPE = torch.float16
"""11 bits of mantissa: a value is off by 2^-12 of itself at most, and half the bytes of float32."""


@dataclass(frozen=True, kw_only=True)
class TeacherView:
    """The teacher's outputs for one sample under one draw.

    Attributes:
        logits_K: (K,) float32; None where the teacher gives none.
        maps: (C, H, W) at the size of the student's map: by resize, or "laid" alone.
        valid_HW: Which cells of a laid map count, (H, W) bool; None where all do.
    """

    logits_K: Tensor | None
    maps: Mapping[MapName, Tensor]
    valid_HW: Tensor | None = None

    def pin_memory(self) -> TeacherView:
        """This view in page-locked memory."""
        return TeacherView(
            logits_K=None if self.logits_K is None else self.logits_K.pin_memory(),
            maps={how: tensor.pin_memory() for how, tensor in self.maps.items()},
            valid_HW=None if self.valid_HW is None else self.valid_HW.pin_memory(),
        )


@dataclass(frozen=True, kw_only=True)
class Taught:
    """A view that was read, with the draw that the student's image gets as well."""

    draw: Draw
    view: TeacherView

    def pin_memory(self) -> Taught:
        """This view in page-locked memory."""
        return Taught(draw=self.draw, view=self.view.pin_memory())


@dataclass(frozen=True, kw_only=True)
class ViewShape:
    """What the tensors of a view must be.

    Attributes:
        classes: K; 0 where there are no logits.
        channels: C.
        size: (H, W).
        laid: Whether of any other teacher than a run.
    """

    classes: int
    channels: int
    size: tuple[int, int]
    laid: bool = False

    @property
    def tensors(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Shape and type by name."""
        map_CHW = ((self.channels, *self.size), MAP_TYPE)
        wanted: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
        if self.classes:
            wanted[LOGITS] = ((self.classes,), torch.float32)
        if self.laid:
            return wanted | {LAID_TENSOR: map_CHW, VALID: (self.size, torch.uint8)}
        return wanted | dict.fromkeys(MAPS, map_CHW)


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
    """The bytes of a view's member, maps rounded to float16; cells that do not count are 0.

    Args:
        view: On the CPU.
        what: Key and view, for messages.

    Raises:
        TrainingError: A value is beyond float16; NotFiniteError where it is not finite at all.
    """
    _check_range(view, what)
    tensors: dict[str, Tensor] = {}
    if view.logits_K is not None:
        tensors[LOGITS] = view.logits_K.float().contiguous()
    if LAID not in view.maps:
        return safetensors.torch.save(
            tensors | {how: view.maps[how].to(MAP_TYPE).contiguous() for how in MAPS}
        )
    laid_CHW = view.maps[LAID]
    valid_HW = torch.ones(laid_CHW.shape[1:], dtype=torch.bool) if view.valid_HW is None else view.valid_HW
    tensors[LAID_TENSOR] = torch.where(valid_HW, laid_CHW, 0).to(MAP_TYPE).contiguous()
    return safetensors.torch.save(tensors | {VALID: valid_HW.to(torch.uint8).contiguous()})


def shape_fault(view: TeacherView, shape: ViewShape) -> str | None:
    """What is wrong with the tensors that a source gave for a view of this shape; None for nothing."""
    given: dict[str, tuple[int, ...]] = {
        LAID_TENSOR if name == LAID else name: tuple(tensor.shape) for name, tensor in view.maps.items()
    }
    given |= {
        VALID: given.get(LAID_TENSOR, (0,))[1:] if view.valid_HW is None else tuple(view.valid_HW.shape)
    }
    if view.logits_K is not None:
        given[LOGITS] = tuple(view.logits_K.shape)
    wanted = {name: size for name, (size, _) in shape.tensors.items()}
    if given == wanted:
        return None
    shown = (", ".join(f"{name} {size}" for name, size in sorted(sizes.items())) for sizes in (given, wanted))
    return " where there should be ".join(shown)


def _check_range(view: TeacherView, what: str) -> None:
    largest = torch.finfo(MAP_TYPE).max
    named: list[tuple[str, Tensor]] = [] if view.logits_K is None else [(LOGITS, view.logits_K)]
    for name, tensor in [*named, *view.maps.items()]:
        shown, peak = "vectors" if name == LAID else name, float(tensor.abs().max())
        if not math.isfinite(peak):
            raise NotFiniteError(
                f"the teacher's outputs are not finite for {what} ({shown}); use --precision fp32, or another teacher"
            )
        if not peak <= (largest if name != LOGITS else torch.finfo(torch.float32).max):
            remedy = (
                "divide the teacher's vectors by a constant, or end it with a norm"
                if LAID in view.maps
                else "use --precision fp32, or a teacher trained with --gradient-clipping or more --weight-decay; or "
                "distil without a cache"
            )
            raise TrainingError(
                f"the teacher's {shown} for {what} reach {peak:g}, and a cache holds finite values up to {largest:g}; "
                f"{remedy}"
            )


def decode_view(data: bytes, shape: ViewShape) -> TeacherView:
    """A view out of its member's bytes.

    Raises:
        ValueError: It is no safetensors file, holds other tensors than the shape says, values that are not finite, or
            a mask of others than 0 and 1.
    """
    try:
        tensors = safetensors.torch.load(data)
    except SafetensorError as error:
        raise ValueError(f"not a safetensors file: {error}") from error
    found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    if found != shape.tensors:
        raise ValueError(f"the tensors are {_shown(found)}, not {_shown(shape.tensors)}")
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds values that are not finite, of which no student can learn")
    logits_K = tensors.get(LOGITS)
    if not shape.laid:
        return TeacherView(logits_K=logits_K, maps={how: tensors[how] for how in MAPS})
    if (tensors[VALID] > 1).any():
        raise ValueError(f"{VALID} holds {int(tensors[VALID].max())}, and a cell counts (1) or does not (0)")
    return TeacherView(logits_K=logits_K, maps={LAID: tensors[LAID_TENSOR]}, valid_HW=tensors[VALID].bool())


def _shown(tensors: Mapping[str, tuple[tuple[int, ...], torch.dtype]]) -> str:
    return ", ".join(f"{name} {shape} {dtype}" for name, (shape, dtype) in sorted(tensors.items()))
