"""A sweep that was checked: options and a recipe in, jobs out; nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from kdtrain.data.folds.document import Folds
from kdtrain.errors import UsageError
from kdtrain.shards.index import Index, read_index
from kdtrain.shards.locations import Location, resolved
from kdtrain.sweep.check import prepare
from kdtrain.sweep.folds import planned_folds
from kdtrain.sweep.graph import PlannedRun, plan_runs
from kdtrain.sweep.jobs import Job, existing_teacher, source_caches
from kdtrain.sweep.recipe import FoldsRecipe, Recipe, load_recipe
from kdtrain.sweep.record import read_record
from kdtrain.sweep.state import Progress, progress_of


@dataclass(frozen=True, kw_only=True)
class Options:
    """The command line.

    Attributes:
        recipe: The YAML file.
        shards: Instead of the recipe's.
        out: Instead of the recipe's.
        seeds: Instead of the recipe's.
        folds: Instead of the recipe's number of folds.
        only: Pattern of the names of the runs to complete, with what they need.
        jobs: Runs at a time on this machine.
        ray_address: Address of a cluster to run on.
        gpus_per_run: On a cluster.
        cpus_per_run: On a cluster.
        start_seconds: How long a Ray of this machine may take to start.
        as_json: Machine-readable output.
    """

    recipe: Path
    shards: Location | None = None
    out: Path | None = None
    seeds: tuple[int, ...] = ()
    folds: int | None = None
    only: str | None = None
    jobs: int = 1
    ray_address: str | None = None
    gpus_per_run: float | None = None
    cpus_per_run: int | None = None
    start_seconds: float = 120.0
    as_json: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A sweep that was checked.

    Attributes:
        recipe: With what the command line changed.
        shards: Folder of the shard set.
        out: Folder of the sweep.
        index: The shard set.
        folds: Of the set's patients; None where its own splits are trained and tested on.
        jobs: All runs, each after those that it needs.
        wanted: Names of those to complete.
    """

    recipe: Recipe
    shards: Location
    out: Path
    index: Index
    folds: Folds | None = None
    jobs: tuple[Job, ...]
    wanted: tuple[str, ...]

    def progress(self) -> dict[str, Progress]:
        """How far every run is, by name."""
        found: dict[str, Progress] = {}
        for job in self.jobs:
            there = all(found[need.name].trained for need in job.needs)
            found[job.name] = progress_of(
                job.folder,
                self.recipe.evaluate,
                self.index.sha256,
                source_there=there,
                epochs=None if job.config is None else job.config.epochs,
                measured=job.measured,
            )
        return found


def make_plan(options: Options) -> Plan:
    """Read and check everything; nothing is written.

    Raises:
        UsageError: The recipe, the shard set or the sweep's folder does not allow the sweep.
        ShardError: The shard set is damaged.
    """
    recipe = load_recipe(options.recipe)
    if options.seeds:
        recipe = recipe.model_copy(update={"seeds": tuple(dict.fromkeys(options.seeds))})
    if options.folds is not None:
        others = FoldsRecipe(count=2) if recipe.folds is None else recipe.folds
        recipe = recipe.model_copy(update={"folds": others.model_copy(update={"count": options.folds})})
    # Folds have no caches, which is said where a run's settings are read.
    caches = source_caches(recipe) if recipe.folds is None else frozenset()
    runs = plan_runs(recipe, existing_teacher(recipe), caches)
    wanted = _selected(runs, options.only)
    shards, out = options.shards or recipe.shards, options.out or recipe.out
    if shards is None or out is None:
        missing = "shards" if shards is None else "out"
        raise UsageError(f"--{missing} is missing; give it, or set '{missing}' in the recipe")
    if options.ray_address is not None:
        shards, out = resolved(shards), out.resolve()
    if isinstance(shards, Path):
        _check_folder(shards, out)
    record = read_record(out)
    index = read_index(shards)
    folds = planned_folds(recipe, index, out, record)
    jobs = prepare(runs, index, shards=shards, out=out, evaluate=recipe.evaluate, folds=folds)
    return Plan(recipe=recipe, shards=shards, out=out, index=index, folds=folds, jobs=jobs, wanted=wanted)


def _check_folder(shards: Path, out: Path) -> None:
    if not shards.is_dir():
        raise UsageError(f"--shards {shards} is no folder; give the folder of a shard set")
    if shards.resolve() in (out.resolve(), *out.resolve().parents):
        raise UsageError(
            f"--out {out} lies in the shard set {shards}, which is not written into; give another folder"
        )


def _selected(runs: Sequence[PlannedRun], only: str | None) -> tuple[str, ...]:
    names = tuple(run.name for run in runs if only is None or fnmatchcase(run.name, only))
    if not names:
        raise UsageError(
            f"--only {only} fits no run; there are {', '.join(run.name for run in runs)}; "
            "quote a pattern such as 'kd-*'"
        )
    return names
