"""A slide, or a region of it, that was not predicted, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stage = Literal["open", "magnification", "tissue", "read", "outside", "memory", "crash"]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One line of failures.csv.

    Attributes:
        slide: Name of the slide or file.
        region: Number of the region; None for the slide as a whole.
        stage: What was being done.
        reason: Rule, reason, what to do.
    """

    slide: str
    region: int | None
    stage: Stage
    reason: str


class SlideError(Exception):
    """A slide cannot be predicted: damaged, of unknown magnification, without tissue, or outside the training data.

    Attributes:
        failure: What failures.csv says of it.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        return self.failure.reason
