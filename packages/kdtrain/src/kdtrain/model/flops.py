"""What a model costs on an image of a given size: multiply-adds of a forward pass.

They are found by running the model on PyTorch's meta device, which knows shapes but computes nothing, so that
images of any size cost milliseconds and no memory. A size in, counts out; the answers are cached by size.

Convention: one multiply-add (MAC) is one multiplication and one addition, hence 2 floating-point operations. Papers
call either "FLOPs": Flops holds both, `gmacs` and `gflops` = 2 · `gmacs`. Counted are convolutions and fully connected
layers; normalisation, activations, pooling and additions (about 1 % of a ResNet) are left out, as is common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import MappingProxyType

import torch
from torch import Tensor, nn

from kdtrain.model.resnet import MIN_SIDE_PX, OUTPUT_STRIDES, Model, ModelSpec

_CACHED_SIZES = 65536
_REFERENCE_PX = 64


@dataclass(frozen=True, kw_only=True)
class Flops:
    """Cost of a forward pass over one image.

    Attributes:
        macs: Multiply-adds.
        by_layer: Multiply-adds of every convolution and fully connected layer, by name, in order of execution.
    """

    macs: int
    by_layer: Mapping[str, int]

    @property
    def gmacs(self) -> float:
        """Billions of multiply-adds."""
        return self.macs / 1e9

    @property
    def gflops(self) -> float:
        """Billions of floating-point operations: two per multiply-add."""
        return 2 * self.gmacs


def count(model: Model, height: int, width: int) -> Flops:
    """Multiply-adds of a forward pass over one image of height x width pixels.

    Raises:
        ValueError: The image is too small for the model.
    """
    return _count(model.spec, height, width)


def mean_gflops(model: Model, sizes: Sequence[tuple[int, int]]) -> float:
    """Mean billions of floating-point operations over images of the given (height, width) in pixels.

    Raises:
        ValueError: There are no sizes, or an image is too small for the model.
    """
    if not sizes:
        raise ValueError("the mean cost of no images is undefined; the split is empty")
    return sum(count(model, height, width).gflops for height, width in sizes) / len(sizes)


def gflops_of_sizes(spec: ModelSpec, sizes: Sequence[tuple[int, int]]) -> list[float]:
    """GFLOPs of a forward pass over one image of each of the given (height, width) in pixels, as ``count`` gives them.

    A layer's cost is (something of the height) x (something of the width), exactly, and either grows by the same amount
    with every 32 px more: thousands of sizes take some sixty counts.

    Raises:
        ValueError: An image is too small for the model.
    """
    sides = {side: _layers_of_side(spec, side) for size in set(sizes) for side in size}
    reference = _layers(spec, _REFERENCE_PX, _REFERENCE_PX)
    cost: dict[tuple[int, int], float] = {}
    for size in set(sizes):
        # By symmetry of kernels and strides a width costs what a height of as many pixels costs.
        layers = zip(sides[size[0]], sides[size[1]], reference, strict=True)
        cost[size] = 2 * sum(height * width // square for height, width, square in layers) / 1e9
    return [cost[size] for size in sizes]


def projector_gflops(spec: ModelSpec, channels: int, sizes: Sequence[tuple[int, int]]) -> list[float]:
    """GFLOPs of a student's 1x1 projector to so many channels, over one image of each size: paid in training alone."""
    per_cell = 2 * spec.feature_channels * channels / 1e9
    stride = spec.output_stride
    return [per_cell * -(-height // stride) * -(-width // stride) for height, width in sizes]


@lru_cache(maxsize=64)
def _on_meta(spec: ModelSpec) -> Model:
    # Cached, so it must not depend on the caller's modes.
    with torch.inference_mode(False), torch.device("meta"):
        return Model(spec)


@lru_cache(maxsize=_CACHED_SIZES)
def _count(spec: ModelSpec, height: int, width: int) -> Flops:
    model = _on_meta(spec)
    macs: dict[str, int] = {}
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(partial(_add_macs, macs, name)) for name, layer in layers]
    try:
        with torch.no_grad():
            model(torch.empty(1, 3, height, width, device="meta"))
    finally:
        for handle in handles:
            handle.remove()
    # Read-only, because all callers share the cached counts.
    return Flops(macs=sum(macs.values()), by_layer=MappingProxyType(macs))


def _layers_of_side(spec: ModelSpec, side: int) -> list[int]:
    """Multiply-adds by layer of an image with one side of so many pixels, the other one being the reference's."""
    period = max(OUTPUT_STRIDES)
    periods = max(0, side - MIN_SIDE_PX) // period
    small = _layers(spec, side - periods * period, _REFERENCE_PX)
    if not periods:
        return small
    larger = _layers(spec, side - (periods - 1) * period, _REFERENCE_PX)
    return [a + (b - a) * periods for a, b in zip(small, larger, strict=True)]


def _layers(spec: ModelSpec, height: int, width: int) -> list[int]:
    return list(_count(spec, height, width).by_layer.values())


def _add_macs(
    macs: dict[str, int], name: str, layer: nn.Module, _: tuple[Tensor, ...], output: Tensor
) -> None:
    # Every output value of either kind of layer takes one multiply-add per weight of its output channel.
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    macs[name] = output.numel() * layer.weight[0].numel()
