"""The commands that change a finished set; what takes long to import is imported by the command that needs them.

What a person reads after a set was changed: before and after, split by split.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from slideprep.cli.exit_codes import DONE, SOME_FAILED, exit_codes
from slideprep.cli.paths import LOCAL_PATH, PATH
from slideprep.storage.places import place

if TYPE_CHECKING:
    from slideprep.growing.change import Outcome
    from slideprep.shards.format import Index, SplitEntry

_SHOWN = 8
_MEASURES = ("shards", "samples", "slides", "patients")
_KEPT = "the set is as it was, or is finished when the same command is run again"

_pseudonymise = click.option(
    "--pseudonymise",
    type=LOCAL_PATH,
    help="Mapping of a pseudonymised set: the CSV of its build.",
)
_add_class = click.option(
    "--add-class",
    "add_classes",
    multiple=True,
    help="A class that the set does not have yet; may be repeated.",
)
_abandon = click.option(
    "--abandon", is_flag=True, help="Give up another change that was begun here and not finished."
)
_scratch = click.option(
    "--scratch",
    type=LOCAL_PATH,
    help="Local folder for what is fetched or not yet uploaded, where DIRECTORY is an address.",
)


@click.command("add-slides")
@click.argument("directory")
@click.argument("slides", nargs=-1)
@click.option("--labels", help="CSV with columns slide, label, patient; optional split, mpp, objective.")
@click.option("--annotations", type=PATH, help="Folder of annotations, for a set that was built with them.")
@click.option(
    "--to", help="Set that takes all new slides: train, val, test, dev, aux1, ...  [default: assigned]"
)
@_add_class
@click.option(
    "--update-statistics",
    is_flag=True,
    help="Compute the colour statistics over all of train; may be given without SLIDES.",
)
@_pseudonymise
@click.option("--workers", type=int, help="Worker processes; 0 for none.  [default: one per core]")
@click.option("--ray-address", help="Address of a Ray cluster.  [default: this machine alone]")
@click.option(
    "--slide-minutes",
    type=float,
    help="Give a slide up that a task reads for longer; 0: never.  [default: 120]",
)
@_scratch
@_abandon
def add_slides_command(directory: str, labels: str | None, **options: Any) -> None:
    """Add SLIDES to the finished set in DIRECTORY, in new shards; those that are there keep every byte.

    All settings are the set's. Patients of the set stay in their split, new labelled ones fill train, val and test up
    to its fractions, new unlabelled ones make the next auxiliary set.
    """
    with exit_codes(_KEPT):
        from slideprep.growing.add import Addition, add_slides

        wish = Addition(labels=None if labels is None else place(labels), **options)
        _end(add_slides(place(directory), wish, Console(stderr=True)))


@click.command("remove-slides")
@click.argument("directory")
@click.argument("slides", nargs=-1)
@click.option("--patient", "patients", multiple=True, help="All slides of this patient; may be repeated.")
@_pseudonymise
@_scratch
@_abandon
def remove_slides_command(directory: str, **options: Any) -> None:
    """Take SLIDES (file names or stems), or patients, out of the finished set in DIRECTORY.

    Only the shards that hold them are written again. Afterwards nothing in DIRECTORY names or shows them.
    """
    with exit_codes(_KEPT):
        from slideprep.growing.remove import Removal, remove_slides

        _end(remove_slides(place(directory), Removal(**options)))


@click.command("relabel")
@click.argument("directory")
@click.option("--labels", required=True, help="CSV with columns slide, label; only what differs is changed.")
@_add_class
@_pseudonymise
@_scratch
@_abandon
def relabel_command(directory: str, labels: str, **options: Any) -> None:
    """Give slides of the finished set in DIRECTORY the labels of a table; no image is encoded again.

    Slides that the table does not name keep their label, and every patient keeps its split.
    """
    with exit_codes(_KEPT):
        from slideprep.growing.relabel import Relabelling, relabel

        _end(relabel(place(directory), Relabelling(labels=place(labels), **options)))


def _end(outcome: Outcome) -> None:
    print_outcome(outcome, Console())
    sys.exit(SOME_FAILED if outcome.failures else DONE)


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Say what changed."""
    for note in outcome.notes:
        console.print(Text(f"note: {note}", style="yellow"))
    failures = outcome.failures
    for failure in failures[:_SHOWN]:
        console.print(Text(f"failed: {failure.reason}", style="red"))
    if len(failures) > _SHOWN:
        console.print(Text(f"and {len(failures) - _SHOWN:,} more", style="red"))
    if outcome.after is outcome.before:
        return
    console.print(_table(outcome.before, outcome.after))
    for line in (*_classes(outcome), *_sets(outcome), *_statistics(outcome)):
        console.print(Text(line))
    shards = outcome.shards
    more = f" and {len(shards) - _SHOWN:,} more" if len(shards) > _SHOWN else ""
    console.print(
        Text(f"shards written: {', '.join(shards[:_SHOWN]) or 'none'}{more}; all others keep every byte")
    )
    if failures:
        console.print(Text(f"{len(failures):,} inputs failed: {outcome.out / 'failures.csv'}", style="red"))
    console.print(Text(f"check    slideprep verify {outcome.out}"))


def _table(before: Index, after: Index) -> Table:
    table = Table(title="Before and after", title_justify="left", box=None, pad_edge=False)
    table.add_column("split")
    for measure in _MEASURES:
        table.add_column(measure, justify="right")
    for name in sorted({*before.splits, *after.splits}):
        old, new = before.splits.get(name), after.splits.get(name)
        table.add_row(name, *(_both(_count(old, measure), _count(new, measure)) for measure in _MEASURES))
    return table


def _count(split: SplitEntry | None, measure: str) -> int:
    return 0 if split is None else int(getattr(split, measure))


def _both(old: int, new: int) -> str:
    return f"{new:,}" if old == new else f"{old:,} > {new:,}"


def _classes(outcome: Outcome) -> list[str]:
    before, after = outcome.before, outcome.after
    lines = []
    for name in after.classes:
        old, new = (
            {split: (entry.per_class or {}).get(name, 0) for split, entry in index.splits.items()}
            for index in (before, after)
        )
        changes = [
            f"{split} {_both(old.get(split, 0), new[split])}"
            for split in new
            if old.get(split, 0) != new[split]
        ]
        if changes:
            lines.append(f"samples of class {name}: {', '.join(changes)}")
    return lines


def _sets(outcome: Outcome) -> list[str]:
    new = [name for name in outcome.after.sets if name not in outcome.before.sets]
    return [f"new set: {name} = {' + '.join(outcome.after.sets[name])}" for name in new]


def _statistics(outcome: Outcome) -> list[str]:
    before, after = outcome.before, outcome.after
    if before.statistics != after.statistics:
        values = [
            f"{name} mean {_rgb(old.mean)} > {_rgb(new.mean)}"
            for name, new in (after.statistics or {}).items()
            if (old := (before.statistics or {}).get(name)) is not None
        ]
        told = f": {'; '.join(values)}" if values else ""
        return [f"colour statistics are new{told}; runs made before used the old ones"]
    counted, train = after.statistics_shards, after.splits.get("train")
    if counted is None or train is None or len(counted) == train.shards:
        return []
    return [
        f"colour statistics are those of {len(counted):,} of {train.shards:,} shards of train, as before; "
        "--update-statistics computes them over all"
    ]


def _rgb(values: tuple[float, float, float]) -> str:
    return "/".join(f"{value:.2f}" for value in values)
