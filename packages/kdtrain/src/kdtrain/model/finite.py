"""Whether weights are numbers at all: one NaN, and whatever a network is shown, it says nothing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Name of the first tensor that holds NaN or infinity; None where all are finite."""
    return next((name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()), None)
