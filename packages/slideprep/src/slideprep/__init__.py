"""slideprep: whole-slide histology images to verified WebDataset shards at several magnifications.

From Python, in the order of the data flow:

- slides: :func:`find_slides`, :func:`find_slide`, :func:`open_slide`, :func:`fingerprint`, :func:`slide_key`;
- what is known of them besides: :func:`slide_labels`, :func:`find_annotations`;
- their regions as images: :func:`extract` under :class:`ReadSettings`;
- many slides in parallel: :func:`run_on_workers`;
- shard sets: :func:`build` of a :class:`BuildConfig`, :func:`verify`.

All errors that are raised on purpose are a :class:`SlideprepError`. Names are loaded when they are first asked for, so
that a command's help answers at once. What ``dir(slideprep)`` does not show may change without a word.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slideprep.building.check import verify
    from slideprep.building.config import BuildConfig
    from slideprep.building.run import BuildResult, build
    from slideprep.errors import (
        ClusterError,
        InputError,
        MagnificationError,
        SlideOpenError,
        SlideprepError,
        SlideReadError,
        TissueError,
        UsageError,
    )
    from slideprep.labels.match import SlideEntry, slide_labels
    from slideprep.regions.extract import extract
    from slideprep.regions.extraction import Extraction
    from slideprep.regions.fast import FastDifference
    from slideprep.regions.images import RegionImage, RegionImages
    from slideprep.regions.scan import FoundRegion
    from slideprep.regions.settings import ReadSettings
    from slideprep.shards.format import slide_key
    from slideprep.shards.records import Failure
    from slideprep.shards.verify.report import Fault, Report
    from slideprep.slides.discover import find_slide, find_slides
    from slideprep.slides.files import RejectedFile, SlideFile
    from slideprep.slides.fingerprint import fingerprint
    from slideprep.slides.opened import OpenedSlide, open_slide
    from slideprep.storage.files import OutputError
    from slideprep.tissue.annotations import find_annotations
    from slideprep.workers.executor import run_on_workers

__version__ = "0.1.0"

__all__ = [
    "BuildConfig",
    "BuildResult",
    "ClusterError",
    "Extraction",
    "Failure",
    "FastDifference",
    "Fault",
    "FoundRegion",
    "InputError",
    "MagnificationError",
    "OpenedSlide",
    "OutputError",
    "ReadSettings",
    "RegionImage",
    "RegionImages",
    "RejectedFile",
    "Report",
    "SlideEntry",
    "SlideFile",
    "SlideOpenError",
    "SlideReadError",
    "SlideprepError",
    "TissueError",
    "UsageError",
    "__version__",
    "build",
    "extract",
    "find_annotations",
    "find_slide",
    "find_slides",
    "fingerprint",
    "open_slide",
    "run_on_workers",
    "slide_key",
    "slide_labels",
    "verify",
]

_HOMES = {
    "building.check": ("verify",),
    "building.config": ("BuildConfig",),
    "building.run": ("BuildResult", "build"),
    "errors": (
        "ClusterError",
        "InputError",
        "MagnificationError",
        "SlideOpenError",
        "SlideReadError",
        "SlideprepError",
        "TissueError",
        "UsageError",
    ),
    "labels.match": ("SlideEntry", "slide_labels"),
    "regions.extract": ("extract",),
    "regions.extraction": ("Extraction",),
    "regions.fast": ("FastDifference",),
    "regions.images": ("RegionImage", "RegionImages"),
    "regions.scan": ("FoundRegion",),
    "regions.settings": ("ReadSettings",),
    "shards.format": ("slide_key",),
    "shards.records": ("Failure",),
    "shards.verify.report": ("Fault", "Report"),
    "slides.discover": ("find_slide", "find_slides"),
    "slides.files": ("RejectedFile", "SlideFile"),
    "slides.fingerprint": ("fingerprint",),
    "slides.opened": ("OpenedSlide", "open_slide"),
    "storage.files": ("OutputError",),
    "tissue.annotations": ("find_annotations",),
    "workers.executor": ("run_on_workers",),
}
"""Where each name is: so that no name loads the libraries of another."""
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __dir__() -> list[str]:
    """The public names alone."""
    return sorted(__all__)


if not TYPE_CHECKING:  # else a type checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        """A public name, loaded when it is first asked for."""
        if name not in _HOME_OF:
            raise AttributeError(f"module 'slideprep' has no attribute '{name}'")
        return getattr(import_module(f"slideprep.{_HOME_OF[name]}"), name)
