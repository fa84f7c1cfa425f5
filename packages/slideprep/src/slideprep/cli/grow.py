"""The commands that change a finished set; what takes long to import is imported by the command that needs them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from slideprep.cli.exit_codes import DONE, SOME_FAILED, exit_codes
from slideprep.cli.paths import LOCAL_PATH, NUMBER, PATH, WHOLE, within
from slideprep.storage.places import place

if TYPE_CHECKING:
    from slideprep.growing.change import Outcome

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
    "--patients-differ",
    is_flag=True,
    help="Patients whose names are nearly alike (P1, P-1, 001) are different people.",
)
@click.option(
    "--update-statistics",
    is_flag=True,
    help="Compute the colour statistics over all of train; may be given without SLIDES.",
)
@_pseudonymise
@click.option(
    "--workers", type=within(WHOLE, 0, 100_000), help="Worker processes; 0 for none.  [default: one per core]"
)
@click.option("--ray-address", help="Address of a Ray cluster.  [default: this machine alone]")
@click.option(
    "--start-seconds",
    type=within(NUMBER, 0.001, 86_400),
    help="How long worker processes of this machine may take to start, seconds.  [default: 120]",
)
@click.option(
    "--slide-minutes",
    type=within(NUMBER, 0, 1_000_000),
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
        from rich.console import Console

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
    from rich.console import Console

    from slideprep.cli.changed import print_outcome

    print_outcome(outcome, Console())
    sys.exit(SOME_FAILED if outcome.failures else DONE)
