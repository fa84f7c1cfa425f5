"""What a build says of a folder that holds a finished set of fewer slides, or one that was changed since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CHANGED = "changed"
"""Key of ``build.json`` that says what was done to a set after its build."""


def growth_hint(begun: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """How to do what was probably meant, where a folder holds something else than a build asks for.

    Args:
        begun: What the folder's ``build.json`` says.
        wanted: What the build would write there.
    """
    if changes := begun.get(CHANGED):
        done = ", ".join(f"{operation} ({slides} slides)" for operation, slides in changes)
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
