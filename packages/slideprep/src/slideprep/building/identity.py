"""What tells a build from any other before a slide is opened: settings, versions, and each slide's size and labels.

The workspace keeps it, so that a folder is finished by the command that began it and refused to any other. Where the
folder holds a finished set of fewer slides, or one that was changed since, the refusal names the command that fits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import slideprep
from slideprep.building.config import BuildConfig
from slideprep.building.prepare import Prepared, total_bytes
from slideprep.shards.format import CreatedBy
from slideprep.text import count

LIBRARIES = (
    "imagecodecs", "llvmlite", "numpy", "openslide-bin", "openslide-python", "pillow", "pydicom", "pyvips-binary",
    "scipy", "simplejpeg", "tifffile",
)  # fmt: skip
"""Libraries that decide pixels, regions or bytes."""

CHANGED = "changed"
"""Key of ``build.json`` that says what was done to a set after its build."""


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
    """SHA-256 of an annotation file's content: one that was edited makes another set."""
    if path is None:
        return None
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None  # the scan will say so


@cache
def created_by() -> CreatedBy:
    """Versions of slideprep and of the libraries behind its output."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # a system-wide libvips or OpenSlide
            versions[name] = "system"
    return CreatedBy(slideprep=slideprep.__version__, libraries=versions)


def growth_hint(begun: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """How to do what was probably meant, where a folder holds something else than a build asks for.

    Args:
        begun: What the folder's ``build.json`` says.
        wanted: What the build would write there.
    """
    if changes := begun.get(CHANGED):
        done = ", ".join(f"{operation} ({count(slides, 'slide')})" for operation, slides in changes)
        return (
            f"the set was changed after its build ({done}), so no build makes it again: go on with add-slides, "
            "remove-slides and relabel"
        )
    old, new = begun.get("slides", {}), wanted.get("slides", {})
    more = len(new.keys() - old.keys())
    if more and old.keys() <= new.keys() and begun.get("settings") == wanted.get("settings"):
        return (
            f"to add the {more} new slides to a finished set and keep its shards, use: slideprep add-slides"
        )
    return None
