"""A moving average of the weights, which wanders less than they do: validated and published in their place.

After update t every trained parameter's average becomes d · average + (1 - d) · weight, with d the smaller of the decay
and (1 + t) / (10 + t), so that it forgets the first weights early and remembers 1 / (1 - decay) updates later on
(Polyak and Juditsky 1992, doi:10.1137/0330046; the growing d is that of TensorFlow's ExponentialMovingAverage).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from kdtrain.errors import UsageError


class WeightAverage:
    """The average of a module's trained parameters, on their device.

    Args:
        module: Its parameters are those that optimizer steps change in place.
        decay: In (0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._values = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights of an update.

        Args:
            step: Its number, from 1.
        """
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in self._values.items():
            value.lerp_(self._parameters[name], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The module has the average as its weights, and its own again afterwards, to the last bit."""
        own = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self._put(self._values)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])

    def state(self) -> dict[str, Tensor]:
        """Copies on the CPU, by name."""
        return {name: value.to("cpu").contiguous().clone() for name, value in self._values.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state.

        Raises:
            UsageError: It is of another model.
        """
        if state.keys() != self._values.keys():
            raise UsageError(
                "the checkpoint's average is of another model, or of a run that trained other weights"
            )
        for name, value in self._values.items():
            value.copy_(state[name])
