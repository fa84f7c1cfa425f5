"""What a model costs on an image of a given size: multiply-adds of a forward pass, memory of a training step.

Both are found by running the model on PyTorch's meta device, which knows shapes but computes nothing, so that
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
from torch.autograd.graph import saved_tensors_hooks

from kdtrain.model.resnet import MIN_SIDE_PX, OUTPUT_STRIDES, Model, ModelSpec, check_image

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


def activation_bytes(
    model: Model,
    height: int,
    width: int,
    *,
    checkpointing: bool | None = None,
    dtype: torch.dtype = torch.float32,
) -> int:
    """Bytes that PyTorch keeps from the forward pass over one image for the backward pass.

    The larger part of the memory of a training step; weights, gradients, optimizer and short-lived buffers come on
    top. With checkpointing: the inputs of stem and stages, and the largest of these while it is recomputed.

    Args:
        model: Its architecture and output stride decide, not its weights.
        height: Image rows.
        width: Image columns.
        checkpointing: Whether activations are recomputed; None takes the model's own setting.
        dtype: Dtype of the activations. Autocast keeps some in float32: bfloat16 here is its lower bound.

    Raises:
        ValueError: The image is too small for the model.
    """
    plain, recomputed = _saved_bytes(model.spec, height, width, dtype)
    return recomputed if (model.recompute if checkpointing is None else checkpointing) else plain


@lru_cache(maxsize=64)
def _on_meta(spec: ModelSpec, dtype: torch.dtype) -> Model:
    # Cached, so it must not depend on the caller's modes.
    with torch.inference_mode(False), torch.device("meta"):
        return Model(spec).to(dtype)


@lru_cache(maxsize=_CACHED_SIZES)
def _count(spec: ModelSpec, height: int, width: int) -> Flops:
    model = _on_meta(spec, torch.float32)
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


@lru_cache(maxsize=_CACHED_SIZES)
def _saved_bytes(spec: ModelSpec, height: int, width: int, dtype: torch.dtype) -> tuple[int, int]:
    """Without and with recomputation, from what autograd itself asks to keep."""
    with torch.inference_mode(False), torch.enable_grad():
        return _observe_saved(
            _on_meta(spec, dtype), torch.empty(1, 3, height, width, device="meta", dtype=dtype)
        )


def _observe_saved(model: Model, x: Tensor) -> tuple[int, int]:
    check_image(x)
    weights = {_storage(parameter) for parameter in model.parameters()}
    everything: dict[int, Tensor] = {}
    boundaries = largest = 0
    for part in model.parts():
        saved: dict[int, Tensor] = {}
        with saved_tensors_hooks(partial(_note, saved), lambda tensor: tensor):
            y = part(x)
        everything |= saved
        inside = _bytes(saved, but=weights | {_storage(x)})
        boundaries, largest = boundaries + x.untyped_storage().nbytes(), max(largest, inside)
        x = y
    return _bytes(everything, but=weights), boundaries + largest


def _note(saved: dict[int, Tensor], tensor: Tensor) -> Tensor:
    # The tensor is kept, so that its address cannot be given to another one while we count.
    saved[_storage(tensor)] = tensor.detach()
    return tensor


def _storage(tensor: Tensor) -> int:
    # Tensors of the meta device all have data_ptr 0; the address of the storage object tells them apart.
    return int(tensor.untyped_storage()._cdata)


def _bytes(saved: Mapping[int, Tensor], *, but: set[int]) -> int:
    return sum(tensor.untyped_storage().nbytes() for storage, tensor in saved.items() if storage not in but)
