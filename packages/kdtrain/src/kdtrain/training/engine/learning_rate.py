"""Learning-rate schedules: the number of steps taken so far in, a factor on the learning rate out.

A step is one optimizer update. Every schedule is a pure function of the step, so nothing of it needs saving and
a resumed run goes on exactly where it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from kdtrain.text import plural

# Named as on the command line and in a file, since it is not known here where a value comes from.
_WARMUP, _EVERY = "--warmup-steps (warmup_steps)", "--step-every (step_every)"
ScheduleKind = Literal["constant", "cosine", "step", "exponential"]


@dataclass(frozen=True, kw_only=True)
class LearningRateSchedule:
    """How the learning rate changes over a run; every length is in optimizer steps."""

    kind: ScheduleKind = "constant"
    """Shape after the warm-up."""
    warmup_steps: int = 0
    """Linear rise to the full learning rate: step i of w has the factor (i + 1) / w; 0 is no warm-up."""
    total_steps: int = 0
    """Length of the run, warm-up included; needed by cosine and exponential, which end there. 0: not known."""
    final_factor: float = 0.01
    """What cosine and exponential end at; exponential needs more than 0."""
    step_every: int = 0
    """Steps between two drops; needed by step."""
    step_factor: float = 0.1
    """What each drop of step multiplies by."""

    def __post_init__(self) -> None:
        """Refuse a schedule that is not defined.

        Raises:
            ValueError: Names the field, what it was, and what it must be.
        """
        if self.kind not in get_args(ScheduleKind):
            raise ValueError(
                f"schedule kind is {self.kind!r}; choose one of {', '.join(get_args(ScheduleKind))}"
            )
        if self.warmup_steps < 0:
            raise ValueError(f"{_WARMUP} is {self.warmup_steps}; give 0 for none, or a number of steps")
        if 0 < self.total_steps < self.warmup_steps:
            raise ValueError(
                f"{_WARMUP} is {self.warmup_steps}, beyond the {plural(self.total_steps, 'step')} of the run, which "
                f"would never see its learning rate; give at most {self.total_steps}, or more epochs"
            )
        if self.kind in ("cosine", "exponential"):
            self._check_end()
        if self.kind == "step" and (self.step_every < 1 or not 0 < self.step_factor <= 1):
            given = f"{_EVERY} is {self.step_every} and step_factor {self.step_factor}"
            raise ValueError(f"{given}; a step schedule needs {_EVERY} >= 1 and 0 < step_factor <= 1")

    def _check_end(self) -> None:
        if self.total_steps <= self.warmup_steps:
            given = f"the run has {plural(self.total_steps, 'step')} and {_WARMUP} is {self.warmup_steps}"
            raise ValueError(f"{given}; a {self.kind} schedule needs steps after its warm-up")
        lowest_is_allowed = self.kind == "cosine"
        if not 0 <= self.final_factor <= 1 or (self.final_factor == 0 and not lowest_is_allowed):
            bounds = "0 <= final_factor <= 1" if lowest_is_allowed else "0 < final_factor <= 1"
            raise ValueError(f"final_factor is {self.final_factor}; a {self.kind} schedule needs {bounds}")


def learning_rate_factor(schedule: LearningRateSchedule, step: int) -> float:
    """Factor on the learning rate for the update that follows ``step`` updates.

    Args:
        schedule: The schedule.
        step: Updates taken so far; the first update has step 0.

    Returns:
        0 to 1. Past total_steps, cosine and exponential stay at final_factor.
    """
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    if schedule.kind == "constant":
        return 1.0
    after = step - schedule.warmup_steps
    if schedule.kind == "step":
        return float(schedule.step_factor ** (after // schedule.step_every))
    progress = min(1.0, after / (schedule.total_steps - schedule.warmup_steps))
    if schedule.kind == "exponential":
        return float(schedule.final_factor**progress)
    return schedule.final_factor + (1 - schedule.final_factor) * (1 + math.cos(math.pi * progress)) / 2
