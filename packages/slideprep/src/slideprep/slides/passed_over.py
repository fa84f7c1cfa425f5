"""What lies in a searched folder and is no slide that can be read, though a person might take it for one.

In: how many files of which suffix. Out: one sentence, with what to do. Nothing is opened here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

_SLIDES = "slides of a format that nothing here reads: export them as pyramidal TIFF, OME-TIFF or DICOM"
_IMAGES = "images of a format that nothing here reads: convert them to PNG or TIFF"
_ARCHIVES = "archives: unpack them first"

_KINDS: Mapping[str, tuple[str, ...]] = {
    _SLIDES: (
        ".i2syntax", ".ims", ".isyntax", ".kfb", ".lif", ".lsm", ".mdsx", ".mds", ".nd2", ".oir", ".sdpc", ".tmap",
        ".tron", ".vsi", ".zvi",
    ),
    _IMAGES: (".avif", ".bmp", ".gif", ".heic", ".j2k", ".jp2", ".jpx", ".jxl", ".webp"),
    _ARCHIVES: (".7z", ".gz", ".rar", ".tar", ".tgz", ".zip"),
}  # fmt: skip


def is_noted(suffix: str) -> bool:
    """Whether files of a suffix (lower case, with its dot) are counted."""
    return any(suffix in suffixes for suffixes in _KINDS.values())


def passed_over(counts: Counter[str]) -> str | None:
    """What was passed over, by kind; None where nothing was.

    Args:
        counts: Files by suffix.
    """
    parts = []
    for what, suffixes in _KINDS.items():
        found = [f"{counts[suffix]} {suffix}" for suffix in suffixes if counts[suffix]]
        if found:
            parts.append(f"{', '.join(found)} ({what})")
    return f"files passed over: {'; '.join(parts)}" if parts else None
