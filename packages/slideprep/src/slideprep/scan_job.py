"""What a scan is asked for: one slide, the settings that decide its regions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from slideprep.access import Access
from slideprep.discover import SlideFile
from slideprep.pseudonyms import shown_reason
from slideprep.shard_models import ImageFormat
from slideprep.units import MagnificationMode


@dataclass(frozen=True, kw_only=True)
class ScanSettings:
    """The settings that decide a slide's regions; the same names as in the configuration."""

    magnifications: tuple[float, ...]
    magnification_by: MagnificationMode
    objective: float | None
    mpp: float | None
    tissue: str
    tissueloc_sigma: float
    tissueloc_threshold: float
    tissueloc_min_px: int
    tissueloc_level_px: int
    exclude_classes: tuple[str, ...]
    mask_outside: bool
    image_format: ImageFormat
    save_masks: Path | None


@dataclass(frozen=True, kw_only=True)
class ScanJob:
    """One slide to scan.

    Attributes:
        file: The slide.
        shown_name: Its name in all output: the file's name or its pseudonym.
        settings: The run's settings.
        label_objective: Objective power in labels.csv.
        label_mpp: Microns per pixel in labels.csv.
        annotations: Its annotation file, in ``annotations`` mode.
        access: How the worker reaches a slide that is not on its machine.
    """

    file: SlideFile
    shown_name: str
    settings: ScanSettings
    label_objective: float | None = None
    label_mpp: float | None = None
    annotations: Path | None = None
    access: Access = field(default_factory=Access)

    def shown(self, text: str) -> str:
        """A message about this slide as it may be seen: under a pseudonym, without the real names."""
        others = () if self.annotations is None else (self.annotations,)
        return shown_reason(text, self.file, self.shown_name, *others)
