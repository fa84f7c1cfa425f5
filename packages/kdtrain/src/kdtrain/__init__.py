"""kdtrain: resolution-based knowledge distillation for histology images, trained on slideprep shards.

For a Python program: shards by :class:`Dataset` and :func:`read_index`, networks by :func:`load_network`,
:func:`calibrate`, :func:`evaluate` and :func:`load_bundle`, the paper's loss by :func:`distillation_loss`. Each name is
loaded when it is first asked for, so that ``import kdtrain`` and a command's help answer at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdtrain.data.dataset import Dataset
    from kdtrain.data.samples import PairedSample
    from kdtrain.errors import TrainingError, UsageError
    from kdtrain.evaluation.calibrate import calibrate
    from kdtrain.evaluation.calibration import Calibration
    from kdtrain.evaluation.evaluate import evaluate
    from kdtrain.evaluation.subject import Evaluation
    from kdtrain.losses import DistillationLoss, distillation_loss
    from kdtrain.predict.answers.prediction import (
        Failure,
        FastPrice,
        RegionPrediction,
        SlideError,
        SlidePrediction,
    )
    from kdtrain.predict.bundle import Bundle, load_bundle
    from kdtrain.shards.cache import CacheSettings, cache_settings
    from kdtrain.shards.error import ShardError
    from kdtrain.shards.index import Index, read_index
    from kdtrain.shards.sample import SampleRecord
    from kdtrain.training.trained import TrainedNetwork, load_network

__version__ = "0.1.0"
__all__ = [
    "Bundle",
    "CacheSettings",
    "Calibration",
    "Dataset",
    "DistillationLoss",
    "Evaluation",
    "Failure",
    "FastPrice",
    "Index",
    "PairedSample",
    "RegionPrediction",
    "SampleRecord",
    "ShardError",
    "SlideError",
    "SlidePrediction",
    "TrainedNetwork",
    "TrainingError",
    "UsageError",
    "__version__",
    "cache_settings",
    "calibrate",
    "distillation_loss",
    "evaluate",
    "load_bundle",
    "load_network",
    "read_index",
]

_HOMES = {
    "data.dataset": ("Dataset",),
    "data.samples": ("PairedSample",),
    "errors": ("TrainingError", "UsageError"),
    "evaluation.calibrate": ("calibrate",),
    "evaluation.calibration": ("Calibration",),
    "evaluation.evaluate": ("evaluate",),
    "evaluation.subject": ("Evaluation",),
    "losses": ("DistillationLoss", "distillation_loss"),
    "predict.answers.prediction": (
        "Failure",
        "FastPrice",
        "RegionPrediction",
        "SlideError",
        "SlidePrediction",
    ),
    "predict.bundle": ("Bundle", "load_bundle"),
    "shards.cache": ("CacheSettings", "cache_settings"),
    "shards.error": ("ShardError",),
    "shards.index": ("Index", "read_index"),
    "shards.sample": ("SampleRecord",),
    "training.trained": ("TrainedNetwork", "load_network"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is asked for."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    """What may be used; modules are not meant to be."""
    return sorted(__all__)
