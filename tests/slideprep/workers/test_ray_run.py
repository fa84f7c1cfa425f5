"""What is done about tasks of a cluster that end in other ways than with a result; Ray itself is a double here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from slideprep.errors import ClusterError
from slideprep.workers import ray_run as ray_tasks
from slideprep.workers.machines import MEMORY_STEP, MOST_IN_FLIGHT, QUEUED, in_flight, machines, reservation
from slideprep.workers.ray_run import LOSSES, RayRun

HOME, OTHER = "home", "other"
MB = 1024 * 1024


class RayError(Exception):
    """As Ray's."""


class WorkerCrashedError(RayError):
    """As Ray's."""


class OutOfMemoryError(RayError):
    """As Ray's."""


class NodeDiedError(RayError):
    """As Ray's."""


class ObjectLostError(RayError):
    """As Ray's."""


class TaskCancelledError(RayError):
    """As Ray's."""


class RayTaskError(RayError):
    """As Ray's."""


EXCEPTIONS = SimpleNamespace(
    RayError=RayError,
    WorkerCrashedError=WorkerCrashedError,
    OutOfMemoryError=OutOfMemoryError,
    NodeDiedError=NodeDiedError,
    ObjectLostError=ObjectLostError,
    TaskCancelledError=TaskCancelledError,
    RayTaskError=RayTaskError,
)


@dataclass
class Script:
    """What each start of an item leads to: machines it runs on, then a result or an error; ``None`` never ends."""

    starts: dict[int, list[tuple[str, object]]]


@dataclass(eq=False)
class Handle:
    """A task of the double."""

    item: int
    memory: int | None
    says: list[object]

    def __next__(self) -> object:
        return self.says.pop(0)


@dataclass
class FakeRay:
    """Runs every task at once, up to what the script says of it."""

    script: Script
    nodes_now: dict[str, int] = field(default_factory=lambda: {HOME: 1, OTHER: 1})
    memory: int = 1024 * MB
    started: list[int] = field(default_factory=list)
    memories: list[int | None] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    most: int = 0
    alive: set[Any] = field(default_factory=set)
    looks_until_loss: int | None = None
    exceptions: Any = field(default_factory=lambda: EXCEPTIONS)

    def remote(self, **_: object) -> Any:
        return lambda _function: SimpleNamespace(
            options=lambda memory: SimpleNamespace(remote=lambda _f, item: self._start(item, memory))
        )

    def _start(self, item: int, memory: int | None) -> Handle:
        machine, end = self.script.starts[item].pop(0) if item in self.script.starts else (HOME, 10 * item)
        self.started.append(item)
        self.memories.append(memory)
        says: list[object] = [] if machine == "" else [ray_tasks._Began(machine=machine)]
        handle = Handle(item, memory, says if end is None else [*says, end])
        self.alive.add(handle)
        self.most = max(self.most, len(self.alive))
        return handle

    def wait(self, handles: Sequence[Handle], num_returns: int = 1, timeout: float = 0) -> tuple[Any, Any]:
        return [handle for handle in handles if handle.says][:num_returns], []

    def get(self, said: object) -> object:
        if not isinstance(said, ray_tasks._Began):
            self.alive = {handle for handle in self.alive if handle.says}
        if isinstance(said, Exception):
            raise said
        return said

    def cancel(self, handle: Handle, *, force: bool) -> None:
        assert force
        self.cancelled.append(handle.item)
        self.alive.discard(handle)

    def nodes(self) -> list[dict[str, Any]]:
        if self.looks_until_loss is not None:
            self.looks_until_loss -= 1
            if self.looks_until_loss < 0:
                self.nodes_now.pop(OTHER, None)
        return [
            {"NodeID": name, "Alive": True, "Resources": {"CPU": cores, "memory": float(self.memory)}}
            for name, cores in self.nodes_now.items()
        ]

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: HOME)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes by a second with every look at it, and sleeping takes none."""
    seconds = count(0.0)
    monkeypatch.setattr(
        ray_tasks, "time", SimpleNamespace(monotonic=lambda: next(seconds), sleep=lambda _: None)
    )


def run(
    ray: FakeRay, items: Iterable[int], **options: Any
) -> tuple[dict[int, object], list[tuple[int, str]]]:
    """Results by item, and the crashes that the caller was told of; a crashed item is not replaced."""
    crashes: list[tuple[int, str]] = []
    settings: dict[str, Any] = {
        "workers": None,
        "memory": None,
        "on_crash": lambda item, reason: crashes.append((item, reason)),
        "on_wait": lambda: None,
        "time_limit": None,
    }
    results = RayRun[int, object](ray, abs, items, **{**settings, **options}).results()
    return dict(results), crashes


@pytest.mark.parametrize("error", [NodeDiedError("gone"), ObjectLostError("gone")])
def test_a_lost_machine_is_nobodys_fault(error: RayError) -> None:
    """An item whose machine is lost, or its result with it, is run again and its caller is told nothing."""
    ray = FakeRay(Script({1: [(OTHER, error), (OTHER, error), (OTHER, error), (HOME, 10)]}))
    assert run(ray, [1, 2]) == ({1: 10, 2: 20}, [])
    assert sorted(ray.started) == [1, 1, 1, 1, 2]


def test_a_machine_that_is_lost_again_and_again_is_the_items_fault() -> None:
    """After eight machines the caller is told, so that no item can bring down a cluster for ever."""
    ray = FakeRay(Script({1: [(OTHER, NodeDiedError("gone"))] * LOSSES}))
    assert run(ray, [1, 2]) == ({2: 20}, [(1, "its machine was lost 8 times: gone")])
    assert ray.started.count(1) == LOSSES


@pytest.mark.parametrize("error", [WorkerCrashedError("died"), OutOfMemoryError("died")])
def test_a_crash_is_reported(error: RayError) -> None:
    """A worker that dies while its machine stays counts: the caller is told after the machine was looked at."""
    ray = FakeRay(Script({1: [(OTHER, error)], 3: [(HOME, error)]}))
    assert run(ray, [1, 2, 3]) == ({2: 20}, [(3, "died"), (1, "died")])


def test_a_crash_because_the_machine_goes_is_none() -> None:
    """A worker that dies a moment before its machine is reported lost died of that."""
    ray = FakeRay(Script({1: [(OTHER, WorkerCrashedError("died")), (HOME, 10)]}))
    ray.looks_until_loss = 2
    assert run(ray, [1]) == ({1: 10}, [])


def test_an_exception_ends_the_run_and_every_task() -> None:
    """What a function raises is raised here, and what still runs is ended."""
    error = RayTaskError()
    error.cause = KeyError("mine")  # type: ignore[attr-defined]
    ray = FakeRay(Script({1: [(HOME, None)], 2: [(HOME, error)]}))
    with pytest.raises(KeyError, match="mine"):
        run(ray, [1, 2])
    assert ray.cancelled == [1]


def test_a_failed_cluster_is_no_slides_fault() -> None:
    """Anything else that Ray says ends the run with what to do."""
    ray = FakeRay(Script({1: [(HOME, RayError("no environment"))]}))
    with pytest.raises(ClusterError, match="no environment; check that every machine"):
        run(ray, [1])


def test_what_takes_too_long_is_ended_and_replaced() -> None:
    """The limit sees what runs and since when; what it names is ended, and its replacement runs."""
    seen: list[float] = []

    class Limit:
        def over(self, begun: Sequence[tuple[int, float]]) -> Sequence[int]:
            seen.extend(seconds for item, seconds in begun if item == 1)
            return [item for item, seconds in begun if seconds > 20]

        def without(self, item: int) -> int | None:
            return 7

    ray = FakeRay(Script({1: [(OTHER, None)]}))
    assert run(ray, [1, 2], time_limit=Limit()) == ({2: 20, 7: 70}, [])
    assert ray.cancelled == [1]
    assert seen == sorted(seen) and seen[0] < 20 < seen[-1]


def test_a_hundred_thousand_items_are_not_in_flight() -> None:
    """On two cores four tasks are handed over at most, and items are taken as they are needed."""
    taken: list[int] = []
    ray = FakeRay(Script({}))
    items = (taken.append(item) or item for item in range(100_000))  # type: ignore[func-returns-value]
    results = RayRun[int, object](
        ray,
        abs,
        items,
        workers=None,
        memory=None,
        on_crash=lambda *_: None,
        on_wait=lambda: None,
        time_limit=None,
    ).results()
    for _ in range(1000):
        next(results)
    assert len(taken) <= 1000 + 2 + QUEUED
    assert ray.most == 2 + QUEUED


def test_workers_follow_the_cluster() -> None:
    """Where machines join, more tasks are handed over; --workers limits them."""
    ray = FakeRay(Script({}))
    settings: dict[str, Any] = {"memory": None, "on_crash": None, "on_wait": lambda: None, "time_limit": None}
    results = RayRun[int, object](ray, abs, iter(range(1000)), workers=None, **settings).results()
    next(results)
    assert ray.most == 2 + QUEUED
    ray.nodes_now["third"] = 8
    for _ in range(50):
        next(results)
    assert ray.most == 10 + QUEUED
    assert [in_flight(10, None), in_flight(10, 3), in_flight(0, None)] == [10 + QUEUED, 3, 1 + QUEUED]
    assert [in_flight(4, 4), in_flight(4, 64)] == [4 + QUEUED] * 2
    assert in_flight(100_000, None) == MOST_IN_FLIGHT


def test_memory_is_reserved_in_steps() -> None:
    """100 MB become two steps of 64, more than the largest machine has becomes what it has."""
    ray = FakeRay(Script({}))
    run(ray, [1, 2, 3], memory=lambda item: {1: 0, 2: 100 * MB, 3: 5000 * MB}[item])
    assert ray.memories == [None, 2 * MEMORY_STEP, 1024 * MB]
    assert reservation(1, 10**12) == MEMORY_STEP


def test_what_waits_for_a_machine_that_is_gone_is_handed_over_anew() -> None:
    """A task that no machine has the memory for any more is asked for again with what there is."""
    ray = FakeRay(Script({1: [("", None), (HOME, 10)]}))
    results = RayRun[int, object](
        ray,
        abs,
        [1],
        workers=None,
        memory=lambda _: 900 * MB,
        on_crash=lambda *_: None,
        on_wait=lambda: setattr(ray, "memory", 500 * MB),
        time_limit=None,
    ).results()
    assert list(results) == [(1, 10)]
    assert ray.memories == [15 * MEMORY_STEP, 500 * MB]


def test_machines_that_were_lost_do_not_count() -> None:
    """The cores and the memory of a machine that is gone, and the memory of one without cores, serve no task."""
    nodes = [
        {"NodeID": "a", "Alive": True, "Resources": {"CPU": 4.0, "memory": 8e9}},
        {"NodeID": "b", "Alive": False, "Resources": {"CPU": 64.0, "memory": 9e10}},
        {"NodeID": "c", "Alive": True, "Resources": {}},
        {"NodeID": "head", "Alive": True, "Resources": {"CPU": 0.0, "memory": 6e10}},
    ]
    found = machines(nodes)
    assert (found.alive, found.cores, found.largest_memory) == ({"a", "c", "head"}, 4, 8_000_000_000)


def test_waiting_for_what_no_machine_has_free_is_told_once() -> None:
    """Where nothing begins for a minute a person hears why, once; the run goes on when something does."""
    told: list[str] = []
    ray = FakeRay(Script({1: [("", None)]}))
    waits = count()

    def wait() -> None:
        if next(waits) == 500:
            (handle,) = ray.alive
            handle.says.append(7)

    waiting = RayRun[int, object](
        ray,
        abs,
        [1],
        workers=None,
        memory=lambda _: 100 * MB,
        on_crash=lambda *_: None,
        on_wait=wait,
        time_limit=None,
        say=told.append,
    )
    assert list(waiting.results()) == [(1, 7)]
    (words,) = told
    assert "one core and 128 MB" in words
    assert "cores of the cluster: 2, machines: 2, each with at most 1024 MB" in words


def test_work_is_no_waiting() -> None:
    """While a task is at work, however long, nobody is told that others wait."""
    told: list[str] = []

    class Limit:
        def over(self, begun: Sequence[tuple[int, float]]) -> Sequence[int]:
            return [item for item, seconds in begun if seconds > 500]

        def without(self, item: int) -> int | None:
            return None

    ray = FakeRay(Script({1: [(HOME, None)]}))
    assert run(ray, [1], time_limit=Limit(), say=told.append) == ({}, [])
    assert told == []
