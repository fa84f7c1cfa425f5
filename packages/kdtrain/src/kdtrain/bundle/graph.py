"""A model.onnx of a stranger in, nothing or the reason not to run it out: the graph of a ResNet of ours, and no other.

ONNX Runtime does what a graph says: it reads the files that its tensors name, loops, and takes the memory that a shape
of two numbers asks for, the first of it before any image is seen. So what goes to it holds its numbers itself, uses the
operators that :mod:`kdtrain.bundle.onnx` writes and no others, and makes no tensor that such a network would not make.
Nothing is computed for it but shapes.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdtrain.bundle.graph_shapes import OPERATORS, Known, shapes
from kdtrain.bundle.runtime_onnx import OUTPUTS
from kdtrain.text import brief, reason_of

MOST_NODES = 20_000
"""A resnet152 has 3,000."""
MOST_VALUES = 8_000_000
"""Of any tensor for an image of PROBE_PX a side; the largest of a resnet152 at stride 8 has 131,072, and a weight 2.4
million."""
PROBE_PX = 64
_MOST_OF_AN_ATTRIBUTE = 1024
"""Axes, strides, kernels and pads are below 10."""
_UINT8, _INT64 = 2, 7
_ITEM_BYTES = {1: 4, _INT64: 8}
"""By TensorProto.DataType: float32 and int64 are all that a graph of ours holds."""
_INTS = 7
_NUMBERS_AND_WORDS = frozenset((1, 2, 3, 6, _INTS))
"""AttributeProto.AttributeType: FLOAT, INT, STRING, FLOATS, INTS; the others are tensors and graphs in graphs."""


def graph_problem(path: Path, *, classes: int, channels: int) -> str | None:
    """What a graph does that a network of kdtrain does not; None where nothing.

    Args:
        path: model.onnx.
        classes: That it tells apart.
        channels: Of its feature map.
    """
    import onnx

    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except Exception:  # noqa: BLE001 - protobuf's own, of which neither it nor onnx has types to name
        return "it is no ONNX file"
    try:
        _check_model(model)
        _check_sizes(model, classes, channels)
    except ValueError as error:
        return reason_of(error)
    return None


def _check_model(model: Any) -> None:
    graph = model.graph
    if model.functions or model.training_info or graph.sparse_initializer:
        raise ValueError("it brings functions, training or sparse tensors")
    domains = sorted({entry.domain for entry in model.opset_import} - {"", "ai.onnx"})
    if domains:
        raise ValueError(f"it uses operators of {brief(domains[0])}")
    if len(graph.node) > MOST_NODES:
        raise ValueError(f"it has {len(graph.node):,} operators")
    for tensor in graph.initializer:
        _check_tensor(tensor)
    for node in graph.node:
        _check_node(node)
    taken = [(each.name, each.type.tensor_type.elem_type) for each in graph.input]
    given = tuple(each.name for each in graph.output)
    if taken != [("image", _UINT8)] or given != OUTPUTS:
        raise ValueError(f"it takes {brief(taken)} and gives {brief(given)}")


def _check_tensor(tensor: Any) -> None:
    name = brief(tensor.name)
    if tensor.data_location or tensor.external_data:
        raise ValueError(f"the numbers of {name} are in another file")
    item_bytes = _ITEM_BYTES.get(tensor.data_type)
    if item_bytes is None:
        raise ValueError(f"{name} is of data type {tensor.data_type}")
    held = len(tensor.raw_data) / item_bytes + len(tensor.float_data) + len(tensor.int64_data)
    if min(tensor.dims, default=1) < 0 or held != prod(tensor.dims):
        raise ValueError(f"{name} does not hold the numbers that its shape says")


def _check_node(node: Any) -> None:
    if len(node.output) != 1 or node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        raise ValueError(f"it uses the operator {brief(node.op_type)}")
    for attribute in node.attribute:
        numbers = [attribute.i, *attribute.ints]
        if attribute.type not in _NUMBERS_AND_WORDS or max(map(abs, numbers)) > _MOST_OF_AN_ATTRIBUTE:
            raise ValueError(f"{brief(attribute.name)} of a {node.op_type} is no such number")
        if attribute.name == "auto_pad" and attribute.s != b"NOTSET":
            raise ValueError(f"a {node.op_type} chooses its own edges")


def _check_sizes(model: Any, classes: int, channels: int) -> None:
    known = {
        tensor.name: Known(tuple(tensor.dims), _few_numbers(tensor)) for tensor in model.graph.initializer
    }
    known["image"] = Known((1, 3, PROBE_PX, PROBE_PX))
    made = {}
    for name, shape in shapes(map(_operator, model.graph.node), known):
        made[name] = shape
        if prod(shape) > MOST_VALUES:
            raise ValueError(
                f"{brief(name)} would have {prod(shape):,} values for an image of {PROBE_PX} px a side"
            )

    answers = dict(zip(OUTPUTS, ((1, classes), (1, classes), (1, channels)), strict=True))
    for name, shape in answers.items():
        if made.get(name, ())[:2] != shape:
            raise ValueError(f"{name} is of shape {brief(made.get(name))} for {classes} classes")


def _operator(node: Any) -> tuple[str, tuple[str, ...], str, dict[str, Any]]:
    settings = {each.name: list(each.ints) if each.type == _INTS else each.i for each in node.attribute}
    return node.op_type, tuple(node.input), node.output[0], settings


def _few_numbers(tensor: Any) -> NDArray[np.int64] | None:
    """The numbers of a shape, of an axis; None of weights."""
    if tensor.data_type != _INT64 or prod(tensor.dims) > 16:
        return None
    numbers = np.frombuffer(tensor.raw_data, "<i8") if tensor.raw_data else np.array(tensor.int64_data)
    return numbers.astype(np.int64).reshape(tuple(tensor.dims))
