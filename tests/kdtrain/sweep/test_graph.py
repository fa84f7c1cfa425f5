"""Which runs a recipe means: names, order, needs and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdtrain.errors import UsageError
from kdtrain.sweep.graph import ExistingTeacher, plan_runs, slug
from kdtrain.sweep.recipe import Recipe

METHODS = {"Baseline": {"phase": "baseline"}, "KD (ADv1)": {"phase": "distill", "train_on": "aux1"}}


def recipe(**more: Any) -> Recipe:
    """Two methods at two magnifications."""
    given = {"title": "t", "magnifications": [2.5, 5], "teacher": {"seed": 7}, "methods": METHODS}
    return Recipe(**(given | more))


def names(given: Recipe) -> list[str]:
    """Of its runs, in order."""
    return [run.name for run in plan_runs(given)]


def test_teachers_come_first_then_high_magnifications():
    """One teacher for all seeds where it has a seed; then seed by seed, from high to low."""
    assert names(recipe(seeds=[1, 0])) == [
        "teacher-10x-seed7",
        "baseline-5x-seed1",
        "kd-adv1-5x-seed1",
        "baseline-2.5x-seed1",
        "kd-adv1-2.5x-seed1",
        "baseline-5x-seed0",
        "kd-adv1-5x-seed0",
        "baseline-2.5x-seed0",
        "kd-adv1-2.5x-seed0",
    ]


def test_a_teacher_without_a_seed_is_one_for_each():
    """Each seed's students learn from the teacher of that seed."""
    runs = {run.name: run for run in plan_runs(recipe(teacher={}, seeds=[0, 1], magnifications=[5]))}
    assert list(runs)[:2] == ["teacher-10x-seed0", "teacher-10x-seed1"]
    assert runs["kd-adv1-5x-seed1"].depends_on == ("teacher-10x-seed1",)
    assert runs["baseline-5x-seed1"].depends_on == ()


def test_settings_go_to_the_phases_that_have_them():
    """A setting of all runs reaches those that know it; a method's own comes last."""
    runs = {
        run.name: dict(run.settings)
        for run in plan_runs(
            recipe(
                settings={"epochs": 3, "temperature": 2, "model": "resnet18"},
                teacher={"seed": 0, "epochs": 9},
                magnifications=[5],
            )
        )
    }
    assert runs == {
        "teacher-10x-seed0": {"epochs": 9, "model": "resnet18"},
        "baseline-5x-seed0": {"epochs": 3, "model": "resnet18"},
        "kd-adv1-5x-seed0": {"epochs": 3, "temperature": 2, "train_on": "aux1"},
    }


def test_lists_of_shapes_make_a_grid():
    """A method of each combination, whose label and folder say the shape; the paper's width and stem go unsaid."""
    method = {
        "phase": "distill",
        "output_stride": [32, "auto"],
        "width": [1, 0.5],
        "stem": ["standard", "small"],
    }
    runs = plan_runs(recipe(methods={"KD": method}, settings={"width": 0.25}, magnifications=[5]))
    assert [(run.method, run.name) for run in runs[1:]] == [
        ("KD s32", "kd-s32-5x-seed0"),
        ("KD s32 small stem", "kd-s32-small-stem-5x-seed0"),
        ("KD s32 w0.5", "kd-s32-w0-5-5x-seed0"),
        ("KD s32 w0.5 small stem", "kd-s32-w0-5-small-stem-5x-seed0"),
        ("KD auto", "kd-auto-5x-seed0"),
        ("KD auto small stem", "kd-auto-small-stem-5x-seed0"),
        ("KD auto w0.5", "kd-auto-w0-5-5x-seed0"),
        ("KD auto w0.5 small stem", "kd-auto-w0-5-small-stem-5x-seed0"),
    ]
    assert runs[4].settings == {"output_stride": 32, "width": 0.5, "stem": "small"}
    assert runs[4].common == frozenset()


def test_a_grids_method_is_fine_tuned_by_its_label():
    """Whoever wants to fine-tune one of a list names it as the tables do."""
    methods = {
        "KD": {"phase": "distill", "output_stride": [8, 4]},
        "Tuned": {"phase": "finetune", "student": "KD s8"},
    }
    runs = plan_runs(recipe(methods=methods, magnifications=[5]))
    assert runs[-1].depends_on == ("kd-s8-5x-seed0",)


def test_resizes_are_labelled_as_in_the_supplement():
    """A list makes KD, KD+MP, KD+INT and KD+MP+INT, each with its own resize."""
    method = {"phase": "distill", "resize": ["none", "maxpool", "bicubic", "maxpool+bicubic"]}
    runs = plan_runs(recipe(methods={"KD": method}, magnifications=[5]))
    assert [(run.method, run.name, run.settings.get("resize")) for run in runs[1:]] == [
        ("KD", "kd-5x-seed0", "none"),
        ("KD+MP", "kd-mp-5x-seed0", "maxpool"),
        ("KD+INT", "kd-int-5x-seed0", "bicubic"),
        ("KD+MP+INT", "kd-mp-int-5x-seed0", "maxpool+bicubic"),
    ]


def test_fine_tuning_follows_its_students():
    """It has their magnifications, needs the student of its own seed, and comes after all of them."""
    methods = {
        "Tuned": {"phase": "finetune", "student": "KD"},
        "KD": {"phase": "distill", "magnifications": [1.25]},
    }
    runs = plan_runs(recipe(methods=methods, seeds=[3]))
    assert [(run.name, run.depends_on) for run in runs[1:]] == [
        ("kd-1.25x-seed3", ("teacher-10x-seed7",)),
        ("tuned-1.25x-seed3", ("kd-1.25x-seed3",)),
    ]


def test_an_existing_teacher_is_only_measured():
    """It lies where it lies, and students need it."""
    existing = ExistingTeacher(folder=Path("/runs/t"), magnification=20.0, seed=4)
    runs = plan_runs(recipe(magnifications=[5]), existing)
    assert (runs[0].name, runs[0].folder, runs[0].exists) == ("teacher-20x-seed4", "/runs/t", True)
    assert runs[2].depends_on == ("teacher-20x-seed4",)


def tuned(student: str, **more: Any) -> dict[str, Any]:
    """A fine-tuning method."""
    return {"phase": "finetune", "student": student} | more


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"teacher": None}, "no 'teacher'"),
        ({"methods": METHODS | {"T": tuned("KD")}}, "methods.T.student: there is no method 'KD'"),
        ({"methods": {"A": tuned("B"), "B": tuned("A")}}, "A -> B -> A"),
        ({"methods": {"A": tuned("A")}}, "A -> A"),
        ({"methods": METHODS | {"T": tuned("KD (ADv1)", magnifications=[1.25])}}, "has none at 1.25x"),
        ({"methods": {"KD+MP": METHODS["Baseline"], "KD MP": METHODS["Baseline"]}}, "'kd-mp-5x-seed0'"),
        ({"methods": {"Teacher": METHODS["Baseline"]}}, "choose another"),
        ({"methods": {"蒸留": METHODS["Baseline"]}}, "choose another"),
        ({"paper": {"KD (ADv3)": {"5": {"accuracy": "1"}}}}, "paper.KD (ADv3)"),
    ],
)
def test_what_makes_no_graph_is_refused(given, said):
    """Missing teachers and students, circles, and names that collide."""
    with pytest.raises(UsageError) as raised:
        plan_runs(recipe(**given))
    assert said in str(raised.value)


def test_names_are_safe_for_files():
    """Letters, digits and hyphens remain of a label."""
    assert slug("KD (ADv2) fine-tuned / best!") == "kd-adv2-fine-tuned-best"
