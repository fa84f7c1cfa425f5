"""The command line: options to a configuration, one call, an exit code.

0: all done. 1: failed. 2: wrong usage or configuration, found before any work. 3: finished, but some runs of a sweep
failed. Libraries are imported by the command that needs them, so ``--help`` answers at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from kdtrain import __version__
from kdtrain.cli.calibrate import calibrate_command
from kdtrain.cli.docstrings import restore_help
from kdtrain.cli.evaluate import compare_command, evaluate_command, report_command
from kdtrain.cli.exit_codes import exit_codes
from kdtrain.cli.export import export_command
from kdtrain.cli.features import features_command
from kdtrain.cli.options import config_options
from kdtrain.cli.predict import predict_command
from kdtrain.cli.streams import Program
from kdtrain.cli.sweep import sweep_command
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


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="kdtrain")
# The deepspeed launcher puts this before the command; the environment says the same.
@click.option("--local_rank", type=int, hidden=True, expose_value=False)
def main() -> None:
    """Train on slideprep shards: a teacher, a student distilled from it, optional fine-tuning, evaluation."""


def _phase(kind: type[PhaseConfig], help_text: str) -> None:
    @main.command(kind.phase, help=help_text)
    @config_options(kind)
    def command(config_file: Path | None, **options: Any) -> None:
        with exit_codes():
            config = load_config(kind, {k: v for k, v in options.items() if v is not None}, config_file)
            _run_phase(config)


_phase(
    TeacherConfig,
    "Phase I: train a teacher on labelled images. The same command again resumes the run.",
)
_phase(BaselineConfig, "Train the same network from scratch at a low magnification, to compare with.")
_phase(
    DistillConfig,
    "Phase II: distil a student at a low magnification from a teacher, without labels.",
)
_phase(
    FinetuneConfig, "Phase III, optional: train a student's fully connected layer, or all of it, on labels."
)


@main.command(
    CacheTeacherConfig.phase,
    help="Write what a teacher says of every sample, once, for 'kdtrain distill --teacher-cache': a run, "
    "or by --from any network that looks at tiles. The same command again goes on.",
)
@config_options(CacheTeacherConfig)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Open the teacher, time one region, and say what the cache takes; write nothing.",
)
def cache_teacher_command(config_file: Path | None, *, dry_run: bool, **options: Any) -> None:
    """Write a teacher cache."""
    with exit_codes():
        config = load_config(
            CacheTeacherConfig, {k: v for k, v in options.items() if v is not None}, config_file
        )
        _check_shards(config)
        if dry_run:
            _say_plan(config)
            return
        from kdtrain.cli.summary import print_cache_summary
        from kdtrain.phases.cache_from import cache_from
        from kdtrain.phases.cache_teacher import cache_teacher
        from kdtrain.screen import console
        from kdtrain.training.monitor import Monitor

        active = _is_first_rank()
        monitor = Monitor(console(stderr=True), active=active)
        write = cache_teacher if config.from_ is None else cache_from
        summary = write(config, monitor)
        if active:
            print_cache_summary(summary, console())


def _say_plan(config: CacheTeacherConfig) -> None:
    from kdtrain.cli.summary import print_cache_plan
    from kdtrain.phases.cache_plan import plan_cache
    from kdtrain.screen import console

    print_cache_plan(plan_cache(config), console())


def _check_shards(config: SetConfig) -> None:
    if isinstance(config.shards, Path) and not config.shards.is_dir():
        raise UsageError(f"--shards {config.shards} is no folder; give the folder of a shard set")


def _is_first_rank() -> bool:
    from kdtrain.training.engine.launch import launch_from

    return launch_from(os.environ).rank == 0


def _run_phase(config: PhaseConfig) -> None:
    _check_shards(config)
    from kdtrain.phases.start import run_phase
    from kdtrain.screen import console
    from kdtrain.training.monitor import Monitor

    active = _is_first_rank()
    with Monitor(console(stderr=True), active=active, config=config) as monitor:
        summary = run_phase(config, monitor)
    if active:
        from kdtrain.cli.summary import print_summary

        print_summary(summary, console())


for command in (
    calibrate_command,
    evaluate_command,
    compare_command,
    sweep_command,
    report_command,
    export_command,
    predict_command,
    features_command,
):
    main.add_command(command)
restore_help(main)
