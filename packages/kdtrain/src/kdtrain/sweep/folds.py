"""The folds of a sweep: read from its folder or made anew, and completed before its first run starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from kdtrain.config.phases import PhaseConfig
from kdtrain.data.folds.assign import alike_in_several
from kdtrain.data.folds.document import FOLDS_FILE, Folds, read_folds, write_folds
from kdtrain.data.folds.opening import fold_of
from kdtrain.data.folds.scan import labelled_splits, make_folds, with_colours
from kdtrain.data.folds.view import left_out, view_of
from kdtrain.data.stream import class_counts
from kdtrain.errors import UsageError
from kdtrain.screen import say
from kdtrain.shards.index import Index
from kdtrain.sweep.jobs import Job
from kdtrain.sweep.recipe import FoldsRecipe, Recipe
from kdtrain.text import plural

_SHOWN = 3
"""Groups of names in a message."""


def planned_folds(recipe: Recipe, index: Index, out: Path, record: Mapping[str, Any] | None) -> Folds | None:
    """The folds of a sweep; nothing is written.

    Args:
        recipe: What was asked for.
        index: The shard set.
        out: Folder of the sweep.
        record: Its sweep.json, if there is one.

    Returns:
        None where the recipe has none.

    Raises:
        UsageError: The folder holds a sweep of other folds; or the set cannot be split so.
        ShardError: The set is damaged.
    """
    _check_same(recipe.folds, record, out)
    if recipe.folds is None:
        return None
    if recipe.evaluate.splits != ("test",):
        raise UsageError(
            f"evaluate.splits: {', '.join(recipe.evaluate.splits)}: with folds, every run is measured on the patients "
            "of its own fold, whose split is 'test'; leave 'splits' out"
        )
    wanted = recipe.folds
    splits = tuple(sorted(wanted.splits)) or labelled_splits(index)
    if (out / FOLDS_FILE).is_file():
        folds = read_folds(out / FOLDS_FILE, what="--out")
        if (folds.shard_set_sha256, folds.count, folds.seed, folds.splits) == (
            index.sha256,
            wanted.count,
            wanted.seed,
            splits,
        ):
            return folds
        raise UsageError(
            f"--out {out} was begun with {plural(folds.count, 'fold')} of another set, of this set before it changed, "
            "or with another seed; what is tested in one would be trained on in the other: give another --out"
        )
    return make_folds(index, count=wanted.count, seed=wanted.seed, splits=splits)


def folds_record(recipe: FoldsRecipe | None) -> dict[str, Any] | None:
    """What sweep.json keeps of them."""
    return None if recipe is None else recipe.model_dump(mode="json")


def _check_same(recipe: FoldsRecipe | None, record: Mapping[str, Any] | None, out: Path) -> None:
    if record is None:
        return
    before, now = record.get("folds"), folds_record(recipe)
    if before == now:
        return
    said = "no folds" if before is None else f"{before.get('count')} folds (seed {before.get('seed')})"
    again = "without --folds" if before is None else f"with --folds {before.get('count')}"
    raise UsageError(
        f"--out {out} holds a sweep of {said}, and runs that are tested on other patients are never mixed; run it "
        f"{again} as it was begun, or give another --out"
    )


def planned_view(config: PhaseConfig, folds: Folds, index: Index) -> tuple[Index, str | None]:
    """The set as a run will see it, and what should be known of it.

    Raises:
        UsageError: Nothing would be left to learn from, or nothing of a class.
    """
    fold = fold_of(config, folds, index)
    view = view_of(index, fold, planned=True)
    held = {name for name, n in class_counts(view, "test").items() if n}
    learnt = class_counts(view, "train")
    if missing := [name for name, n in learnt.items() if not n and name in held]:
        raise UsageError(
            f"{fold.title} leaves no patient of class {', '.join(missing)} to learn from, for patients have several "
            "classes here; give fewer folds"
        )
    parts = {part for name in config.train_on for part in view.document.sets.get(name, ())}
    there = {name: count for name, count in left_out(index, fold).items() if name in parts}
    if not there:
        return view, None
    listed = ", ".join(f"{plural(count, 'sample')} of {name}" for name, count in there.items())
    return view, f"{fold.title} leaves out {listed}, whose patients are tested or validated on"


def complete_folds(folds: Folds, index: Index, out: Path, jobs: Sequence[Job]) -> None:
    """Write folds.json, with the colours that the jobs need.

    Raises:
        ShardError: The set is damaged.
        OSError: It cannot be written.
    """
    wanted = {job.network.magnification for job in jobs}
    workers = max((job.config.workers for job in jobs if job.config is not None), default=0)
    if not (out / FOLDS_FILE).is_file():
        write_folds(out / FOLDS_FILE, folds)
        say(
            f"folds   {out / FOLDS_FILE}; their colours are read once, which takes as long as an epoch's reading",
            err=True,
        )
    complete = with_colours(folds, index, wanted, workers=workers)
    if complete is not folds:
        write_folds(out / FOLDS_FILE, complete)


def alike_warning(folds: Folds) -> str | None:
    """What a person should look at before trusting the folds; None for nothing."""
    groups = alike_in_several(folds.patients)
    if not groups:
        return None
    shown = "; ".join(" and ".join(map(repr, names)) for names in groups[:_SHOWN])
    more = f"; and {len(groups) - _SHOWN} more" if len(groups) > _SHOWN else ""
    return (
        f"patients whose names are nearly alike are in several folds ({shown}{more}): if they are one person, a "
        "network is tested on whom it has seen; write one person's name in one way in labels.csv and build the set "
        "again"
    )


def folds_table(folds: Folds, classes: Sequence[str]) -> Table:
    """Who is tested in which fold: patients, by class, and samples."""
    table = Table(
        title=f"{folds.count} folds of {plural(len(folds.patients), 'patient')} ({', '.join(folds.splits)}; seed "
        f"{folds.seed})",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for heading in ("fold", "patients", *classes, "samples"):
        table.add_column(Text(heading), justify="right")
    for row in fold_rows(folds, classes):
        table.add_row(*(f"{value:,}" for value in row))
    return table


def fold_rows(folds: Folds, classes: Sequence[str]) -> list[tuple[int, ...]]:
    """(fold, patients, patients of each class, samples) of every fold; a patient of two classes counts for both."""
    labels: dict[str, set[int]] = {name: set() for name in folds.patients}
    samples = [0] * folds.count
    for rows in folds.samples.values():
        for slide, label in rows:
            if label is not None:
                patient = folds.slides[slide].patient
                labels[patient].add(label)
                samples[folds.patients[patient] - 1] += 1
    found = []
    for number in range(1, folds.count + 1):
        own = folds.members(number)
        of_class = [sum(k in labels[name] for name in own) for k in range(len(classes))]
        found.append((number, len(own), *of_class, samples[number - 1]))
    return found
