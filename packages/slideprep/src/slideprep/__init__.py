"""slideprep: whole-slide histology images to verified WebDataset shards at several magnifications.

From Python: :func:`open_slide`, :func:`extract` and :class:`ReadSettings` (:mod:`slideprep.api`). They are loaded
when they are first asked for, so that a command's help answers at once.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slideprep.api import ReadSettings, extract, open_slide

__version__ = "0.1.0"

__all__ = ["ReadSettings", "__version__", "extract", "open_slide"]


def __getattr__(name: str) -> Any:
    """What is of the package itself but loaded late."""
    if name not in __all__:
        raise AttributeError(f"module 'slideprep' has no attribute '{name}'")
    from slideprep import api as reading

    return getattr(reading, name)
