"""Which runs a recipe means and which need which: pure, the same for the same recipe.

In: a recipe, and what is known of a teacher that exists. Out: runs in an order in which each comes after those that it
needs: teachers first, because all wait for them; then seed by seed, high magnifications before low ones, because they
take longest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kdtrain.errors import UsageError
from kdtrain.sweep.grid import variants
from kdtrain.sweep.recipe import CONFIGS, TEACHER, MethodRecipe, Recipe

RUNS = "runs"
"""Subfolder of a sweep."""


@dataclass(frozen=True, kw_only=True)
class ExistingTeacher:
    """A teacher that was trained before.

    Attributes:
        folder: Its run.
        magnification: Magnification of its images.
        seed: It was trained with.
    """

    folder: Path
    magnification: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        name: Unique, safe as a file name: "kd-1.25x-seed0".
        folder: Relative to the sweep's folder; absolute for a run that exists elsewhere.
        method: Label in tables.
        phase: teacher, baseline, distill or finetune.
        magnification: Magnification of its images.
        seed: Seed of weights, order and augmentation.
        settings: Settings of its phase, as the recipe gives them.
        common: Names of those that come from the recipe's 'settings', for messages.
        listed: Names of those that come from a list, which is there to compare its values.
        section: Key of the recipe that asks for it, for messages.
        depends_on: Names of the runs whose networks it needs: a teacher, or a student.
        exists: It was trained before this sweep, and is only measured.
        fold: That it is tested on, from 1; None where the set's own splits are.
    """

    name: str
    folder: str
    method: str
    phase: str
    magnification: float
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    common: frozenset[str] = frozenset()
    listed: frozenset[str] = frozenset()
    section: str
    depends_on: tuple[str, ...] = ()
    exists: bool = False
    fold: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Method:
    label: str
    key: str
    recipe: MethodRecipe
    magnifications: tuple[float, ...]
    settings: Mapping[str, Any]
    depth: int
    number: int


def plan_runs(
    recipe: Recipe,
    existing: ExistingTeacher | None = None,
    source_caches: frozenset[str] = frozenset(),
) -> tuple[PlannedRun, ...]:
    """All runs of a recipe, each after those that it needs.

    Args:
        recipe: What was asked for.
        existing: The teacher that ``teacher.run`` names, if it does.
        source_caches: Teacher caches that are of no run, as the recipe names them.

    Raises:
        UsageError: A method needs a teacher or a student that is not there, methods need each other in a circle, or
            two runs would have one name.
    """
    if recipe.folds is not None and existing is not None:
        raise UsageError(
            f"teacher.run {existing.folder}: with folds, each fold has a teacher of its own, for one that exists may "
            "have learnt from patients that a fold tests; leave 'run' out, and the sweep trains them"
        )
    methods = _expanded(recipe)
    _check_labels(recipe, methods)
    teachers = _teachers(recipe, existing)
    runs = list({run.name: run for run in teachers.values()}.values())
    for seed in recipe.seeds:
        runs += _runs_of_seed(recipe, methods, seed, teachers.get(seed), source_caches)
    _check_names(runs)
    named = tuple(replace(run, common=_common(recipe, run)) for run in runs)
    return named if recipe.folds is None else tuple(_in_folds(named, recipe.folds.count))


def _in_folds(runs: Sequence[PlannedRun], count: int) -> Iterator[PlannedRun]:
    """Every run once for each fold, with a teacher of the same fold."""
    for run in runs:
        for fold in range(1, count + 1):
            yield replace(
                run,
                name=f"{run.name}-fold{fold}",
                folder=f"{run.folder}-fold{fold}",
                depends_on=tuple(f"{name}-fold{fold}" for name in run.depends_on),
                fold=fold,
            )


def slug(label: str) -> str:
    """A label as a part of a file name: "KD (ADv1)" is "kd-adv1"."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")


def run_name(label: str, magnification: float, seed: int) -> str:
    """Name of a run: "kd-adv1-1.25x-seed0"."""
    return f"{slug(label)}-{magnification:g}x-seed{seed}"


def alike(run: PlannedRun, runs: Path) -> list[Path]:
    """Folders of a sweep's runs that differ from this one in the seed or the fold, itself among them, if begun.

    Args:
        run: As planned.
        runs: The folder of the sweep's runs.
    """
    return sorted(runs.glob(f"{slug(run.method)}-{run.magnification:g}x-seed*"))


def _teachers(recipe: Recipe, existing: ExistingTeacher | None) -> dict[int, PlannedRun]:
    """The teacher of each seed; empty where the recipe has none."""
    teacher = recipe.teacher
    if teacher is None:
        return {}
    if existing is not None:
        run = PlannedRun(
            name=run_name(TEACHER, existing.magnification, existing.seed),
            folder=str(existing.folder),
            method=TEACHER,
            phase="teacher",
            magnification=existing.magnification,
            seed=existing.seed,
            section="teacher",
            exists=True,
        )
        return dict.fromkeys(recipe.seeds, run)
    settings = _settings("teacher", recipe.settings, teacher.settings)
    seeds = {seed: seed if teacher.seed is None else teacher.seed for seed in recipe.seeds}
    planned = {
        own: _planned(TEACHER, "teacher", teacher.magnification, own, settings, "teacher")
        for own in dict.fromkeys(seeds.values())
    }
    return {seed: planned[own] for seed, own in seeds.items()}


def _planned(
    label: str, phase: str, magnification: float, seed: int, settings: Mapping[str, Any], section: str
) -> PlannedRun:
    name = run_name(label, magnification, seed)
    return PlannedRun(
        name=name,
        folder=f"{RUNS}/{name}",
        method=label,
        phase=phase,
        magnification=magnification,
        seed=seed,
        settings=settings,
        section=section,
    )


def _settings(phase: str, common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    fields = set(CONFIGS[phase].model_fields)
    if phase == "distill":
        fields.remove("model")  # left out, it is the teacher's, to which this setting goes
    return {name: value for name, value in common.items() if name in fields} | dict(own)


def _common(recipe: Recipe, run: PlannedRun) -> frozenset[str]:
    """Names of a run's settings that stand under 'settings' of the recipe."""
    own = recipe.teacher if run.phase == "teacher" else recipe.methods[run.section.removeprefix("methods.")]
    assert own is not None
    lists = own.lists if isinstance(own, MethodRecipe) else {}
    return frozenset(recipe.settings) - {*own.settings, *lists}


def _runs_of_seed(
    recipe: Recipe,
    methods: Sequence[_Method],
    seed: int,
    teacher: PlannedRun | None,
    source_caches: frozenset[str],
) -> Iterator[PlannedRun]:
    wanted = [(m.depth, -x, m.number, m, x) for m in methods for x in m.magnifications]
    for _, _, _, method, magnification in sorted(wanted, key=lambda row: row[:3]):
        phase, section = method.recipe.phase, f"methods.{method.key}"
        run = _planned(method.label, phase, magnification, seed, method.settings, section)
        run = replace(run, listed=frozenset(method.recipe.lists))
        if phase == "distill" and str(method.settings.get("teacher_cache")) not in source_caches:
            if teacher is None:
                raise UsageError(f"{section} distils, and the recipe has no 'teacher'; add that section")
            run = replace(run, depends_on=(teacher.name,))
        if method.recipe.student is not None:
            run = replace(run, depends_on=(run_name(method.recipe.student, magnification, seed),))
        yield run


def _expanded(recipe: Recipe) -> list[_Method]:
    """Methods without lists, in the recipe's order, with the number of methods that each is built on."""
    rows = []
    for label, method in recipe.methods.items():
        common = _settings(method.phase, recipe.settings, method.settings)
        for said, settings in variants(method.lists):
            rows.append((label + said, label, method, common | settings))
    by_label = {label: method for label, _, method, _ in rows}
    _check_twice([label for label, *_ in rows], "methods", "give them other labels")
    return [
        _Method(
            label=label,
            key=key,
            recipe=method,
            magnifications=_magnifications(label, by_label, recipe),
            settings=settings,
            depth=len(_students(label, by_label)),
            number=number,
        )
        for number, (label, key, method, settings) in enumerate(rows)
    ]


def _students(label: str, methods: Mapping[str, MethodRecipe]) -> list[str]:
    """The methods that one is built on, nearest first."""
    chain: list[str] = []
    student = methods[label].student
    while student is not None:
        if student not in methods:
            there = ", ".join(repr(name) for name in methods)
            raise UsageError(f"methods.{label}.student: there is no method {student!r}; there is {there}")
        if student == label or student in chain:
            circle = " -> ".join([label, *chain, student])
            raise UsageError(f"methods.{label}.student: the methods need each other in a circle: {circle}")
        chain.append(student)
        student = methods[student].student
    return chain


def _magnifications(label: str, methods: Mapping[str, MethodRecipe], recipe: Recipe) -> tuple[float, ...]:
    students = _students(label, methods)
    own = methods[label].magnifications
    if not students:
        return own or recipe.magnifications
    there = _magnifications(students[0], methods, recipe)
    missing = [f"{m:g}x" for m in own or () if m not in there]
    if missing:
        raise UsageError(
            f"methods.{label}.magnifications: {students[0]!r}, whose students are fine-tuned, has none at "
            f"{', '.join(missing)}; leave them out here or add them there"
        )
    return own or there


def _check_labels(recipe: Recipe, methods: Sequence[_Method]) -> None:
    labels = {method.label for method in methods}
    for label in labels:
        if not slug(label) or slug(label) == slug(TEACHER):
            raise UsageError(f"methods.{label}: no label of a method, for it names folders; choose another")
    for label in recipe.paper:
        if label not in labels | {TEACHER}:
            there = ", ".join(repr(method.label) for method in methods)
            raise UsageError(f"paper.{label}: there is no such method; there is {TEACHER!r}, {there}")


def _check_names(runs: Sequence[PlannedRun]) -> None:
    _check_twice(
        [run.name for run in runs],
        "runs",
        "give their methods labels that differ in the letters a to z or digits",
    )


def _check_twice(names: Sequence[str], what: str, remedy: str) -> None:
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise UsageError(f"two {what} would both be called {twice[0]!r}; {remedy}")
