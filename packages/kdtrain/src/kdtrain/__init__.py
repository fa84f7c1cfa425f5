"""kdtrain: resolution-based knowledge distillation for histology images, trained on slideprep shards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdtrain.api import Bundle, load_bundle

__version__ = "0.1.0"
__all__ = ["Bundle", "__version__", "load_bundle"]


def __getattr__(name: str) -> Any:
    """``kdtrain.load_bundle`` and ``kdtrain.Bundle``, imported when they are asked for: the commands start at once."""
    if name in ("Bundle", "load_bundle"):
        from kdtrain import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
