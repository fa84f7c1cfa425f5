"""What is known of a Ray cluster's machines, and how many tasks of what memory are asked of them: pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_IN_FLIGHT = 2048
"""Tasks handed to Ray at a time at most, on a cluster of any size: what bounds the memory of the process that plans."""

QUEUED = 2
"""Tasks handed to Ray beyond those that can run, so that a worker which has finished need not wait for us."""

IDLE_SECONDS = 60.0
"""Where so long tasks wait and none is at work, a person is told what the run waits for."""

MEMORY_STEP = 64 * 1024 * 1024
"""Reservations are rounded up to this: Ray keeps books for every amount that it has ever seen."""


@dataclass(frozen=True, kw_only=True)
class Machines:
    """What is known of a cluster.

    Attributes:
        alive: Identifiers of the machines that are there.
        cores: Cores of all of them together.
        largest_memory: Bytes that the machine with the most lends to tasks, of those that have a core.
    """

    alive: frozenset[str]
    cores: int
    largest_memory: int


def machines(nodes: Iterable[Mapping[str, Any]]) -> Machines:
    """Sum up what ``ray.nodes()`` returns; machines that were lost are in it too."""
    alive = [node for node in nodes if node["Alive"]]
    return Machines(
        alive=frozenset(node["NodeID"] for node in alive),
        cores=int(sum(node["Resources"].get("CPU", 0) for node in alive)),
        largest_memory=int(
            max(
                (n["Resources"].get("memory", 0) for n in alive if n["Resources"].get("CPU", 0) >= 1),
                default=0,
            )
        ),
    )


def reservation(needed: int, largest_memory: int) -> int:
    """Bytes to reserve: rounded up, and no more than the largest machine has, where the task then runs alone."""
    return min(-(-needed // MEMORY_STEP) * MEMORY_STEP, largest_memory)


def waiting_words(cluster: Machines, memory: int) -> str:
    """What a person is told where tasks wait, each for a core and so many bytes, and none is at work."""
    needed, there = "one core", ""
    if memory:
        needed += f" and {memory / 1024**2:.0f} MB"
        there = f", each with at most {cluster.largest_memory / 1024**2:.0f} MB for tasks"
    return (
        f"No task has begun for {IDLE_SECONDS:.0f} seconds: each needs {needed}, and no machine has that free (cores "
        f"of the cluster: {cluster.cores}, machines: {len(cluster.alive)}{there}). 'ray status' shows what holds them; "
        "the work goes on as soon as a machine is free, or joins."
    )


def in_flight(cores: int, workers: int | None) -> int:
    """Tasks to hand to Ray at a time on so many cores; ``workers`` limits how many run."""
    if workers is not None and workers < cores:
        return min(workers, MOST_IN_FLIGHT)  # none more: there are cores for it
    return min(max(1, cores) + QUEUED, MOST_IN_FLIGHT)
