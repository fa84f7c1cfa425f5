"""Word of what each task is reading: for the progress bar, and for finding out which slide brought a worker down.

In a folder on a file system a note is written for every sample and read whenever it is asked for. In an object store
each costs a request: one is written when another slide is begun, removed with the shard, and read every 15 seconds.
"""

from __future__ import annotations

import json
import time

from slideprep.storage.store import PARTIAL, Store

LOOK_S = 15.0

Note = tuple[str, int, int]
"""(slide being read, level-0 pixels read, samples written)."""


class Notes:
    """The notes of a build.

    Args:
        store: Where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: dict[str, str] = {}
        self._seen: dict[str, tuple[float, Note | None]] = {}

    def leave(self, shard: str, note: Note) -> None:
        """Say what a shard's task reads now."""
        if self._store.is_remote and self._last.get(shard) == note[0]:
            return
        self._last[shard] = note[0]
        self._store.note(_path(shard), json.dumps(note).encode())

    def forget(self, shard: str) -> None:
        """Remove the note of a shard that is finished."""
        if self._store.is_remote and self._last.pop(shard, None) is not None:
            self._store.remove(_path(shard))

    def read(self, shard: str, *, fresh: bool) -> Note | None:
        """The latest note of a shard's task; None where there is none.

        Args:
            shard: The shard's name.
            fresh: Whether a note that was read up to 15 seconds ago will not do.
        """
        if not self._store.is_remote:
            return self._load(shard)
        looked, note = self._seen.get(shard, (None, None))
        if fresh or looked is None or time.monotonic() - looked > LOOK_S:
            note = self._load(shard)
            self._seen[shard] = (time.monotonic(), note)
        return note

    def _load(self, shard: str) -> Note | None:
        try:
            slide, done_px, samples = json.loads(self._store.read(_path(shard)))
        except (OSError, ValueError):
            return None
        return str(slide), int(done_px), int(samples)


def _path(shard: str) -> str:
    return f"{PARTIAL}/{shard}.now"
