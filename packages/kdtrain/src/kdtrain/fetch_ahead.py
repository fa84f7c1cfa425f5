"""Shards are fetched while those before them are read: by one thread of each rank, a bounded number ahead.

In: the places of a pass in order, and how far the reader is. The thread never decides what is read when; without it,
the same samples come in the same order, later. What it fails to fetch, the reader meets itself.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from contextlib import suppress

from kdtrain.epoch_plan import SampleRef
from kdtrain.errors import UsageError
from kdtrain.shards.error import ShardError


def first_uses(refs: Iterable[SampleRef]) -> list[tuple[int, int]]:
    """(place in the order, shard) where each shard is first needed, in order."""
    seen: dict[int, int] = {}
    for place, ref in enumerate(refs):
        seen.setdefault(ref.shard, place)
    return [(place, shard) for shard, place in seen.items()]


class FetchAhead:
    """Fetches shards of a pass ahead of its reader, from its making until :meth:`stop`.

    Args:
        refs: Gives the places of the pass, in order; called in the thread.
        ensure: Fetches a shard by its position; one that is there counts as just read.
        ahead: Shards beyond those that the reader has begun with, at most.
        read_ahead: Samples that the reader's workers are ahead of what was delivered.
    """

    def __init__(
        self,
        refs: Callable[[], Iterable[SampleRef]],
        ensure: Callable[[int], None],
        *,
        ahead: int,
        read_ahead: int,
    ) -> None:
        assert ahead > 0
        self._refs, self._ensure = refs, ensure
        self._ahead, self._read_ahead = ahead, read_ahead
        self._delivered = 0
        self._stopped = False
        self._moved = threading.Condition()
        # A daemon, and not waited for: a run that ends early does not sit out a download.
        threading.Thread(target=self._work, name="fetch-ahead", daemon=True).start()

    def delivered(self) -> None:
        """Another sample has arrived at the consumer."""
        with self._moved:
            self._delivered += 1
            self._moved.notify()

    def stop(self) -> None:
        """Fetch no further shard."""
        with self._moved:
            self._stopped = True
            self._moved.notify()

    def _work(self) -> None:
        uses = first_uses(self._refs())
        places = [place for place, _ in uses]
        for number in range(len(uses)):
            with self._moved:
                while not self._stopped and number >= self._begun(places) + self._ahead:
                    self._moved.wait()
                if self._stopped:
                    return
                # A shard of which a sample was delivered is the reader's own affair.
                unread = [shard for _, shard in uses[bisect_left(places, self._delivered) : number + 1]]
            # What was fetched before and not read yet must not look longer unread than what is used up.
            for shard in unread:
                # The reader will meet the same fault, and say so at its place.
                with suppress(ShardError, UsageError):
                    self._ensure(shard)

    def _begun(self, places: list[int]) -> int:
        return bisect_right(places, self._delivered + self._read_ahead)
