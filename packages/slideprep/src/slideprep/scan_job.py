"""What a scan is asked for: one slide, and the settings that decide its regions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from slideprep.read_settings import ReadSettings
from slideprep.slides.files import SlideFile, shown_reason
from slideprep.storage.access import Access


@dataclass(frozen=True, kw_only=True)
class ScanJob:
    """One slide to scan.

    Attributes:
        file: The slide.
        shown_name: Its name in all output: the file's name or its pseudonym.
        settings: What decides its regions.
        label_objective: Objective power in labels.csv.
        label_mpp: Microns per pixel in labels.csv.
        annotations: Its annotation file, in ``annotations`` mode.
        save_masks: Folder for its tissue mask, or None.
        access: How the worker reaches a slide that is not on its machine.
    """

    file: SlideFile
    shown_name: str
    settings: ReadSettings
    label_objective: float | None = None
    label_mpp: float | None = None
    annotations: Path | None = None
    save_masks: Path | None = None
    access: Access = field(default_factory=Access)

    def shown(self, text: str) -> str:
        """A message about this slide as it may be seen: under a pseudonym, without the real names."""
        others = () if self.annotations is None else (self.annotations,)
        return shown_reason(text, self.file, self.shown_name, *others)
