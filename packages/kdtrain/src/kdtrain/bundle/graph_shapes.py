"""A graph's tensors and their shapes for one image, by the operators that our graphs are written in. Pure.

onnx has a shape inference too; it stops where a size is computed by a division, as the sizes of feature maps are. The
operators are those of the ONNX standard, opset 18 and later (https://onnx.ai/onnx/operators). Whole numbers that shapes
are made of are computed, nothing else is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
_FEW = 16
"""Whole numbers of a tensor that a shape can be made of."""


@dataclass(frozen=True)
class Known:
    """What is known of a tensor: its shape, and its numbers if it is a few whole ones."""

    shape: Shape
    numbers: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Operator:
    """One operator with what it is given.

    Attributes:
        kind: Such as "Conv".
        given: What is known of its inputs.
        settings: Its attributes.
    """

    kind: str
    given: tuple[Known, ...]
    settings: Mapping[str, Any]

    def numbers_of(self, place: int) -> list[int]:
        """Whole numbers of an input.

        Raises:
            ValueError: They do not follow from the image's size, or there is no such input.
        """
        numbers = self.given[place].numbers if place < len(self.given) else None
        if numbers is None or numbers.ndim != 1:
            raise ValueError(f"what a {self.kind} is told does not follow from the image's size")
        return [int(number) for number in numbers.ravel()]


def shapes(
    operators: Iterator[tuple[str, tuple[str, ...], str, Mapping[str, Any]]], known: dict[str, Known]
) -> Iterator[tuple[str, Shape]]:
    """Name and shape of every tensor that is computed.

    Args:
        operators: (kind, names of inputs, name of the output, attributes) of each, in the order of the graph.
        known: The image, and the tensors that the file holds, by name; the others are added.

    Raises:
        ValueError: An operator cannot be given what it is given.
    """
    for kind, inputs, output, settings in operators:
        missing = [name for name in inputs if name not in known]
        if missing:
            raise ValueError(f"nothing makes what a {kind} is given")
        operator = Operator(kind, tuple(known[name] for name in inputs), settings)
        try:
            shape = _SHAPES[kind](operator)
        except (IndexError, KeyError, ZeroDivisionError, TypeError):
            raise ValueError(f"a {kind} is not given what it takes") from None
        if min(shape, default=0) < 0:
            raise ValueError(f"a {kind} makes less than nothing")
        known[output] = Known(shape, _numbers(operator, shape))
        yield output, shape


def _numbers(operator: Operator, shape: Shape) -> NDArray[np.int64] | None:
    """Computed where they are few and all that they come from is known."""
    if operator.kind == "Shape":
        whole = operator.given[0].shape
        return np.array(whole[operator.settings.get("start", 0) : operator.settings.get("end")], np.int64)
    given = [one.numbers for one in operator.given]
    if operator.kind in ("Reshape", "Squeeze"):
        given = given[:1]
    if prod(shape) > _FEW or any(numbers is None for numbers in given):
        return None
    known = [numbers for numbers in given if numbers is not None]
    with np.errstate(all="ignore"):
        match operator.kind:
            case "Add":
                return np.asarray(known[0] + known[1])
            case "Sub":
                return np.asarray(known[0] - known[1])
            case "Mul":
                return np.asarray(known[0] * known[1])
            case "Div" if known[1].all():
                return np.asarray(known[0] // known[1])
            case "Concat":
                return np.concatenate(known)
            case "Reshape" | "Squeeze":
                return known[0].reshape(shape)
    return None


def _same(operator: Operator) -> Shape:
    return operator.given[0].shape


def _broadcast(operator: Operator) -> Shape:
    return np.broadcast_shapes(*(one.shape for one in operator.given))


def _shape(operator: Operator) -> Shape:
    whole = operator.given[0].shape
    return (len(whole[operator.settings.get("start", 0) : operator.settings.get("end")]),)


def _windowed(channels: int) -> Callable[[Operator], Shape]:
    """Of Conv (channels out are axis 0 of the weight, input 1) and MaxPool (they are axis 1 of input 0)."""

    def shape(operator: Operator) -> Shape:
        image, settings = operator.given[0].shape, operator.settings
        kernel = settings["kernel_shape"]
        strides, dilations = settings.get("strides", [1, 1]), settings.get("dilations", [1, 1])
        pads = settings.get("pads", [0, 0, 0, 0])
        if len(image) != 4 or min(*kernel, *strides, *dilations) < 1 or min(pads) < 0:
            raise ValueError(f"a {operator.kind} is not given what it takes")
        sides = [
            (image[2 + axis] + pads[axis] + pads[2 + axis] - dilations[axis] * (kernel[axis] - 1) - 1)
            // strides[axis]
            + 1
            for axis in (0, 1)
        ]
        return (image[0], operator.given[channels].shape[1 - channels], *sides)

    return shape


def _concat(operator: Operator) -> Shape:
    first, axis = operator.given[0].shape, operator.settings["axis"]
    total = sum(one.shape[axis] for one in operator.given)
    return tuple(total if place == axis % len(first) else size for place, size in enumerate(first))


def _gemm(operator: Operator) -> Shape:
    one, other = operator.given[0].shape, operator.given[1].shape
    rows = one[1] if operator.settings.get("transA") else one[0]
    return rows, other[0] if operator.settings.get("transB") else other[1]


def _reduced(operator: Operator) -> Shape:
    whole = operator.given[0].shape
    axes = {axis % len(whole) for axis in operator.numbers_of(1)}
    kept = operator.settings.get("keepdims", 1)
    return tuple(
        1 if place in axes else size for place, size in enumerate(whole) if kept or place not in axes
    )


def _reshaped(operator: Operator) -> Shape:
    whole, wanted = operator.given[0].shape, operator.numbers_of(1)
    if not operator.settings.get("allowzero"):
        wanted = [whole[place] if size == 0 else size for place, size in enumerate(wanted)]
    known = prod(size for size in wanted if size != -1)
    found = tuple(prod(whole) // known if size == -1 else size for size in wanted)
    if prod(found) != prod(whole):
        raise ValueError(f"a Reshape makes {found} of {whole}")
    return found


def _squeezed(operator: Operator) -> Shape:
    whole = operator.given[0].shape
    axes = [axis % len(whole) for axis in operator.numbers_of(1)] if len(operator.given) > 1 else None
    return tuple(
        size for place, size in enumerate(whole) if (size != 1 if axes is None else place not in axes)
    )


_SHAPES: dict[str, Callable[[Operator], Shape]] = {
    **dict.fromkeys(("Cast", "Reciprocal", "Relu", "Softmax", "Sqrt"), _same),
    **dict.fromkeys(("Add", "Div", "Mul", "Sub"), _broadcast),
    "Concat": _concat,
    "Conv": _windowed(1),
    "Gemm": _gemm,
    "MaxPool": _windowed(0),
    "ReduceMean": _reduced,
    "Reshape": _reshaped,
    "Shape": _shape,
    "Squeeze": _squeezed,
}
OPERATORS = frozenset(_SHAPES)
"""What torch.onnx writes a ResNet with group normalisation in; none makes much out of little but by broadcasting."""
