"""How tensors lie in a GPU's memory: channels last, as its convolutions want them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
