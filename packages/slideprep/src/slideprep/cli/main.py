"""The command line: options to a configuration, one call, an exit code.

0: all done. 1: failed. 2: wrong usage or configuration, found before any work. 3: finished, but some inputs failed and
are listed in failures.csv. What takes long to import is imported by the command that needs it, so ``--help`` answers
at once.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slideprep import __version__
from slideprep.cli.croissant import croissant_command
from slideprep.cli.docstrings import restore_help
from slideprep.cli.exit_codes import DONE, FAILED, SOME_FAILED, WRONG_USAGE, exit_codes
from slideprep.cli.grow import add_slides_command, relabel_command, remove_slides_command
from slideprep.cli.paths import NUMBER, PATH, PLACE, WHOLE, within
from slideprep.cli.public import labels_from_camelyon16_command, labels_from_tcga_command
from slideprep.cli.streams import Program
from slideprep.cli.synthesize import synthesize_command
from slideprep.text import count, for_terminal, sayer

if TYPE_CHECKING:
    from slideprep.building.config import BuildConfig
    from slideprep.building.plan import Planned
    from slideprep.shards.verify.report import Report
    from slideprep.storage.places import Place

__all__ = ["DONE", "FAILED", "SOME_FAILED", "WRONG_USAGE", "main"]


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="slideprep")
def main() -> None:
    """Turn whole-slide images into verified WebDataset shards at several magnifications."""


main.add_command(synthesize_command)
main.add_command(add_slides_command)
main.add_command(remove_slides_command)
main.add_command(relabel_command)
main.add_command(croissant_command)
main.add_command(labels_from_tcga_command)
main.add_command(labels_from_camelyon16_command)


class _BuildCommand(click.Command):
    """Takes the settings of a build, which are loaded when they are asked for: the other commands need not wait."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's options; ``plan`` writes no set and has no ``--out``."""
        from slideprep.cli.options import build_parameters

        self.params = self.params or build_parameters(with_out=self.name != "plan")
        return super().get_params(ctx)


@main.command("build-shards", cls=_BuildCommand)
def build_shards(config_file: Path | None, **options: Any) -> None:
    """Build a shard set from SLIDES: files, folders, globs, or a CSV with a column 'path'.

    Slides, --labels and --out may be addresses in an object store, such as s3://bucket/slides.

    Run the same command again after an interruption: finished shards are kept.
    """
    with exit_codes("finished shards are kept: run the same command again to go on"):
        sys.exit(_build(_config(options, config_file)))


@main.command("plan", cls=_BuildCommand)
def plan_command(config_file: Path | None, **options: Any) -> None:
    """Dry run: find tissue, split, and show what build-shards would write. Writes no shard.

    Only --save-masks, --save-regions and --pseudonymise write the files that they name.
    """
    with exit_codes("nothing was written"):
        sys.exit(_plan(_config({**options, "out": Path("unused")}, config_file)))


@main.command("inspect")
@click.argument("slide", type=PLACE)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.option(
    "--objective", type=within(NUMBER, 0, 200, above=True), help="Objective power, if the slide carries none."
)
@click.option(
    "--mpp",
    type=within(NUMBER, 0, 100, above=True),
    help="Microns per level-0 pixel, if the slide carries none.",
)
def inspect_command(slide: Place, as_json: bool, objective: float | None, mpp: float | None) -> None:
    """Show what is known of one SLIDE: size, levels, mpp, objective, and the magnifications it allows."""
    with exit_codes("nothing was written"):
        from slideprep.cli.inspect import as_text, inspect_slide

        facts = inspect_slide(slide, objective=objective, mpp=mpp)
        click.echo(
            json.dumps(facts, indent=2, ensure_ascii=False) if as_json else for_terminal(as_text(facts))
        )


@main.command("verify")
@click.argument("directory", type=PLACE)
@click.option("--quick", is_flag=True, help="Sizes and checksums only.")
@click.option(
    "--workers",
    type=within(WHOLE, 1, 1000),
    default=None,
    help="Tars checked at a time.  [default: one per core]",
)
@click.option(
    "--scratch",
    type=PATH,
    help="Local folder for tars that are fetched.  [default: the system's temporary folder]",
)
def verify_command(directory: Place, quick: bool, workers: int | None, scratch: Path | None) -> None:
    """Check a shard set: checksums, pairing, order, records, every image, counts and statistics."""
    with exit_codes("nothing was written"):
        from slideprep.building.check import verify

        report = verify(directory, quick=quick, workers=workers, scratch=scratch, progress=True)
        _print_report(directory, report)
        sys.exit(DONE if report.ok else FAILED)


def _print_report(directory: Place, report: Report) -> None:
    for fault in report.faults:
        click.echo(for_terminal(fault))
    for part in report.unchecked:
        click.echo(for_terminal(f"not checked: {part}"))
    counts = report.counts
    checked = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items())
    if report.ok:
        click.echo(for_terminal(f"{directory}: no faults ({checked})"))
    else:
        faults = count(len(report.faults), "fault")
        click.echo(for_terminal(f"{directory}: {faults} ({checked or 'no index'})"), err=True)


def _config(options: dict[str, Any], config_file: Path | None) -> BuildConfig:
    from slideprep.building.config import load_config

    given = {name: value for name, value in options.items() if value is not None and value != ()}
    return load_config(given, config_file)


def _build(config: BuildConfig) -> int:
    from rich.console import Console

    from slideprep.building.run import EarlierBuild, build_or_find
    from slideprep.cli.summary import print_earlier, print_summary

    started = time.monotonic()
    done = build_or_find(config, Console(stderr=True))
    if isinstance(done, EarlierBuild):
        print_earlier(config.out, done, Console())
        return SOME_FAILED if done.failures else DONE
    print_summary(done, Console(), seconds=time.monotonic() - started)
    return SOME_FAILED if done.finished.all_failures else DONE


def _plan(config: BuildConfig) -> int:
    from rich.console import Console

    from slideprep.building.build import plan_set
    from slideprep.building.prepare import prepare
    from slideprep.cli.summary import print_plan
    from slideprep.workers.executor import executor

    console = Console(stderr=True)
    prepared = prepare(config)
    say = sayer(console)
    say(prepared.found_words)
    with executor(
        workers=config.workers,
        ray_address=config.ray_address,
        start_seconds=config.start_seconds,
        say=say,
    ) as pool:
        planned: Planned = plan_set(config, prepared, pool, console, None)
    print_plan(config, planned, Console())
    return SOME_FAILED if planned.failures else DONE


restore_help(main)
