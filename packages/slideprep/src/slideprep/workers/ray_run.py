"""Items in, results out, each item a task of a Ray cluster whose machines may come and go.

What is in flight is bounded by the workers, never by the number of items. A task tells when it begins and on which
machine; that is how a slide which takes too long is known, and how the loss of a machine is told from a crash that the
item itself brought about. An item lost with its machine is run again and is nobody's fault.

Tasks are streaming generators (first the begin, then the result) for one more reason: ending a plain task just when it
completes aborts the whole program in Ray 2.60 ("Tried to complete task that was not pending", seen within some tens of
trials); ending generators did not in 300.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from threadpoolctl import threadpool_limits

from slideprep.errors import ClusterError
from slideprep.workers.machines import IDLE_SECONDS, in_flight, machines, reservation, waiting_words

Item = TypeVar("Item")
Result = TypeVar("Result")
OnCrash = Callable[[Item, str], "Item | None"]

POLL_SECONDS = 0.25
NODE_SECONDS = 1.0
"""How old what is known of the cluster's machines may be."""

GRACE_SECONDS = 5.0
"""A worker that dies because its machine is being shut down dies a moment before the machine is reported lost."""

LOSSES = 8
"""An item whose machine is lost so many times is held to be the cause, such as of memory that brings machines down."""


class TimeLimit(Protocol[Item]):
    """Decides which items have been running for too long."""

    def over(self, begun: Sequence[tuple[Item, float]]) -> Sequence[Item]:
        """Called several times a second with the items that run and the seconds since each began.

        Returns:
            Those that are to be ended.
        """
        ...

    def without(self, item: Item) -> Item | None:
        """What to run in place of an item that was ended, or None."""
        ...


@dataclass(kw_only=True)
class _Task(Generic[Item]):
    """An item on its way.

    Attributes:
        item: The item.
        losses: How often its machine was lost.
        memory: Bytes reserved.
        began: Monotonic seconds, or None while it waits.
        machine: Where it runs.
    """

    item: Item
    losses: int
    memory: int = 0
    began: float | None = None
    machine: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Began:
    machine: str


@dataclass(frozen=True, kw_only=True)
class _Suspect(Generic[Item]):
    """A task whose worker died: until ``deadline`` its machine may turn out to be lost."""

    task: _Task[Item]
    reason: str
    deadline: float


class RayRun(Generic[Item, Result]):
    """One function on many items.

    Args:
        ray: The module, connected.
        function: Importable by name; takes one item.
        items: In the order in which to start.
        workers: How many may run at a time; None for one per core of the cluster, whatever it has at the time.
        memory: Bytes that an item's task needs.
        on_crash: See :meth:`slideprep.workers.executor.Executor.map`.
        on_wait: See there.
        time_limit: See there.
        say: Shows a person a sentence, where tasks wait and none is at work.
    """

    def __init__(
        self,
        ray: Any,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        workers: int | None,
        memory: Callable[[Item], int] | None,
        on_crash: OnCrash[Item],
        on_wait: Callable[[], None],
        time_limit: TimeLimit[Item] | None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._ray = ray
        self._function = function
        self._source = iter(items)
        self._workers = workers
        self._memory = memory
        self._on_crash = on_crash
        self._on_wait = on_wait
        self._time_limit = time_limit
        self._say = say
        self._remote = ray.remote(max_retries=0, num_cpus=1, num_returns="streaming")(_call)
        self._again = deque[_Task[Item]]()
        self._running: dict[Any, _Task[Item]] = {}
        self._suspects: list[_Suspect[Item]] = []
        self._own_machine = ray.get_runtime_context().get_node_id()
        self._machines = machines(ray.nodes())
        self._looked = time.monotonic()
        self._idle_since: float | None = None

    def results(self) -> Generator[tuple[Item, Result]]:
        """Yield (item, result) in the order in which they finish; closing it ends the tasks that run."""
        try:
            while self._submit():
                for handle in self._ready():
                    task = self._running[handle]
                    found = self._advance(handle, task)
                    if not isinstance(found, _Began | None):
                        yield task.item, found[0]
                self._on_wait()
                self._look_at_machines()
                self._settle_suspects()
                self._end_overdue()
                self._tell_of_waiting()
        finally:
            for handle in self._running:
                self._ray.cancel(handle, force=True)

    # Starting

    def _submit(self) -> bool:
        """Hand over as many tasks as may be in flight; False where nothing is left to do."""
        while len(self._running) < in_flight(self._machines.cores, self._workers):
            task = self._again.popleft() if self._again else self._next()
            if task is None:
                break
            task.began = task.machine = None
            task.memory = reservation(
                self._memory(task.item) if self._memory else 0, self._machines.largest_memory
            )
            handle = self._remote.options(memory=task.memory or None).remote(self._function, task.item)
            self._running[handle] = task
        return bool(self._running or self._suspects)

    def _next(self) -> _Task[Item] | None:
        for item in self._source:
            return _Task(item=item, losses=0)
        return None

    # Results, and what may come instead

    def _ready(self) -> Sequence[Any]:
        if not self._running:  # all that is left are suspects
            time.sleep(POLL_SECONDS)
            return ()
        handles = list(self._running)
        first, _ = self._ray.wait(handles, timeout=POLL_SECONDS)
        if not first:
            return ()
        ready, _ = self._ray.wait(handles, num_returns=len(handles), timeout=0)
        return ready or first  # type: ignore[no-any-return]

    def _advance(self, handle: Any, task: _Task[Item]) -> tuple[Result] | _Began | None:
        """Take the next thing that a task has to say: its result in a tuple, that it began, or None where it died."""
        errors = self._ray.exceptions
        try:
            said = self._ray.get(next(handle))
        except errors.RayTaskError as error:
            del self._running[handle]
            raise error.cause from None
        except (errors.WorkerCrashedError, errors.OutOfMemoryError) as error:
            self._suspect(self._running.pop(handle), first_line(error))
            return None
        except (
            errors.NodeDiedError,
            errors.ObjectLostError,
            errors.TaskCancelledError,
            StopIteration,
        ) as error:
            self._lost(self._running.pop(handle), first_line(error))
            return None
        except errors.RayError as error:
            del self._running[handle]
            raise _cluster_error(error) from error
        if isinstance(said, _Began):
            task.began, task.machine = time.monotonic(), said.machine
            return said
        del self._running[handle]
        return (said,)

    def _suspect(self, task: _Task[Item], reason: str) -> None:
        """A worker died. Where the machine is our own, it is there; otherwise that has to be seen."""
        cannot_be_lost = task.machine == self._own_machine or self._machines.alive == {self._own_machine}
        grace = 0.0 if cannot_be_lost else GRACE_SECONDS
        self._suspects.append(_Suspect(task=task, reason=reason, deadline=time.monotonic() + grace))

    def _settle_suspects(self) -> None:
        now, suspects = time.monotonic(), self._suspects
        self._suspects = []
        for suspect in suspects:
            task = suspect.task
            if task.machine is not None and task.machine not in self._machines.alive:
                self._lost(task, suspect.reason)
            elif now >= suspect.deadline:
                self._replace(self._on_crash(task.item, suspect.reason))
            else:
                self._suspects.append(suspect)

    def _lost(self, task: _Task[Item], reason: str) -> None:
        task.losses += 1
        if task.losses < LOSSES:
            self._again.appendleft(task)
        else:
            self._replace(self._on_crash(task.item, f"its machine was lost {LOSSES} times: {reason}"))

    def _replace(self, replacement: Item | None) -> None:
        if replacement is not None:
            self._again.appendleft(_Task(item=replacement, losses=0))

    # The cluster, and time

    def _look_at_machines(self) -> None:
        if time.monotonic() - self._looked < NODE_SECONDS:
            return
        self._machines, self._looked = machines(self._ray.nodes()), time.monotonic()
        for handle, task in list(self._running.items()):
            if task.began is None and 0 < self._machines.largest_memory < task.memory:
                # It waits for a machine that is gone.
                self._end(handle)
                self._again.appendleft(task)

    def _end_overdue(self) -> None:
        if self._time_limit is None:
            return
        now = time.monotonic()
        begun = [(task.item, now - task.began) for task in self._running.values() if task.began is not None]
        overdue = [id(item) for item in self._time_limit.over(begun)]
        for handle, task in list(self._running.items()):
            if id(task.item) in overdue:
                self._end(handle)
                self._replace(self._time_limit.without(task.item))

    def _tell_of_waiting(self) -> None:
        """Ray waits without a word for cores and memory that no machine has free, for ever if need be."""
        waiting = [task for task in self._running.values() if task.began is None]
        if not waiting or len(waiting) < len(self._running):
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = time.monotonic()
        elif time.monotonic() - self._idle_since >= IDLE_SECONDS:
            self._idle_since = float("inf")  # said once
            self._say(waiting_words(self._machines, max(task.memory for task in waiting)))

    def _end(self, handle: Any) -> None:
        """End a task and do not wait for it: a process that hangs in the kernel may never end."""
        del self._running[handle]
        self._ray.cancel(handle, force=True)


def _call(function: Callable[[Item], Result], item: Item) -> Iterator[_Began | Result]:
    import ray  # in a worker process

    yield _Began(machine=ray.get_runtime_context().get_node_id())
    with threadpool_limits(1):
        result = function(item)
    yield result


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its kind."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _cluster_error(error: BaseException) -> ClusterError:
    return ClusterError(
        f"the Ray cluster failed: {first_line(error)}; check that every machine has the same environment and the same "
        "paths, then run the same command again: finished shards are kept"
    )
