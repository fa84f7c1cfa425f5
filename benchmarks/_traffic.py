"""Bytes that PyTorch's operations ask memory for, counted operation by operation while a piece of work runs.

Each operation counts what it reads and what it writes, once. Caches serve a part of it, and kernels that read their
input several times ask for more: on images far larger than the caches the sum is a fair estimate of the memory's
traffic, and it is no more than that. A compiled model's kernels are not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_ONLY_ALLOCATE = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"})


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts under a ``with``.

    Args:
        device_type: Tensors elsewhere are not counted, nor copies from there.

    Attributes:
        bytes: Read and written so far.
    """

    def __init__(self, device_type: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        self._device_type = device_type

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        moves = not getattr(func, "is_view", False) and func.__name__.partition(".")[0] not in _ONLY_ALLOCATE
        if moves:
            self.bytes += sum(map(self._bytes, tree_leaves((args, kwargs, output))))
        return output

    def _bytes(self, leaf: object) -> int:
        if not isinstance(leaf, Tensor) or leaf.device.type != self._device_type:
            return 0
        # An expanded tensor has more elements than memory.
        return min(leaf.numel() * leaf.element_size(), leaf.untyped_storage().nbytes())
