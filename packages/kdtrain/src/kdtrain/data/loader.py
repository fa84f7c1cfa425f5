"""WebDataset's pipeline and loader over a plan: places in, decoded samples out in the same order, with clocks.

In: a plan, which is called at the start of every pass, in every worker, and gives the places to read in order.
Out: the samples, exactly those and in that order. WebDataset serves as pipeline (DataPipeline, split_by_worker,
map) and loader (WebLoader). Two of its stages are left out, because they cannot give an exact epoch: its shard
lists hand out whole shards, so that ranks get unequal counts, and raise where there are fewer shards than ranks
or workers; and its tar expansion ends silently at a damaged header. A plan hands out single samples instead. The
loader asks its workers in turn and worker w reads the places w, w + workers, w + 2 × workers and so on, so the
order of the plan is kept for any number of them.

Shards are fetched while those before them are read, by one thread of each rank, a bounded number ahead. It never
decides what is read when; without it, the same samples come in the same order, later. What it fails to fetch, the
reader meets itself.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import webdataset as wds

from kdtrain.data.plan import SampleRef
from kdtrain.data.samples import LoadedSample, SampleReader
from kdtrain.errors import TrainingError, UsageError
from kdtrain.shards.error import ShardError
from kdtrain.shards.open_tars import Ahead

NOTHING_AHEAD = Ahead()
"""Shards lie in a local folder."""
PREFETCH = 2
"""Samples that each worker reads ahead. Whole-tissue images at 10x take 100 MB and more, so not many."""


@dataclass(frozen=True, kw_only=True)
class LoadStats:
    """What was delivered so far; subtract an earlier one to get what came between.

    Attributes:
        samples: Delivered to this rank.
        pixels: Pixels of all their images.
        wait_s: Seconds that the consumer waited for samples, the start of the workers included.
        elapsed_s: Seconds from the beginning of a pass to the arrival of its last sample, summed over passes: the
            waiting and the consumer's own work between samples.
    """

    samples: int = 0
    pixels: int = 0
    wait_s: float = 0.0
    elapsed_s: float = 0.0

    def __add__(self, other: LoadStats) -> LoadStats:
        return LoadStats(
            samples=self.samples + other.samples,
            pixels=self.pixels + other.pixels,
            wait_s=self.wait_s + other.wait_s,
            elapsed_s=self.elapsed_s + other.elapsed_s,
        )

    def __sub__(self, earlier: LoadStats) -> LoadStats:
        return LoadStats(
            samples=self.samples - earlier.samples,
            pixels=self.pixels - earlier.pixels,
            wait_s=self.wait_s - earlier.wait_s,
            elapsed_s=self.elapsed_s - earlier.elapsed_s,
        )

    @property
    def samples_per_s(self) -> float:
        """Samples per second of elapsed time; 0 before the first."""
        return self.samples / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def megapixels_per_s(self) -> float:
        """Millions of pixels, all magnifications together, per second of elapsed time; 0 before the first."""
        return self.pixels / 1e6 / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def wait_share(self) -> float:
        """Share of the elapsed time that was spent waiting for data, 0 to 1."""
        return self.wait_s / self.elapsed_s if self.elapsed_s else 0.0


class Loader:
    """Reads the places of a plan, ahead of its consumer where there are workers. Each ``iter`` is one pass.

    Only one pass runs at a time; a new one ends the one before.

    Args:
        plan: Called at the start of every pass, in every worker: the places to read, in order.
        reader: Reader of the split that the places are in.
        workers: Processes, kept from pass to pass; 0 reads in this one.
        prefetch: Samples that each worker reads ahead.
        pin_memory: Deliver images in page-locked memory, for a GPU.
        ahead: Shards that are fetched before their first sample is wanted.
    """

    def __init__(
        self,
        plan: Callable[[], Iterator[SampleRef]],
        reader: SampleReader,
        *,
        workers: int,
        prefetch: int = PREFETCH,
        pin_memory: bool = False,
        ahead: Ahead = NOTHING_AHEAD,
    ) -> None:
        assert workers >= 0 and prefetch > 0
        self._plan = plan
        self._ahead = ahead
        # What is begun with by the workers alone pushes nothing out: the shard before it may still be read from.
        self._read_ahead = 0 if ahead.evicts else workers * prefetch
        self.stats = LoadStats()
        self._reader = reader
        self._pipeline = wds.DataPipeline(plan, wds.split_by_worker, wds.map(_Read(reader=reader)))
        self._options: dict[str, Any] = {
            "batch_size": None,
            "num_workers": workers,
            "pin_memory": pin_memory,
        }
        if workers:
            self._options |= {"prefetch_factor": prefetch, "persistent_workers": True}
        self._loader: Any = None
        self._passes = 0

    def __iter__(self) -> Iterator[LoadedSample]:
        """One pass.

        Raises:
            ShardError: At the place of a damaged sample, or of one that cannot be fetched, in the order of the plan.
            UsageError: At the place of a sample that the storage does not let this user read.
            TrainingError: A worker was killed.
        """
        asked = last = time.perf_counter()
        if self._loader is None:
            self._loader = wds.WebLoader(self._pipeline, **self._options)
        # First, so that the workers are forked before there is another thread.
        samples = iter(self._loader)
        self._passes += 1
        this_pass = self._passes
        # Closed: it holds the error that it handed over, whose traceback holds it; the garbage collector would then end
        # the workers, and wait for them, in whatever thread it comes by.
        with closing(samples), self._fetching_ahead() as delivered:
            while (sample := self._next(samples)) is not None:
                now = time.perf_counter()
                wait_s, elapsed_s = now - asked, now - last
                self.stats += LoadStats(samples=1, pixels=sample.pixels, wait_s=wait_s, elapsed_s=elapsed_s)
                last = now
                delivered()
                yield sample
                assert this_pass == self._passes, "a new pass ends the one before"
                asked = time.perf_counter()

    def close(self) -> None:
        """End the workers and close the tars. A later pass starts them again."""
        self._loader = None
        self._reader.close()

    @contextmanager
    def _fetching_ahead(self) -> Iterator[Callable[[], None]]:
        """What to call for every sample that was delivered."""
        if not self._ahead.shards:
            yield lambda: None
            return
        ahead = FetchAhead(self._plan, self._reader, ahead=self._ahead.shards, read_ahead=self._read_ahead)
        try:
            yield ahead.delivered
        finally:
            ahead.stop()

    def _next(self, samples: Iterator[Any]) -> LoadedSample | None:
        try:
            item: LoadedSample | ShardError | UsageError | None = next(samples, None)
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            reason = f"a loader worker was killed, most likely for want of memory: {error}"
            remedy = (
                "use fewer workers or a smaller prefetch; in a container, also give it more shared memory"
            )
            raise TrainingError(f"{reason}; {remedy}") from error
        if isinstance(item, ShardError | UsageError):
            raise item
        return item


@dataclass(frozen=True, kw_only=True)
class _Read:
    """The reading stage. A fault is handed over as a value: torch would raise it again as text within a trace."""

    reader: SampleReader

    def __call__(self, ref: SampleRef) -> LoadedSample | ShardError | UsageError:
        try:
            return self.reader.load(ref)
        except (ShardError, UsageError) as error:
            return error


def first_uses(refs: Iterable[SampleRef]) -> list[tuple[int, int]]:
    """(place in the order, shard) where each shard is first needed, in order."""
    seen: dict[int, int] = {}
    for place, ref in enumerate(refs):
        seen.setdefault(ref.shard, place)
    return [(place, shard) for shard, place in seen.items()]


class Fetching(Protocol):
    """Shards by their positions in a split or set, of which some have to be fetched."""

    def ensure(self, shard: int, wanted: Callable[[], bool]) -> None:
        """Fetch a shard that is not there, if it is still wanted when nobody else can be fetching it.

        Raises:
            ShardError: It cannot be fetched.
            UsageError: The storage does not let this user in.
        """
        ...

    def keep(self, shard: int) -> None:
        """Have a shard count as just read."""
        ...


class FetchAhead:
    """Fetches shards of a pass ahead of its reader, from its making until :meth:`stop`.

    However late its thread comes, it fetches no shard that the reader has begun with: that one would come a second time
    where it is used up and evicted already, and would push out one that is needed.

    Args:
        refs: Gives the places of the pass, in order; called in the thread.
        shards: Where they are fetched to.
        ahead: Shards beyond those that the reader has begun with, at most.
        read_ahead: Samples that the reader's workers are ahead of what was delivered.
    """

    def __init__(
        self,
        refs: Callable[[], Iterable[SampleRef]],
        shards: Fetching,
        *,
        ahead: int,
        read_ahead: int,
    ) -> None:
        assert ahead > 0
        self._refs, self._shards = refs, shards
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
        for number, (place, shard) in enumerate(uses):
            with self._moved:
                while not self._stopped and number >= self._begun(places) + self._ahead:
                    self._moved.wait()
                if self._stopped:
                    return
                # What was fetched before and not read yet must not look longer unread than what is used up. With the
                # lock held, so that none of it can be used up meanwhile.
                for _, unread in uses[bisect_left(places, self._delivered) : number]:
                    self._shards.keep(unread)
            # The reader will meet the same fault, and say so at its place.
            with suppress(ShardError, UsageError):
                self._shards.ensure(shard, partial(self._unread, place))

    def _unread(self, place: int) -> bool:
        with self._moved:
            return not self._stopped and place >= self._delivered

    def _begun(self, places: list[int]) -> int:
        return bisect_right(places, self._delivered + self._read_ahead)
