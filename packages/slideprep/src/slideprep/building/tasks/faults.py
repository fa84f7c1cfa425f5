"""What becomes of a task whose slide brings its worker down, or takes too long to read.

A crash costs the slide one of its attempts; the task is run again with twice the memory reserved, and the slide is left
out when it has none left. A slide that is read for too long is left out at once: another attempt would take as long.
Both are listed in failures.csv, and everything else of the task is written. Time is counted from what tasks say of
themselves, in seconds since they began by a clock that nobody can set.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from slideprep.building.tasks.job import ShardJob
from slideprep.building.workspace import Workspace
from slideprep.shards.records import ATTEMPTS, crash_reason, time_reason

Note = tuple[str, int, int]
"""(slide being read, level-0 pixels read, samples written): what a shard's task says of itself."""

LOOK_SECONDS = 0.02
"""Seconds between looks at the notes, for every task at work: fifty notes a second are read at most."""


class SlideTimes:
    """How long each slide of one task has been read: the samples of several slides alternate."""

    def __init__(self) -> None:
        self._last = 0.0
        self._seconds: Counter[str] = Counter()

    def look(self, slide: str, seconds: float) -> float:
        """Count the time since the last look for the slide that is being read now.

        Args:
            slide: Its name.
            seconds: Since the task began; fewer than at the last look where it was begun anew.

        Returns:
            Seconds for which the slide has been read by this task.
        """
        if seconds < self._last:
            self._last, self._seconds = 0.0, Counter()
        self._seconds[slide] += seconds - self._last  # type: ignore[assignment]
        self._last = seconds
        return self._seconds[slide]


class ShardFaults:
    """Of tasks that write one shard each, from several slides.

    Args:
        workspace: Where the tasks leave word of what they read.
        minutes: How long a slide may take; 0 for any time.
        needed: Bytes of memory that a task needs.

    Attributes:
        notes: The latest word of each task at work, by shard.
    """

    def __init__(self, workspace: Workspace, minutes: float, needed: Callable[[ShardJob], int]) -> None:
        self._workspace = workspace
        self._minutes = minutes
        self._needed = needed
        self._count: Counter[str] = Counter()
        self._crashed_shards: set[str] = set()
        self._times: dict[str, SlideTimes] = {}
        self._looked = float("-inf")
        self.notes: Mapping[str, Note] = {}

    def memory(self, job: ShardJob) -> int:
        """Bytes to reserve for a task: more than it needs where too little may have been what ended it."""
        return self._needed(job) * (2 if job.shard.name in self._crashed_shards else 1)

    def crashed(self, job: ShardJob, reason: str) -> ShardJob:
        """Once more, then without the slide that was being read."""
        note = self._workspace.progress(job.shard.name, fresh=True)
        slide = note[0] if note is not None else job.shard.samples[0].slide
        self._count[slide] += 1
        self._crashed_shards.add(job.shard.name)
        if self._count[slide] < ATTEMPTS:
            return job
        return _leave_out(job, slide, crash_reason(slide, reason))

    def over(self, begun: Sequence[tuple[ShardJob, float]]) -> Sequence[ShardJob]:
        """Shards of which one slide has been read for longer than it may take."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS * len(begun):
            return ()
        self._looked = now
        found = {job.shard.name: self._workspace.progress(job.shard.name) for job, _ in begun}
        self.notes = {name: note for name, note in found.items() if note is not None}
        self._times = {name: self._times.get(name, SlideTimes()) for name in self.notes}
        overdue = []
        for job, seconds in begun:
            if note := self.notes.get(job.shard.name):
                taken = self._times[job.shard.name].look(note[0], seconds)
                if 0 < self._minutes * 60 <= taken and note[0] not in job.crashed:
                    overdue.append(job)
        return overdue

    def without(self, job: ShardJob) -> ShardJob:
        """The task's shard without the slide that takes too long."""
        slide = self.notes[job.shard.name][0]
        return _leave_out(job, slide, time_reason(slide, self._minutes))


def _leave_out(job: ShardJob, slide: str, reason: str) -> ShardJob:
    return replace(job, crashed={**job.crashed, slide: reason})
