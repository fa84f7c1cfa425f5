"""Mixed precision around a model with float32 weights: autocast, and the loss scale that fp16 needs.

DeepSpeed 0.19.8 could do both (``torch_autocast``), but with ZeRO, as measured, an overflow skips the update and
leaves the scale at 65536, so that later ones are skipped as well; the norm that it reports and clips by is that of
the scaled gradient; and its scale is in no checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from kdtrain.training.engine.settings import Precision

AUTOCAST_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
FIRST_SCALE = 2.0**16
STEPS_TO_GROW = 2000
"""Both as in torch.amp.GradScaler."""


class Autocast(nn.Module):
    """A model computed in another precision, whose outputs are float32 so that losses keep their digits.

    Attributes:
        inner: The model; its weights stay as they are.
    """

    def __init__(self, inner: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.inner = inner
        self._dtype = AUTOCAST_TYPES.get(precision)

    def forward(self, *inputs: Tensor) -> Any:
        """The model's output: a tensor, or a tuple of tensors of the same type as the model's."""
        if self._dtype is None:
            return self.inner(*inputs)
        with torch.autocast(inputs[0].device.type, dtype=self._dtype):
            return _float32(self.inner(*inputs))


def _float32(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.float()
    values = [value.float() for value in output]
    return type(output)(*values) if hasattr(output, "_fields") else tuple(values)


class LossScale:
    """Powers of two by which a loss is multiplied, so that fp16 gradients neither vanish nor overflow.

    Gradients are divided again as they reach the weights, in float32 and exactly, so that accumulation, clipping
    and DeepSpeed see true gradients.

    Attributes:
        scale: The factor on the loss.
        steps: Updates since the scale last changed.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], device: torch.device) -> None:
        self.scale = FIRST_SCALE
        self.steps = 0
        self._bad = torch.zeros((), dtype=torch.bool, device=device)
        for parameter in parameters:
            parameter.register_hook(self._unscale)  # type: ignore[no-untyped-call]

    def _unscale(self, gradient: Tensor) -> Tensor:
        self._bad |= ~torch.isfinite(gradient).all()
        return gradient / self.scale

    def take_overflow(self) -> Tensor:
        """Whether a gradient of this rank overflowed since the last call; scalar bool on the device."""
        bad = self._bad.clone()
        self._bad.zero_()
        return bad

    def update(self, *, overflowed: bool) -> None:
        """Halve the scale after an overflow on any rank; double it after 2000 updates without one."""
        self.steps += 1
        if overflowed:
            self.scale, self.steps = self.scale / 2, 0
        elif self.steps == STEPS_TO_GROW:
            self.scale, self.steps = self.scale * 2, 0
