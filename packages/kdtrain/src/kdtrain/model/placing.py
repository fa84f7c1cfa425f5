"""How networks and tensors are placed for a GPU: channels last, as its convolutions want them, and ``--compile``."""

from __future__ import annotations

import inspect
import os
import shutil

import torch
from torch import Tensor, nn

from kdtrain.errors import UsageError

COMPILERS = ("c++", "g++", "clang++", "cc", "gcc", "clang")
"""What torch.compile builds with: on a CPU the kernels themselves, on a GPU what starts them."""
BACKEND = "inductor"
"""PyTorch's own, and its default. Another one compiles the same graphs, faster and to slower code: for tests."""


def compile_network(network: nn.Module) -> None:
    """Have a network's forward pass, and with it its backward pass, compiled at first use.

    In place: weights and their names stay. Sizes are left open, so that other images need no compiling again; square
    ones beside others do, micro-batches of one beside larger ones, and validation beside training, once each. Sums are
    in another order, so losses differ in their last digits.

    Raises:
        UsageError: There is no compiler.
    """
    if not os.environ.get("CXX") and not any(map(shutil.which, COMPILERS)):
        raise UsageError(
            "--compile needs a C++ compiler, and none is on the PATH; install one, or leave it out"
        )
    # Teacher and student are one class. PyTorch counts how often its code was compiled, and gives up after eight times;
    # where it can, it shall count for each network by itself.
    known = "isolate_recompiles" in inspect.signature(torch.compile).parameters
    network.compile(dynamic=True, backend=BACKEND, **({"isolate_recompiles": True} if known else {}))


def lay_out(images_BCHW: Tensor) -> Tensor:
    """A batch as the networks' convolutions want it: channels last on a GPU; as it is on a CPU.

    A CPU's training step is left as it is, with the last digits of its results.
    """
    if images_BCHW.device.type != "cuda":
        return images_BCHW
    return images_BCHW.contiguous(memory_format=torch.channels_last)


def lay_out_model(model: nn.Module, device: torch.device, *, zero_stage: int) -> nn.Module:
    """Move a model to a device, on a GPU with weights that lie channels last.

    With ZeRO they are moved alone: it keeps all weights in one flat buffer, each as if its channels came first.
    """
    moved = model.to(device)
    return moved.to(memory_format=torch.channels_last) if device.type == "cuda" and not zero_stage else moved
