"""Files that belong to a slide without being one: the folder of an MRXS, the images that a VMS or VMU index names.

In: resolved paths. Out: resolved paths. Only index files are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

INDEX_SUFFIXES = (".vms", ".vmu")


def files_of_slide(target: Path) -> tuple[Path, ...]:
    """The slide's own file and every file of its companions, sorted."""
    return tuple(sorted({target, *(file for path in companions(target) for file in _files(path))}))


def _files(path: Path) -> list[Path]:
    return sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]


def companions_near(target: Path) -> Iterator[Path]:
    """Companions of the slide itself, and of any VMS or VMU index beside a plain image."""
    yield from companions(target)
    if target.suffix.lower() in (".jpg", ".jpeg"):
        for index in sorted(target.parent.glob("*.vm[su]")):
            yield from companions(index)


def companions(target: Path) -> list[Path]:
    """Files and folders beside a slide that belong to it, resolved."""
    suffix = target.suffix.lower()
    if suffix == ".mrxs":
        folder = target.with_suffix("")
        return [folder.resolve()] if folder.is_dir() else []
    if suffix not in INDEX_SUFFIXES:
        return []
    named = [
        target.parent / value for value in named_in(target.read_text(encoding="utf-8", errors="replace"))
    ]
    return sorted({path.resolve() for path in named if path.is_file()})


def named_in(index: str) -> list[str]:
    """The values of a VMS or VMU index that may be names of files beside it."""
    values = re.findall(r"^[^=\n\[]+=[ \t]*(\S[^\r\n]*?)[ \t]*$", index, flags=re.MULTILINE)
    return [value for value in values if len(value) < 256 and "\0" not in value]
