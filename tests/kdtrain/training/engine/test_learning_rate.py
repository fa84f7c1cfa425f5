from __future__ import annotations

import math

import pytest

from kdtrain.training.engine.learning_rate import LearningRateSchedule, learning_rate_factor


def factors(schedule: LearningRateSchedule, steps: range) -> list[float]:
    """Factors of several steps."""
    return [learning_rate_factor(schedule, step) for step in steps]


def test_constant_is_one():
    """Without warm-up a constant schedule never changes the learning rate."""
    assert factors(LearningRateSchedule(), range(3)) == [1, 1, 1]


def test_warmup_rises_linearly_and_hands_over():
    """Four warm-up steps have a quarter, a half, three quarters and all; what follows starts at all."""
    schedule = LearningRateSchedule(kind="cosine", warmup_steps=4, total_steps=8, final_factor=0)
    assert factors(schedule, range(5)) == [0.25, 0.5, 0.75, 1, 1]


def test_cosine_goes_half_way_at_half_time_and_stays_at_its_end():
    """Cosine is at the mean of 1 and final_factor half-way, at final_factor at the end, and beyond."""
    schedule = LearningRateSchedule(kind="cosine", total_steps=10, final_factor=0.2)
    assert factors(schedule, range(0, 21, 5)) == pytest.approx([1, 0.6, 0.2, 0.2, 0.2])
    assert learning_rate_factor(schedule, 2) == pytest.approx(0.2 + 0.8 * (1 + math.cos(0.2 * math.pi)) / 2)


def test_exponential_falls_by_one_ratio():
    """Exponential to 0.01 in 10 steps multiplies by the same number at every step, 0.1 in five."""
    schedule = LearningRateSchedule(kind="exponential", total_steps=10, final_factor=0.01)
    assert factors(schedule, range(0, 16, 5)) == pytest.approx([1, 0.1, 0.01, 0.01])


def test_step_drops_every_so_often_after_the_warmup():
    """The factor falls to a tenth after every three steps, counted from the end of the warm-up."""
    schedule = LearningRateSchedule(kind="step", warmup_steps=1, step_every=3, step_factor=0.1)
    assert factors(schedule, range(8)) == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "linear"}, "schedule kind is 'linear'; choose one of constant, cosine, step, exponential"),
        ({"warmup_steps": -1}, r"--warmup-steps \(warmup_steps\) is -1"),
        (
            {"kind": "cosine"},
            r"the run has 0 steps and --warmup-steps .* is 0; a cosine schedule needs steps after",
        ),
        ({"kind": "cosine", "total_steps": 5, "warmup_steps": 5}, "needs steps after its warm-up"),
        ({"total_steps": 5, "warmup_steps": 6}, "is 6, beyond the 5 steps of the run.*give at most 5"),
        ({"kind": "cosine", "total_steps": 5, "final_factor": 2.0}, "0 <= final_factor <= 1"),
        ({"kind": "exponential", "total_steps": 5, "final_factor": 0.0}, "0 < final_factor <= 1"),
        (
            {"kind": "step"},
            r"--step-every \(step_every\) is 0 and step_factor 0.1; a step schedule needs",
        ),
    ],
)
def test_undefined_schedules_are_refused(fields, message):
    """A schedule that has no value at some step is refused with the field and its bounds."""
    with pytest.raises(ValueError, match=message):
        LearningRateSchedule(**fields)
