"""``kdtrain evaluate``, ``compare`` and ``report``: options to one call each; those of reading for others too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from kdtrain.cli.exit_codes import exit_codes
from kdtrain.cli.numbers import MOST_DRAWS, MOST_GB, MOST_SEED, Number
from kdtrain.errors import UsageError
from kdtrain.shards.cache import DEFAULT_GB, cache_settings

_ITERATIONS = click.option(
    "--iterations",
    type=click.IntRange(1, MOST_DRAWS),
    default=10_000,
    show_default=True,
    help="Bootstrap draws.",
)
_SEED = click.option(
    "--seed", type=click.IntRange(0, MOST_SEED), default=0, show_default=True, help="Of the draws."
)
_BOOTSTRAP_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--unit",
        type=click.Choice(["patient", "sample"]),
        default="patient",
        show_default=True,
        help="What the bootstrap draws.",
    ),
    _ITERATIONS,
    _SEED,
)


_READING_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--workers", type=click.IntRange(0, 1_000), default=2, show_default=True, help="Loader processes."
    ),
    click.option(
        "--shard-cache",
        type=click.Path(path_type=Path),
        help="Folder for shards fetched from a URL. Left out: $KDTRAIN_SHARD_CACHE, else the user's cache folder.",
    ),
    click.option(
        "--shard-cache-gb",
        type=Number(MOST_GB),
        default=DEFAULT_GB,
        show_default=True,
        help="Its size in GB.",
    ),
)


def reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """How a command reads a shard set: loader processes, and the cache of a URL."""
    for option in reversed(_READING_OPTIONS):
        command = option(command)
    return command


def _bootstrap_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_BOOTSTRAP_OPTIONS):
        command = option(command)
    return command


@click.command("evaluate")
@click.argument("run", metavar="RUN|BUNDLE", type=click.Path(path_type=Path))
@click.option("--shards", required=True, help="Folder of the shard set, or its URL.")
@click.option("--split", default="test", show_default=True, help="Labelled split or set.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for what is measured of a BUNDLE; that of a RUN lies in the run.",
)
@_bootstrap_options
@click.option(
    "--probe",
    is_flag=True,
    help="Measure the features in place of the network's answers: logistic regression on the mean of the feature map, "
    "cross-validated by patient, on one split or on several, separated by commas.",
)
@reading_options
def evaluate_command(
    run: Path,
    out: Path | None,
    shard_cache: Path | None,
    shard_cache_gb: float,
    *,
    probe: bool,
    **options: Any,
) -> None:
    """Measure a network on a split: metrics with 95 % intervals, predictions, GFLOPs.

    RUN is the folder of a run. BUNDLE is what 'kdtrain export' made of one: it is measured on a set of others, whose
    classes are matched by name, and how their images differ from those of training is said with it.
    """
    with exit_codes():
        folder = _folder_for(run, out, probe)
        from kdtrain.screen import console

        told: dict[str, Any] = {
            **options,
            "console": console(stderr=True),
            "cache": cache_settings(shard_cache, shard_cache_gb),
        }
        if folder is not None:
            from kdtrain.bundle.evaluate import evaluate_bundle
            from kdtrain.cli.measured import print_validation
            from kdtrain.report.validation.page import write_validation_page

            found = evaluate_bundle(run, out=folder, **told)
            write_validation_page(found.folder)
            print_validation(found.metrics, found.folder, console())
            return
        from kdtrain.cli.summary import print_evaluation
        from kdtrain.evaluation import evaluate, probing

        measure = probing.probe if probe else evaluate.evaluate
        print_evaluation(measure(run, **told), console())


def _folder_for(folder: Path, out: Path | None, probe: bool) -> Path | None:
    """Where what is measured of a bundle goes; None of a run. Options of the other are refused."""
    is_bundle = (folder / "bundle.json").is_file() and not (folder / "run.json").exists()
    if is_bundle and out is None:
        raise UsageError(
            f"{folder} is a bundle, which is sealed and not written into; give a folder for what is measured by --out"
        )
    if is_bundle and probe:
        raise UsageError("--probe measures the features of a RUN; give the run that the bundle was made of")
    if not is_bundle and out is not None:
        raise UsageError(
            f"--out is for a bundle, and {folder} is none: what is measured of a run lies in its folder; leave it out"
        )
    return out if is_bundle else None


@click.command("compare")
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.option("--split", default="test", show_default=True, help="Split on which both were evaluated.")
@_bootstrap_options
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def compare_command(run_a: Path, run_b: Path, as_json: bool, **options: Any) -> None:
    """How RUN_B differs from RUN_A, both evaluated: paired bootstrap differences with 95 % intervals."""
    with exit_codes():
        from kdtrain.evaluation.compare import compare
        from kdtrain.screen import console, say

        comparison = compare(run_a, run_b, **options)
        if as_json:
            say(json.dumps(comparison.as_dict(), indent=1, ensure_ascii=False, allow_nan=False))
        else:
            console().print(comparison.as_rich())


@click.command("report")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The page: a name ending in .html."
)
@click.option(
    "--shards",
    help="Folder or URL of the shard set, for the counts of its classes and for thumbnails. Left out: where it was "
    "when the runs were made.",
)
@click.option("--split", help="Split on which all were evaluated. Left out: the sweep's first, or test.")
@click.option(
    "--unit",
    type=click.Choice(["patient", "sample"]),
    help="What the bootstrap draws. Left out: the sweep's, or patient.",
)
@_ITERATIONS
@_SEED
@click.option("--title", help="Of the page. Left out: the sweep's.")
@click.option(
    "--gallery",
    type=click.Choice(["images", "keys", "none"]),
    help="The surest errors of every class: thumbnails and keys of the samples, keys alone, or nothing, as for a page "
    "that is published. Left out: images where the shard set lies in a folder, keys where it lies behind a URL.",
)
def report_command(runs: tuple[str, ...], out: Path, **options: Any) -> None:
    """The paper's tables and figures from evaluated runs: a page, and every table as CSV and LaTeX.

    RUN is the folder of a run, of a sweep, or of several of both. 'LABEL=RUN' says what the run's method is called in
    the tables.
    """
    with exit_codes():
        from kdtrain.report.build import build_report
        from kdtrain.report.write import check_out, write_report
        from kdtrain.screen import say

        check_out(out)
        report = build_report(runs, folder=out.absolute().parent, **options)
        folder = write_report(report, out)
        for text in report.warnings:
            say(f"warning: {text}", err=True)
        for text in report.answer:
            say(text)
        say(f"page    {out}\ntables  {folder}")
