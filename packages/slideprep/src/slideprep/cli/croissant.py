"""The command that describes a finished set to catalogues."""

from __future__ import annotations

import click

from slideprep.cli.exit_codes import exit_codes
from slideprep.cli.paths import LOCAL_PATH
from slideprep.storage.places import place
from slideprep.text import for_terminal


@click.command("croissant")
@click.argument("directory")
@click.option("--name", help="Name of the dataset.  [default: the folder's]")
@click.option("--description", help="What it is, in a sentence or two.")
@click.option("--license", help="SPDX identifier, such as CC-BY-4.0, or the licence's URL.")
@click.option("--cite", help="How to cite it: a reference, or BibTeX.")
@click.option("--url", help="Its page.")
@click.option("--published", help="When, such as 2026-11-30.")
@click.option("--version", help="Of the dataset.  [default: 1.0.0]")
@click.option("--scratch", help="As for add-slides.", type=LOCAL_PATH)
def croissant_command(directory: str, **options: str | None) -> None:
    """Describe the finished set in DIRECTORY in Croissant: croissant.json and samples.json beside the index.

    Catalogues of datasets show them, and mlcroissant reads the set by them. Run again, the command keeps what was said
    before; a change of the set keeps them true.
    """
    with exit_codes("the set is as it was"):
        from slideprep.growing.croissant import Said, describe_set

        scratch = options.pop("scratch")
        done = describe_set(place(directory), Said(**options), scratch=scratch)  # type: ignore[arg-type]
        _say(f"wrote croissant.json and samples.json in {done.out}")
        if done.lacks:
            _say(f"nothing is said yet of {', '.join(done.lacks)}, which catalogues ask for")


def _say(message: str) -> None:
    click.echo(for_terminal(message))
