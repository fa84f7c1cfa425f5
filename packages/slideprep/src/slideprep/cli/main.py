"""The command line: options to a configuration, one call, an exit code.

0: all done. 1: failed. 2: wrong usage or configuration, found before any work. 3: finished, but some inputs failed and
are listed in failures.csv. Libraries are imported by the command that needs them, so ``--help`` answers at once.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slideprep import __version__
from slideprep.cli.exit_codes import DONE, FAILED, SOME_FAILED, WRONG_USAGE, exit_codes
from slideprep.cli.grow import add_slides_command, relabel_command, remove_slides_command
from slideprep.cli.synthesize import synthesize_command
from slideprep.errors import UsageError

if TYPE_CHECKING:
    from slideprep.building.config import BuildConfig
    from slideprep.building.plan import Planned
    from slideprep.building.prepare import Prepared
    from slideprep.shards.verify.report import Report
    from slideprep.storage.places import Place

__all__ = ["DONE", "FAILED", "SOME_FAILED", "WRONG_USAGE", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="slideprep")
def main() -> None:
    """Turn whole-slide images into verified WebDataset shards at several magnifications."""


main.add_command(synthesize_command)
main.add_command(add_slides_command)
main.add_command(remove_slides_command)
main.add_command(relabel_command)

_PATH = click.Path(path_type=Path)


class _PlaceType(click.ParamType["Place"]):
    """A local path or an address."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        """The place of a text."""
        from slideprep.storage.places import place

        try:
            return place(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


_PLACE = _PlaceType()

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.argument("slides", nargs=-1),
    click.option(
        "--labels",
        type=_PLACE,
        help="CSV with columns slide, label, patient; optional split, mpp, objective.",
    ),
    click.option("--magnifications", help="Targets, such as 10,1.25.  [default: 10,5,2.5,1.25,0.625]"),
    click.option(
        "--magnification-by",
        type=click.Choice(["objective", "mpp"]),
        help="Relative to the scan's objective, or physical (10x = 1 µm/px).  [default: objective]",
    ),
    click.option("--objective", type=float, help="Objective power of slides that carry none."),
    click.option("--mpp", type=float, help="Microns per level-0 pixel of slides that carry none."),
    click.option(
        "--tissue",
        type=click.Choice(["auto", "tissueloc", "whole", "annotations"]),
        help="How regions are found.  [default: auto]",
    ),
    click.option(
        "--tissueloc-sigma", type=float, help="tissueloc: smoothing, overview pixels.  [default: 13]"
    ),
    click.option("--tissueloc-threshold", type=float, help="tissueloc: relative grey level.  [default: 0.8]"),
    click.option("--tissueloc-min-px", type=int, help="tissueloc: smallest component.  [default: 10000]"),
    click.option(
        "--tissueloc-level-px", type=int, help="tissueloc: sides of its level are below.  [default: 2048]"
    ),
    click.option("--annotations", type=_PATH, help="Folder of GeoJSON (QuPath) or XML (ImageScope) files."),
    click.option(
        "--exclude-class",
        "exclude_classes",
        multiple=True,
        help="Annotated class to leave out; may be repeated.",
    ),
    click.option("--mask-outside", is_flag=True, default=None, help="Blank what lies outside an annotation."),
    click.option("--classes", help="Class names in the order of their indices.  [default: sorted names]"),
    click.option(
        "--split", help="train,val,test: fractions or numbers of patients.  [default: 0.7,0.15,0.15]"
    ),
    click.option("--labelled-per-class", type=int, help="Patients per class that are split.  [default: all]"),
    click.option("--dev-per-class", type=int, help="Further patients per class for a development set."),
    click.option("--aux", help="Patients in nested unlabelled sets, such as 300,1004."),
    click.option("--seed", type=int, help="Seed of every random choice.  [default: 0]"),
    click.option("--image-format", type=click.Choice(["jpeg", "png", "webp"]), help="[default: jpeg]"),
    click.option("--quality", type=int, help="Of JPEG and WebP, 1 to 100.  [default: 95]"),
    click.option("--shard-mb", type=int, help="Size that a shard aims at, megabytes.  [default: 256]"),
    click.option("--save-masks", type=_PATH, help="Folder for tissue masks as PNG."),
    click.option("--save-regions", type=_PATH, help="Folder for regions as GeoJSON, for QuPath."),
    click.option("--pseudonymise", type=_PATH, help="CSV, outside --out, that maps names to pseudonyms."),
    click.option("--workers", type=int, help="Worker processes; 0 for none.  [default: one per core]"),
    click.option("--ray-address", help="Address of a Ray cluster.  [default: this machine alone]"),
    click.option(
        "--slide-minutes",
        type=float,
        help="Give a slide up that a task reads for longer; 0: never. Not with --workers 0.  [default: 120]",
    ),
    click.option(
        "--scratch",
        type=_PATH,
        help="Local folder for what is fetched or not yet uploaded.  [default: the system's temporary folder]",
    ),
    click.option(
        "--scratch-gb", type=float, help="Fetched slides are kept up to this, gigabytes.  [default: 20]"
    ),
    click.option("--config", "config_file", type=_PATH, help="YAML file with any of these settings."),
)


def _build_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@main.command("build-shards")
@_build_options
@click.option(
    "--out", type=_PLACE, help="Folder of the shard set, or its address; new, or of the same build."
)
def build_shards(config_file: Path | None, **options: Any) -> None:
    """Build a shard set from SLIDES: files, folders, globs, or a CSV with a column 'path'.

    Slides, --labels and --out may be addresses in an object store, such as s3://bucket/slides.

    Run the same command again after an interruption: finished shards are kept.
    """
    with exit_codes("finished shards are kept: run the same command again to go on"):
        sys.exit(_build(_config(options, config_file)))


@main.command("plan")
@_build_options
def plan_command(config_file: Path | None, **options: Any) -> None:
    """Dry run: find tissue, split, and show what build-shards would write. Writes no shard.

    Only --save-masks, --save-regions and --pseudonymise write the files that they name.
    """
    with exit_codes("nothing was written"):
        sys.exit(_plan(_config({**options, "out": Path("unused")}, config_file)))


@main.command("inspect")
@click.argument("slide", type=_PLACE)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.option("--objective", type=float, help="Objective power, if the slide carries none.")
@click.option("--mpp", type=float, help="Microns per level-0 pixel, if the slide carries none.")
def inspect_command(slide: Place, as_json: bool, objective: float | None, mpp: float | None) -> None:
    """Show what is known of one SLIDE: size, levels, mpp, objective, and the magnifications it allows."""
    with exit_codes("nothing was written"):
        from slideprep.cli.inspect import as_text, inspect_slide

        facts = inspect_slide(slide, objective=objective, mpp=mpp)
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False) if as_json else as_text(facts))


@main.command("verify")
@click.argument("directory", type=_PLACE)
@click.option("--quick", is_flag=True, help="Sizes and checksums only.")
@click.option("--workers", type=int, default=None, help="Tars checked at a time.  [default: one per core]")
@click.option(
    "--scratch",
    type=_PATH,
    help="Local folder for tars that are fetched.  [default: the system's temporary folder]",
)
def verify_command(directory: Place, quick: bool, workers: int | None, scratch: Path | None) -> None:
    """Check a shard set: checksums, pairing, order, records, every image, counts and statistics."""
    with exit_codes("nothing was written"):
        from rich.console import Console
        from rich.progress import Progress

        from slideprep.shards.verify.verify import verify
        from slideprep.workers.executor import usable_cores

        if isinstance(directory, Path) and not directory.is_dir():
            raise UsageError(f"{directory} is not a folder; give the folder that holds index.json")
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("Checking tars")
            report = verify(
                directory,
                quick=quick,
                workers=workers or usable_cores(),
                progress=lambda done, total: bar.update(task, completed=done, total=total),
                scratch=scratch,
            )
        _print_report(directory, report)
        sys.exit(DONE if report.ok else FAILED)


def _print_report(directory: Place, report: Report) -> None:
    for fault in report.faults:
        click.echo(str(fault))
    for part in report.unchecked:
        click.echo(f"not checked: {part}")
    counts = report.counts
    checked = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items())
    if report.ok:
        click.echo(f"{directory}: no faults ({checked})")
    else:
        click.echo(f"{directory}: {len(report.faults)} faults ({checked or 'no index'})", err=True)


def _config(options: dict[str, Any], config_file: Path | None) -> BuildConfig:
    from slideprep.building.config import load_config

    given = {name: value for name, value in options.items() if value is not None and value != ()}
    return load_config(given, config_file)


def _build(config: BuildConfig) -> int:
    from rich.console import Console

    from slideprep.building.prepare import prepare
    from slideprep.cli.summary import earlier_build, print_summary
    from slideprep.shards.journal import refuse_unfinished

    console = Console(stderr=True)
    started = time.monotonic()
    refuse_unfinished(config.out)
    prepared = prepare(config)
    _announce(console, prepared)
    earlier = earlier_build(config, prepared)
    if earlier is not None:
        return earlier.report(Console())
    from slideprep.building.build import build  # imports what reads slides, which takes a second

    built = build(config, prepared, console)
    print_summary(built, Console(), seconds=time.monotonic() - started)
    return SOME_FAILED if built.finished.all_failures else DONE


def _plan(config: BuildConfig) -> int:
    from rich.console import Console

    from slideprep.building.build import plan_set
    from slideprep.building.prepare import prepare
    from slideprep.cli.summary import print_plan
    from slideprep.workers.executor import executor

    console = Console(stderr=True)
    prepared = prepare(config)
    _announce(console, prepared)
    with executor(workers=config.workers, ray_address=config.ray_address, say=console.print) as pool:
        planned: Planned = plan_set(config, prepared, pool, console, None)
    print_plan(config, planned, Console())
    return SOME_FAILED if planned.failures else DONE


def _announce(console: Any, prepared: Prepared) -> None:
    splits = sorted({slide.split for slide in prepared.plan.slides.values() if slide.split})
    console.print(
        f"slides found: {len(prepared.files):,}, of these in a split: {len(prepared.wanted):,} "
        f"({', '.join(splits)})",
        highlight=False,
    )
