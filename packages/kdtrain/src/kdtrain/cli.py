"""The command line: options to a configuration, one call, an exit code.

0: all done. 1: failed. 2: wrong usage or configuration, found before any work. 3: finished, but some runs of a sweep
failed. Libraries are imported by the command that needs them, so ``--help`` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kdtrain import __version__
from kdtrain.cli_errors import exit_codes
from kdtrain.cli_export import export_command
from kdtrain.cli_predict import predict_command
from kdtrain.config.phases import (
    BaselineConfig,
    CacheTeacherConfig,
    DistillConfig,
    FinetuneConfig,
    PhaseConfig,
    SetConfig,
    TeacherConfig,
    load_config,
)
from kdtrain.errors import UsageError
from kdtrain.options import config_options
from kdtrain.shards.cache import DEFAULT_GB, cache_settings
from kdtrain.shards.locations import location_of

if TYPE_CHECKING:
    from kdtrain.training.loop import Summary


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="kdtrain")
# The deepspeed launcher puts this before the command; the environment says the same.
@click.option("--local_rank", type=int, hidden=True, expose_value=False)
def main() -> None:
    """Train on slideprep shards: a teacher, a student distilled from it, optional fine-tuning, evaluation."""


main.add_command(predict_command)


def _phase(kind: type[PhaseConfig], module: str, help_text: str) -> None:
    @main.command(kind.phase, help=help_text)
    @config_options(kind)
    def command(config_file: Path | None, **options: Any) -> None:
        with exit_codes():
            config = load_config(kind, {k: v for k, v in options.items() if v is not None}, config_file)
            _run_phase(module, config)


_phase(
    TeacherConfig,
    "teacher",
    "Phase I: train a teacher on labelled images. The same command again resumes the run.",
)
_phase(
    BaselineConfig, "teacher", "Train the same network from scratch at a low magnification, to compare with."
)
_phase(
    DistillConfig,
    "distill",
    "Phase II: distil a student at a low magnification from a teacher, without labels.",
)
_phase(FinetuneConfig, "finetune", "Phase III, optional: train a student's fully connected layer on labels.")


@main.command(
    CacheTeacherConfig.phase,
    help="Write what a teacher says of every sample, once, for 'kdtrain distill --teacher-cache'. The same command "
    "again goes on.",
)
@config_options(CacheTeacherConfig)
def cache_teacher_command(config_file: Path | None, **options: Any) -> None:
    """Write a teacher cache."""
    with exit_codes():
        config = load_config(
            CacheTeacherConfig, {k: v for k, v in options.items() if v is not None}, config_file
        )
        _check_shards(config)
        from rich.console import Console

        from kdtrain.phases.cache_teacher import run
        from kdtrain.summary import print_cache_summary
        from kdtrain.training.monitor import Monitor

        active = _is_first_rank()
        monitor = Monitor(Console(stderr=True), config.out, active=active, tensorboard=False)
        summary = run(config, monitor)
        if active:
            print_cache_summary(summary, Console())


def _check_shards(config: SetConfig) -> None:
    if isinstance(config.shards, Path) and not config.shards.is_dir():
        raise UsageError(f"--shards {config.shards} is no folder; give the folder of a shard set")


def _is_first_rank() -> bool:
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


def _run_phase(module: str, config: PhaseConfig) -> None:
    _check_shards(config)
    from rich.console import Console

    from kdtrain.training.monitor import Monitor

    console = Console(stderr=True)
    active = _is_first_rank()
    monitor = Monitor(console, config.out, active=active, tensorboard=config.tensorboard, wandb=config.wandb)
    try:
        summary: Summary = import_module(f"kdtrain.phases.{module}").run(config, monitor)
    finally:
        monitor.close()
    if active:
        from kdtrain.summary import print_summary

        print_summary(summary, Console())


_BOOTSTRAP_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--unit",
        type=click.Choice(["patient", "sample"]),
        default="patient",
        show_default=True,
        help="What the bootstrap draws.",
    ),
    click.option("--iterations", default=10_000, show_default=True, help="Bootstrap draws."),
    click.option("--seed", default=0, show_default=True, help="Of the draws."),
)


def _bootstrap_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_BOOTSTRAP_OPTIONS):
        command = option(command)
    return command


@main.command("evaluate")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--shards", required=True, help="Folder of the shard set, or its URL.")
@click.option("--split", default="test", show_default=True, help="Labelled split or set.")
@_bootstrap_options
@click.option("--workers", default=2, show_default=True, help="Loader processes.")
@click.option(
    "--shard-cache",
    type=click.Path(path_type=Path),
    help="Folder for shards fetched from a URL. Left out: $KDTRAIN_SHARD_CACHE, else the user's cache folder.",
)
@click.option(
    "--shard-cache-gb",
    type=click.FloatRange(0, min_open=True),
    default=DEFAULT_GB,
    show_default=True,
    help="Its size in GB.",
)
def evaluate_command(shard_cache: Path | None, shard_cache_gb: float, **options: Any) -> None:
    """Measure a run's network on a split: metrics with 95 % intervals, predictions, GFLOPs."""
    with exit_codes():
        from rich.console import Console

        from kdtrain.evaluation.evaluate import evaluate
        from kdtrain.summary import print_evaluation

        cache = cache_settings(shard_cache, shard_cache_gb)
        print_evaluation(evaluate(**options, console=Console(stderr=True), cache=cache), Console())


@main.command("compare")
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.option("--split", default="test", show_default=True, help="Split on which both were evaluated.")
@_bootstrap_options
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def compare_command(run_a: Path, run_b: Path, as_json: bool, **options: Any) -> None:
    """How RUN_B differs from RUN_A, both evaluated: paired bootstrap differences with 95 % intervals."""
    with exit_codes():
        from rich.console import Console

        from kdtrain.evaluation.compare import compare

        comparison = compare(run_a, run_b, **options)
        if as_json:
            click.echo(json.dumps(comparison.as_dict(), indent=1, ensure_ascii=False))
        else:
            Console().print(comparison.as_rich())


@main.command("sweep")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--shards", help="Folder of the shard set, or its URL, instead of the recipe's.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the sweep, instead of the recipe's.")
@click.option("--seeds", help="Seeds instead of the recipe's, such as 0,1,2.")
@click.option("--only", help="Pattern of the names of the runs to complete, with what they need: 'kd-*'.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Runs at a time, each on its own GPU if any.",
)
@click.option(
    "--ray-address",
    help="Spread the runs over this Ray cluster ('auto', HOST:6379). --shards and --out lie on storage all see.",
)
@click.option(
    "--gpus-per-run",
    type=click.FloatRange(0),
    help="GPUs that a run asks of the cluster.  [default: 1 where it has GPUs, else 0]",
)
@click.option(
    "--cpus-per-run",
    type=click.IntRange(1),
    help="Cores that a run asks of the cluster.  [default: 1, and 1 for each loader process]",
)
@click.option("--dry-run", is_flag=True, help="Show runs, GFLOPs, memory and time; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def sweep_command(dry_run: bool, seeds: str | None, shards: str | None, **given: Any) -> None:
    """Train and measure all runs of RECIPE, a YAML file (see recipes/). The same command again goes on.

    Finished runs are skipped. A run that fails is listed, and the others complete (exit code 3).
    """
    with exit_codes():
        from kdtrain.sweep import command
        from kdtrain.sweep.plan import Options

        try:
            numbers = tuple(int(seed) for seed in (seeds or "").split(",") if seed.strip())
        except ValueError:
            raise UsageError(f"--seeds {seeds}: write whole numbers, such as 0,1,2") from None
        location = None if shards is None else location_of(shards)
        options = Options(seeds=numbers, shards=location, **given)
        sys.exit(command.dry_run(options) if dry_run else command.sweep(options))


@main.command("report")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The page: a name ending in .html."
)
@click.option(
    "--shards",
    help="Folder or URL of the shard set, for the counts of its classes. Left out: where it was when the runs were "
    "made.",
)
@click.option("--split", help="Split on which all were evaluated. Left out: the sweep's first, or test.")
@click.option(
    "--unit",
    type=click.Choice(["patient", "sample"]),
    help="What the bootstrap draws. Left out: the sweep's, or patient.",
)
@click.option(
    "--iterations", type=click.IntRange(min=1), default=10_000, show_default=True, help="Bootstrap draws."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the draws.")
@click.option("--title", help="Of the page. Left out: the sweep's.")
def report_command(runs: tuple[str, ...], out: Path, **options: Any) -> None:
    """The paper's tables and figures from evaluated runs: a page, and every table as CSV and LaTeX.

    RUN is the folder of a run or of a sweep. 'LABEL=RUN' says what the run's method is called in the tables.
    """
    with exit_codes():
        from kdtrain.report.build import build_report
        from kdtrain.report.write import check_out, write_report

        check_out(out)
        report = build_report(runs, **options)
        folder = write_report(report, out)
        for text in report.warnings:
            click.echo(f"warning: {text}", err=True)
        for text in report.answer:
            click.echo(text)
        click.echo(f"page    {out}\ntables  {folder}")


main.add_command(export_command)
