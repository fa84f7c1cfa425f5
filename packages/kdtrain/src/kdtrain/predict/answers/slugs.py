"""Names of classes as parts of files' names. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SLUG_LETTERS = 40
"""A file's name takes 255 bytes, and a letter up to four."""


def class_slugs(classes: Sequence[str]) -> tuple[str, ...]:
    """What files call the classes: letters of any script, digits, ``_`` and ``-``; numbered where two look alike."""
    slugs = [re.sub(r"[^\w-]+", "-", name).strip("-")[:_SLUG_LETTERS] or "class" for name in classes]
    if len({slug.casefold() for slug in slugs}) == len(slugs):
        return tuple(slugs)
    return tuple(f"{slug}-{number}" for number, slug in enumerate(slugs))
