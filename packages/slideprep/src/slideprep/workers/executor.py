"""Plain functions on many items, in parallel, on this machine or a cluster.

What goes wrong with one item stays with it. A worker process that dies (a decoder's crash, the kernel's memory killer)
is reported to the caller, who decides whether to try again; an exception ends the run. At most a few items more than
there are workers are in flight, so memory does not grow with the number of items. :mod:`slideprep.workers.ray_run` is
the part that deals with tasks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from threadpoolctl import threadpool_limits

from slideprep.errors import ClusterError
from slideprep.storage.access import Access, store_settings
from slideprep.workers.cluster import joined_cluster
from slideprep.workers.own_ray import START_SECONDS, own_ray
from slideprep.workers.ray_run import OnCrash, RayRun, TimeLimit, first_line
from slideprep.workers.surroundings import ONE_THREAD, environment

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs a function on items; results come as they are ready."""

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        on_crash: OnCrash[Item],
        on_wait: Callable[[], None],
        memory: Callable[[Item], int] | None = None,
        time_limit: TimeLimit[Item] | None = None,
    ) -> Iterator[tuple[Item, Result]]:
        """Apply a function to every item.

        Args:
            function: Importable by name; takes one item.
            items: What to apply it to, in the order in which to start.
            on_crash: Called with an item whose worker died and the reason; returns what to run instead, or None. An
                item whose machine was lost is run again without a word.
            on_wait: Called several times a second while results are waited for.
            memory: Bytes that the item's task needs; no more tasks run on a machine than it has memory for.
            time_limit: What ends tasks that take too long.

        Raises:
            ClusterError: Ray itself failed.

        Yields:
            (item, result) in the order in which they finish.
        """
        ...


class InProcess:
    """Everything one after the other in this process, without Ray: for debugging, and for tests."""

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        on_crash: OnCrash[Item],
        on_wait: Callable[[], None],
        memory: Callable[[Item], int] | None = None,
        time_limit: TimeLimit[Item] | None = None,
    ) -> Iterator[tuple[Item, Result]]:
        """See :meth:`Executor.map`; a crash takes this process with it, and no item can be ended."""
        for item in items:
            on_wait()
            with threadpool_limits(1):
                result = function(item)
            yield item, result


class OnRay:
    """Ray tasks, one core each; see :class:`slideprep.workers.ray_run.RayRun`.

    Args:
        ray: The module, started.
        workers: Tasks at once; None for as many as there are cores.
        say: Shows a person a sentence.
        closing: Ends tasks that are left over; before Ray itself ends, which could not be asked any more.
    """

    def __init__(self, ray: Any, workers: int | None, say: Callable[[str], None], closing: ExitStack) -> None:
        self._ray = ray
        self._closing = closing
        self._workers = workers
        self._say = say

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        on_crash: OnCrash[Item],
        on_wait: Callable[[], None],
        memory: Callable[[Item], int] | None = None,
        time_limit: TimeLimit[Item] | None = None,
    ) -> Iterator[tuple[Item, Result]]:
        """See :meth:`Executor.map`."""
        run = RayRun(
            self._ray,
            function,
            items,
            workers=self._workers,
            memory=memory,
            on_crash=on_crash,
            on_wait=on_wait,
            time_limit=time_limit,
            say=self._say,
        )
        return self._closing.enter_context(contextlib.closing(run.results()))


def run_on_workers(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int | None = None,
    on_crash: Callable[[Item, str], Item | None],
    on_timeout: Callable[[Item], Item | None] = lambda _: None,
    time_limit_s: float | None = None,
    memory: Callable[[Item], int] | None = None,
    start_seconds: float = START_SECONDS,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[Item, Result]]:
    """Apply a function to every item, each in a worker process of this machine; Ray is started and ended for it.

    What the environment says of object stores, credentials included, goes to the workers with the items. At most a few
    items more than there are workers are on their way.

    Args:
        function: Importable by name; takes one item. What it raises ends the run.
        items: What to apply it to, in the order in which to start; plain data, which crosses between processes.
        workers: Worker processes; None for one per core; 0 to do everything in this process, where a crash takes it
            along and no item can be ended.
        on_crash: Called with an item whose worker died and the reason; returns what to run instead, or None.
        on_timeout: Called with an item that was ended; likewise.
        time_limit_s: Seconds after which an item is ended; None for any time.
        memory: Bytes that an item needs; no more items run at a time than there is memory for.
        start_seconds: How long worker processes may take to start.
        say: Shows a person a sentence, such as what items wait for.

    Raises:
        ClusterError: Worker processes do not start, or Ray itself failed.

    Yields:
        (item, result) in the order in which they finish.
    """
    limit = None if time_limit_s is None else _Limit(time_limit_s, on_timeout)
    there = partial(_with_stores, function, Access(environment=store_settings(os.environ)))
    with executor(workers=workers, ray_address=None, start_seconds=start_seconds, say=say) as pool:
        yield from pool.map(
            there, items, on_crash=on_crash, on_wait=lambda: None, memory=memory, time_limit=limit
        )


def _with_stores(function: Callable[[Item], Result], access: Access, item: Item) -> Result:
    access.apply()
    return function(item)


class _Limit(Generic[Item]):
    """One time for every item; see :class:`slideprep.workers.ray_run.TimeLimit`."""

    def __init__(self, seconds: float, without: Callable[[Item], Item | None]) -> None:
        self._seconds = seconds
        self.without = without

    def over(self, begun: Sequence[tuple[Item, float]]) -> Sequence[Item]:
        return [item for item, seconds in begun if seconds >= self._seconds]


@contextmanager
def executor(
    *,
    workers: int | None,
    ray_address: str | None,
    start_seconds: float = START_SECONDS,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Executor]:
    """Start what runs the tasks; Ray takes some seconds, so ask only when there is work.

    Args:
        workers: Worker processes; None for one per core, of a cluster as many as it has at the time; 0 for none.
        ray_address: Address of a cluster that runs already; None to use this machine alone.
        start_seconds: How long worker processes of this machine may take to start.
        say: Shows a person a sentence, such as what tasks wait for.

    Raises:
        ClusterError: Worker processes do not start.
        UsageError: No cluster answers at the address.
    """
    if workers == 0:
        yield InProcess()
        return
    with environment({"RAY_DEDUP_LOGS": "1", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", **ONE_THREAD}):
        ray = _ray()
        with ExitStack() as stack:
            if not ray.is_initialized():  # else a caller shares one Ray among several builds
                stack.enter_context(
                    own_ray(ray, cores=workers or usable_cores(), seconds=start_seconds)
                    if ray_address is None
                    else joined_cluster(ray, ray_address)
                )
            closing = stack.enter_context(ExitStack())
            yield OnRay(ray, workers, say, closing)


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except (ImportError, OSError) as error:
        raise ClusterError(
            f"Ray cannot be loaded ({first_line(error)}); install it anew, or give --workers 0 to do everything in one "
            "process without it"
        ) from None
    return ray


def usable_cores() -> int:
    """Cores that this process may use: fewer than the machine has inside containers and batch jobs."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    quota = _cgroup_cores(Path("/sys/fs/cgroup/cpu.max"))
    return max(1, min(affinity, quota or affinity))


def _cgroup_cores(path: Path) -> int | None:
    try:
        limit, period = path.read_text().split()
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(1, int(limit) // int(period))
