"""What a prediction is asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

OutsidePolicy = Literal["auto", "warn", "refuse"]
Backend = Literal["auto", "onnx", "pytorch"]
Device = Literal["auto", "cpu", "cuda"]

DISPLAY_MAGNIFICATION = 5.0
"""Magnification of a page's pictures: glands and their layers are seen, and a slide takes some ten megabytes."""
OCCLUSION_PASSES = 100
PAGE_MB = 40.0

PAGE_FILE = "page.html"
"""Name of the page in an explanation's folder."""

CLASSES_FILE = "classes.dcm"
"""Name of the segmentation among a slide's class maps as DICOM; it is written last."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What decides the pixels, beyond what the bundle says. None: as the bundle says.

    Attributes:
        objective: Objective power of slides that carry none.
        mpp: Microns per level-0 pixel of slides that carry none.
        labels: labels.csv whose columns ``objective`` and ``mpp`` correct single slides; slides that it gives a class
            are measured.
        tissue: How regions are found, instead of the way in which they were found for training.
        annotations: Folder of GeoJSON or XML files, named like the slides, for annotated regions.
        fast: Read the nearest finer pyramid level instead of level 0.
    """

    objective: float | None = None
    mpp: float | None = None
    labels: Path | None = None
    tissue: str | None = None
    annotations: Path | None = None
    fast: bool = False

    @property
    def record(self) -> dict[str, Any]:
        """JSON-able; of files, that there are some: a path says more about a machine."""
        given = {"annotations": self.annotations is not None, "labels": self.labels is not None}
        return {**asdict(self), **given}


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """What is drawn of where the network looked.

    Attributes:
        classes: Names of the classes to draw maps for; empty for the predicted ones.
        occlusion_passes: Forward passes for the occlusion map of a region, about; 0 for none.
        display: Magnification of the pictures in the page.
        page_mb: Size of a page at most, megabytes.
    """

    classes: tuple[str, ...] = ()
    occlusion_passes: int = OCCLUSION_PASSES
    display: float = DISPLAY_MAGNIFICATION
    page_mb: float = PAGE_MB


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call of ``kdtrain predict``.

    Attributes:
        bundle: Its folder.
        slides: Files, folders, globs, CSV files, addresses.
        out: Folder of the results; None to print them only.
        read: What decides the pixels.
        outside: What becomes of slides beyond the training data: "warn" and "refuse" for all of them; "auto" refuses
            another magnification, which the network never saw, and warns of the rest.
        explain: What to draw; None for nothing.
        dicom: Class maps as DICOM: True of every slide, False of none; None of DICOM slides that are explained, where
            highdicom is installed.
        backend: Which library computes the network.
        device: Where.
        workers: Processes that read slides; None for one per core, 0 for none.
        start_seconds: How long these may take to start.
        slide_minutes: How long a slide may be read; 0 for any time.
    """

    bundle: Path
    slides: tuple[str, ...]
    out: Path | None = None
    read: ReadOptions = ReadOptions()
    outside: OutsidePolicy = "auto"
    explain: ExplainOptions | None = None
    dicom: bool | None = None
    backend: Backend = "auto"
    device: Device = "auto"
    workers: int | None = None
    start_seconds: float = 120.0
    slide_minutes: float = 120.0

    @property
    def record(self) -> dict[str, Any]:
        """The settings that decide the results; JSON-able."""
        return {
            **self.read.record,
            "outside": self.outside,
            "backend": self.backend,
            "explain": None if self.explain is None else asdict(self.explain),
            # Said only where it was, so that folders which were begun without the option go on.
            **({} if self.dicom is None else {"dicom": self.dicom}),
        }
