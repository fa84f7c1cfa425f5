"""Slides that bring the process that reads them down, or take too long: one more attempt, then listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kdtrain.predict.failure import Failure
from kdtrain.predict.read_slide import ReadJob

ATTEMPTS = 2
WORKER_BYTES = 1024**3
"""What a process that reads a slide takes at most, of any size (slideprep's own bound)."""


class ReadFaults:
    """Decides what becomes of such slides.

    Args:
        minutes: How long a slide may take; 0 for any time.

    Attributes:
        failures: Slides that were given up.
    """

    def __init__(self, minutes: float) -> None:
        self._minutes = minutes
        self.failures: list[Failure] = []

    def memory(self, job: ReadJob) -> int:
        """Bytes to reserve: more where too little may have been what ended the first attempt."""
        return WORKER_BYTES * (1 + job.attempt)

    def crashed(self, job: ReadJob, reason: str) -> ReadJob | None:
        """Once more, then never."""
        if job.attempt + 1 < ATTEMPTS:
            return replace(job, attempt=job.attempt + 1)
        text = (
            f"slide '{job.file.name}' brought its worker process down {ATTEMPTS} times ({reason}); the file is "
            "probably damaged, or too large for this machine's memory"
        )
        self.failures.append(Failure(slide=job.file.name, region=None, stage="crash", reason=text))
        return None

    def over(self, begun: Sequence[tuple[ReadJob, float]]) -> Sequence[ReadJob]:
        """Slides that have been read for longer than they may."""
        return [job for job, seconds in begun if 0 < self._minutes * 60 <= seconds]

    def without(self, job: ReadJob) -> None:
        """Nothing is left of the task."""
        text = (
            f"slide '{job.file.name}' was not read within {self._minutes:g} minutes and was given up; check the file "
            "and the storage it lies on, or give it more time with --slide-minutes (0: no limit)"
        )
        self.failures.append(Failure(slide=job.file.name, region=None, stage="crash", reason=text))
