"""What tells a build from any other before a slide is opened: settings, versions, and each slide's size and labels.

The workspace keeps it, so that a folder is finished by the command that began it and refused to any other.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from slideprep.config import BuildConfig
from slideprep.prepare import Prepared, total_bytes
from slideprep.set_index import created_by
from slideprep.workspace import Workspace


def refuse_other_build(config: BuildConfig, prepared: Prepared) -> None:
    """Raise UsageError where ``config.out`` holds a build of other settings or slides."""
    Workspace(config.out, scratch=config.scratch).refuse_other(identity(config, prepared))


def identity(config: BuildConfig, prepared: Prepared) -> dict[str, Any]:
    """What decides the set's bytes and is known before a slide is opened."""
    slides = {}
    for name, slide in prepared.plan.slides.items():
        entry = prepared.entries[name]
        try:
            size = total_bytes(prepared.files[name])
        except OSError:
            size = None
        known = [size, slide.patient, slide.split, entry.label, entry.mpp, entry.objective]
        slides[name] = [*known, annotation_digest(prepared.annotations.get(name))]
    return {"settings": config.record, "versions": created_by().model_dump(), "slides": slides}


def annotation_digest(path: Path | None) -> str | None:
    """Of an annotation file's content: one that was edited makes another set."""
    if path is None:
        return None
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None  # the scan will say so
