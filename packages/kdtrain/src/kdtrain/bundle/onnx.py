"""A network in, an ONNX graph out: the only import of onnx and of PyTorch's exporter.

The graph takes pixels as they are decoded, ``image`` uint8 (batch, 3, height, width) RGB, and standardises them itself,
so that nobody can forget it. It gives ``probabilities``, ``logits`` and ``feature_map``. Batch, height and width are
free. Names of local variables and files, which the exporter notes beside every node, are taken out: the bytes depend on
nothing but the network and the versions of the libraries.

:func:`agreement` says how far two runtimes of one network are apart: what makes an ONNX file worth trusting.
"""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kdtrain.bundle.entries import AgreementEntry
from kdtrain.bundle.runtime import Pixels, Runtime
from kdtrain.bundle.runtime_onnx import OUTPUTS
from kdtrain.errors import TrainingError
from kdtrain.model.network import Network
from kdtrain.model.resnet import MIN_SIDE_PX, Model

FEATURE_SIZES = ("feature_height", "feature_width")
"""Names of the feature map's free sizes."""
_EXAMPLE_PX = (96, 160)
"""No size of it is 0 or 1, which the exporter would take for a constant; nor are height and width alike."""

MOST_LOGITS = 1e-3
MOST_PROBABILITIES = 1e-4
"""Largest differences that are accepted; rounding in float32 makes about 1e-5."""
MOST_PIXELS = 16_000_000
"""Pixels of the largest test image: above, the check would take longer than the export."""

Shape = tuple[int, int, int]


class _StagedGroupNorm(nn.Module):
    """Group normalisation whose means are taken over rows first and then over the rows' means.

    The operator that the exporter would write, InstanceNormalization, adds up a whole group's squares in float32 one
    after the other in ONNX Runtime (1.31): of 16 million values, the first group of an image of 64 megapixels, the
    standard deviation is off by 0.07 %, and the error grows with the image. In two stages it is off by 1e-6 at any
    size, in the same time and memory.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalise every group to mean 0 and variance 1, then scale and shift it; the shape stays."""
        batch, channels, height, width = x_BCHW.shape
        x_BGRW = x_BCHW.reshape(batch, self.groups, -1, width)
        centred_BGRW = x_BGRW - _mean(x_BGRW)
        inverse_BG11 = torch.rsqrt(_mean(centred_BGRW * centred_BGRW) + self.eps)
        weight_GK = self.weight.view(self.groups, channels // self.groups)
        scale_BC11 = (inverse_BG11.reshape(batch, self.groups, 1) * weight_GK).reshape(batch, channels, 1, 1)
        return centred_BGRW.reshape(batch, channels, height, width) * scale_BC11 + self.bias.view(-1, 1, 1)


def _mean(x_BGRW: Tensor) -> Tensor:
    """(B, G, 1, 1): over each row, then over the rows."""
    return x_BGRW.mean(dim=3, keepdim=True).mean(dim=2, keepdim=True)


class _FromPixels(nn.Module):
    """The network with standardisation before it and softmax behind it."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: Model, network: Network) -> None:
        super().__init__()
        self.model = _staged(model)
        self.register_buffer("mean", torch.tensor(network.mean).div_(255).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(network.std).div_(255).view(3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels (B, 3, H, W) uint8 to probabilities, logits and feature map."""
        standardised_BCHW = (image.to(torch.float32) / 255 - self.mean) / self.std
        feature_map_BCHW, logits_BK = self.model(standardised_BCHW)
        return torch.softmax(logits_BK, dim=1), logits_BK, feature_map_BCHW


def _staged(model: Model) -> nn.Module:
    """The same network, with the same weights, normalised in stages; the given one stays as it is."""
    copy = deepcopy(model)
    for name, module in model.named_modules():
        if isinstance(module, nn.GroupNorm):
            parent, _, own = name.rpartition(".")
            setattr(copy.get_submodule(parent), own, _StagedGroupNorm(module))
    return copy


def onnx_bytes(model: Model, network: Network) -> bytes:
    """Export a network.

    Args:
        model: With weights, on the CPU, in evaluation mode.
        network: How it is fed; goes into the graph, and as metadata beside it.

    Returns:
        The content of model.onnx, checked by onnx itself; the same for the same network.
    """
    import onnx

    exported = _exported(_FromPixels(model, network).eval())
    _strip(exported)
    _name_sizes(exported)
    metadata = {
        "classes": json.dumps(network.classes, ensure_ascii=False, allow_nan=False),
        "magnification": f"{network.magnification:g}",
        "mean": json.dumps(network.mean, allow_nan=False),
        "std": json.dumps(network.std, allow_nan=False),
    }
    if network.stain is not None:
        metadata["stain"] = json.dumps(network.stain.record, allow_nan=False)
    onnx.helper.set_model_props(exported, metadata)
    onnx.checker.check_model(exported, full_check=True)
    content: bytes = exported.SerializeToString(deterministic=True)
    return content


def opset_of(content: bytes) -> int:
    """Version of the standard operators that a graph uses."""
    import onnx

    return next(
        int(entry.version) for entry in onnx.load_from_string(content).opset_import if not entry.domain
    )


def answers_only(content: bytes, temperature: float) -> bytes:
    """A graph of :func:`onnx_bytes` without its feature map, and with calibrated probabilities.

    Args:
        content: The graph.
        temperature: By which its logits are divided before the softmax; 1 for none.
    """
    import onnx

    graph = onnx.load_from_string(content)
    outputs = {output.name: output for output in graph.graph.output}
    del graph.graph.output[:]
    graph.graph.output.extend(outputs[name] for name in OUTPUTS[:2])
    if temperature != 1:
        number, softmax = next(
            (number, node) for number, node in enumerate(graph.graph.node) if OUTPUTS[0] in node.output
        )
        assert softmax.op_type == "Softmax", "probabilities are the softmax of the logits"
        by = onnx.numpy_helper.from_array(np.array(temperature, np.float32), "temperature")
        graph.graph.initializer.append(by)
        divided = onnx.helper.make_node("Div", [softmax.input[0], by.name], ["calibrated_logits"])
        softmax.input[0] = divided.output[0]
        graph.graph.node.insert(number, divided)
    onnx.checker.check_model(graph, full_check=True)
    answers: bytes = graph.SerializeToString(deterministic=True)
    return answers


def _exported(module: nn.Module) -> Any:
    example = torch.zeros(2, 3, *_EXAMPLE_PX, dtype=torch.uint8)
    sizes = {
        0: torch.export.Dim("batch", min=1),
        2: torch.export.Dim("height", min=MIN_SIDE_PX),
        3: torch.export.Dim("width", min=MIN_SIDE_PX),
    }
    with _quiet():
        program = torch.onnx.export(
            module,
            (example,),
            input_names=["image"],
            output_names=list(OUTPUTS),
            dynamic_shapes={"image": sizes},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None, "dynamo=True returns a program"
    return program.model_proto


def _strip(exported: Any) -> None:
    """Remove what says where and how the graph was made."""
    exported.doc_string = ""
    graph = exported.graph
    for entry in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        entry.doc_string = ""
        del entry.metadata_props[:]
    # Shapes in between are found again by whoever runs the graph.
    del graph.value_info[:]
    graph.name = "network"


def _name_sizes(exported: Any) -> None:
    """Free sizes of the feature map by name: the exporter writes formulas, which not every reader takes."""
    sizes = exported.graph.output[-1].type.tensor_type.shape.dim
    for size, name in zip(sizes[2:], FEATURE_SIZES, strict=True):
        size.dim_param = name


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints its progress, and warns of what it does inside."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def probe_shapes(largest: tuple[int, int]) -> tuple[Shape, ...]:
    """(batch, height, width) of test images: the smallest, odd, not square, two together, and the largest.

    Args:
        largest: (width, height) of the largest training image; it is shrunk to MOST_PIXELS.
    """
    width, height = largest
    shrink = min(1.0, sqrt(MOST_PIXELS / (width * height)))
    last = (1, max(MIN_SIDE_PX, int(height * shrink)), max(MIN_SIDE_PX, int(width * shrink)))
    return ((1, MIN_SIDE_PX, MIN_SIDE_PX), (1, 33, 47), (1, 97, 260), (2, 64, 80), last)


def agreement(
    pytorch: Runtime,
    onnx: Runtime,
    network: Network,
    largest: tuple[int, int],
    *,
    on_shape: Callable[[Shape], None] = lambda shape: None,
) -> AgreementEntry:
    """Ask both and compare.

    Args:
        pytorch: What was evaluated.
        onnx: What is to be the same.
        network: Its colour statistics make the test images.
        largest: (width, height) of the largest training image, pixels.
        on_shape: Told before every test image.

    Raises:
        TrainingError: They are too far apart.
    """
    shapes = probe_shapes(largest)
    apart = np.zeros(3)
    for number, shape in enumerate(shapes):
        on_shape(shape)
        for images_BHWC in _images(shape, network, number):
            pairs = zip(pytorch.infer(images_BHWC), onnx.infer(images_BHWC), strict=True)
            apart = np.maximum(apart, [np.abs(ours - theirs).max() for ours, theirs in pairs])
    probabilities, logits, feature_map = (float(f"{value:.3g}") for value in apart)
    if not (logits <= MOST_LOGITS and probabilities <= MOST_PROBABILITIES):
        raise TrainingError(
            f"the ONNX graph is not the network: logits differ by {logits:g} (at most {MOST_LOGITS:g} is accepted), "
            f"probabilities by {probabilities:g} ({MOST_PROBABILITIES:g}); nothing was written. Use the versions of "
            "torch, onnx and onnxruntime in kdtrain's lock file"
        )
    return AgreementEntry(images=shapes, probabilities=probabilities, logits=logits, feature_map=feature_map)


def _images(shape: Shape, network: Network, seed: int) -> Iterator[Pixels]:
    """Noise in the colours of the training set; small ones blank as well, where a norm divides by almost nothing."""
    rng = np.random.Generator(np.random.PCG64(seed))
    noise = rng.standard_normal((*shape, 3), dtype=np.float32)
    noise = noise * np.asarray(network.std, np.float32) + np.asarray(network.mean, np.float32)
    yield np.clip(noise, 0, 255).astype(np.uint8)
    if shape[1] * shape[2] < 100_000:
        yield np.full((*shape, 3), 255, dtype=np.uint8)
