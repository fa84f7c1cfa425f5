"""What may start next, what is skipped because what it needs failed: pure, no process and no file.

Runs start in the plan's order as soon as the networks they need are there, so teachers, which all wait for, come first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from kdtrain.sweep.graph import PlannedRun

State = Literal["waiting", "running", "finished", "failed", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a run stands.

    Attributes:
        state: waiting also holds for a run that nobody asked for now.
        reason: Why it failed or was skipped.
        network: Whether its network is there, for those that need it; a run may fail after that, while measuring.
    """

    state: State
    reason: str = ""
    network: bool = False


class Standings:
    """The standing of every run of a sweep, and what follows from it.

    Args:
        runs: Each after those that it needs.
        standings: Standings of every run, by name, as the disk has it: finished or waiting.
        wanted: Names of those to complete; what they need is completed as well.
    """

    def __init__(
        self, runs: Sequence[PlannedRun], standings: Mapping[str, Standing], wanted: Iterable[str]
    ) -> None:
        self._runs = {run.name: run for run in runs}
        self._standings = dict(standings)
        self._wanted = self._with_needs(wanted)

    def __getitem__(self, name: str) -> Standing:
        return self._standings[name]

    @property
    def wanted(self) -> list[str]:
        """Names of the runs to complete, in order."""
        return [name for name in self._runs if name in self._wanted]

    @property
    def done(self) -> bool:
        """Whether nothing runs and nothing more can start."""
        return not self.running and self.ready() is None

    @property
    def running(self) -> list[str]:
        """Names of what runs now."""
        return [name for name, standing in self._standings.items() if standing.state == "running"]

    def ready(self) -> str | None:
        """The next run to start, or None."""
        for name in self.wanted:
            needs = self._runs[name].depends_on
            can_start = self[name].network or all(self[need].network for need in needs)
            if self[name].state == "waiting" and can_start:
                return name
        return None

    def begin(self, name: str) -> None:
        """A run has started."""
        assert self[name].state == "waiting"
        self._standings[name] = replace(self[name], state="running")

    def finish(self, name: str) -> None:
        """A run is trained and measured."""
        self._standings[name] = Standing(state="finished", network=True)

    def fail(self, name: str, reason: str, *, network: bool = False) -> list[str]:
        """A run has failed.

        Args:
            name: Name of the run.
            reason: Why.
            network: Whether its network is there all the same.

        Returns:
            Names of the runs that are skipped because they need its network.
        """
        self._standings[name] = Standing(state="failed", reason=reason, network=network)
        return [] if network else self._skip_dependents(name)

    def _skip_dependents(self, name: str) -> list[str]:
        skipped = []
        for other in self.wanted:
            if name in self._runs[other].depends_on and self[other].state == "waiting":
                why = "failed" if self[name].state == "failed" else "was skipped"
                self._standings[other] = Standing(state="skipped", reason=f"needs {name}, which {why}")
                skipped += [other, *self._skip_dependents(other)]
        return skipped

    def _with_needs(self, wanted: Iterable[str]) -> set[str]:
        found = set(wanted)
        for run in reversed(self._runs.values()):
            # A network that is there needs no measuring for the sake of others.
            if run.name in found and not self[run.name].network:
                found |= {need for need in run.depends_on if not self[need].network}
        return found
