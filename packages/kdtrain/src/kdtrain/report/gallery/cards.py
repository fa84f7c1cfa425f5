"""Where the preview of a shard set shows a slide: its page, and the ids of the slides' cards on it.

The page is read for its cards, since of a large set it has a selection, and a link to what is not there leads nowhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path

from kdtrain.shards.locations import Location

PREVIEW = "preview.html"
_MOST_BYTES = 256 << 20
"""A page beyond is no preview of ours."""
_CARD = re.compile(rb'<article class="card [^>]*? id="(slide-\d+)"[^>]*? data-name="([^"]*)"')


@dataclass(frozen=True, kw_only=True)
class Cards:
    """The cards of a preview.

    Attributes:
        page: Its path from the report's folder, with forward slashes; "" where there is none.
        ids: Id of the card of each slide, by name.
    """

    page: str = ""
    ids: Mapping[str, str] = field(default_factory=dict)


def find_cards(shards: Location, report_folder: Path) -> Cards:
    """The cards of the preview beside a set's index; none where there is no such page, or it cannot be read.

    Args:
        shards: The set's folder.
        report_folder: From which links lead.
    """
    if not isinstance(shards, Path):
        return Cards()
    path = shards / PREVIEW
    try:
        if path.stat().st_size > _MOST_BYTES:
            return Cards()
        found = _CARD.findall(path.read_bytes())
        page = Path(os.path.relpath(path, report_folder)).as_posix()
    except (OSError, ValueError):
        return Cards()
    ids = {unescape(name.decode(errors="replace")): number.decode() for number, name in found}
    return Cards(page=page, ids=ids)
