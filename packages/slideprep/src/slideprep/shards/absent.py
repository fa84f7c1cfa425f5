"""A folder without index.json in, why it has none out: a build that is not finished, or no shard set at all."""

from __future__ import annotations

from pathlib import Path

from slideprep.shards.format import INDEX_NAME, WORKSPACE
from slideprep.storage.store import Store


def why_no_index(store: Store) -> str:
    """What to say of a place where there is no index.json, and what to do.

    Args:
        store: The place; it may not exist.
    """
    try:
        names = store.top()
    except OSError:
        names = frozenset()
    if WORKSPACE in names:
        return (
            f"{INDEX_NAME} is written last, and the build that began this set has not ended: run the same build-shards "
            "command again to finish it"
        )
    if not names:
        return "there is no such folder, or nothing in it; check the path, and give the folder that build-shards wrote"
    meant = _nearby(store.place) if isinstance(store.place, Path) else None
    return (
        f"this is no shard set, it holds neither {INDEX_NAME} nor {WORKSPACE}; give the folder that build-shards wrote"
        + (f", perhaps {meant}" if meant else "")
    )


def _nearby(folder: Path) -> Path | None:
    """A shard set directly above or below a folder."""
    try:
        below = sorted(child.parent for child in folder.glob(f"*/{INDEX_NAME}"))
        above = [folder.parent] if (folder.parent / INDEX_NAME).is_file() else []
    except OSError:
        return None
    return next(iter([*above, *below]), None)
