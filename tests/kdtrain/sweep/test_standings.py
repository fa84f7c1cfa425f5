"""What may start, what is skipped, and what a pattern brings with it."""

from __future__ import annotations

import pytest

from kdtrain.sweep.graph import PlannedRun
from kdtrain.sweep.standings import Standing, Standings

NEEDS = {"teacher": (), "baseline": (), "kd": ("teacher",), "tuned": ("kd",)}


def runs() -> list[PlannedRun]:
    """A teacher, a baseline, a student, and the student fine-tuned."""
    return [
        PlannedRun(
            name=name,
            folder=name,
            method=name,
            phase="teacher",
            magnification=5,
            seed=0,
            section="s",
            depends_on=needs,
        )
        for name, needs in NEEDS.items()
    ]


def schedule(*wanted: str, finished: tuple[str, ...] = (), measured: bool = True) -> Standings:
    """With some runs finished, or trained and not measured."""
    there = Standing(state="finished" if measured else "waiting", network=True)
    standings = {name: there if name in finished else Standing(state="waiting") for name in NEEDS}
    return Standings(runs(), standings, wanted or NEEDS)


def drain(plan: Standings) -> list[str]:
    """Start and finish one run after the other; their names in order."""
    order = []
    while (name := plan.ready()) is not None:
        plan.begin(name)
        plan.finish(name)
        order.append(name)
    return order


def test_each_run_comes_after_those_it_needs():
    """One at a time, the plan's order is kept."""
    assert drain(schedule()) == ["teacher", "baseline", "kd", "tuned"]


def test_what_does_not_wait_runs_meanwhile():
    """While the teacher trains, the baseline may start and the student may not."""
    plan = schedule()
    plan.begin("teacher")
    assert plan.ready() == "baseline"
    plan.begin("baseline")
    assert plan.ready() is None
    assert not plan.done


def test_a_failure_skips_what_needs_it_and_nothing_else():
    """The student is skipped, and so is what builds on it; the baseline completes."""
    plan = schedule()
    plan.begin("teacher")
    assert plan.fail("teacher", "no memory") == ["kd", "tuned"]
    assert plan["kd"] == Standing(state="skipped", reason="needs teacher, which failed")
    assert plan["tuned"].reason == "needs kd, which was skipped"
    assert drain(plan) == ["baseline"]
    assert plan.done


def test_a_run_that_failed_after_training_still_serves_others():
    """Where only measuring failed, the network is there."""
    plan = schedule()
    plan.begin("teacher")
    assert plan.fail("teacher", "damaged test split", network=True) == []
    assert drain(plan) == ["baseline", "kd", "tuned"]
    assert plan["teacher"].state == "failed"


@pytest.mark.parametrize(
    ("finished", "order"),
    [((), ["teacher", "kd"]), (("teacher",), ["kd"]), (("teacher", "kd"), [])],
)
def test_asking_for_one_run_brings_what_it_needs(finished, order):
    """And nothing that is there already, nor anything else."""
    wanted = [] if "kd" in finished else ["kd"]
    plan = Standings(
        runs(),
        {
            n: Standing(state="finished", network=True) if n in finished else Standing(state="waiting")
            for n in NEEDS
        },
        wanted,
    )
    assert drain(plan) == order


def test_a_trained_run_is_measured_without_its_teacher():
    """Its own network is there, so it waits for nobody."""
    plan = schedule("kd", finished=("kd",), measured=False)
    assert plan.wanted == ["kd"]
    assert plan.ready() == "kd"
