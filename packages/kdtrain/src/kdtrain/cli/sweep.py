"""``kdtrain sweep``, whose options stand with what they mean, in :mod:`kdtrain.sweep.command`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

from kdtrain.cli.exit_codes import exit_codes
from kdtrain.cli.numbers import Number
from kdtrain.errors import UsageError
from kdtrain.shards.locations import location_of


@click.command("sweep")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--shards", help="Folder of the shard set, or its URL, instead of the recipe's.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the sweep, instead of the recipe's.")
@click.option("--seeds", help="Seeds instead of the recipe's, such as 0,1,2.")
@click.option(
    "--folds",
    type=click.IntRange(2, 1_000),
    help="Folds of the patients of all labelled splits: every run once for each, tested on it, results pooled. Left "
    "out: the recipe's, or the splits of the set.",
)
@click.option("--only", help="Pattern of the names of the runs to complete, with what they need: 'kd-*'.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 1_000),
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
    type=Number(1_000, zero=True),
    help="GPUs that a run asks of the cluster.  [default: 1 where it has GPUs, else 0]",
)
@click.option(
    "--cpus-per-run",
    type=click.IntRange(1, 10_000),
    help="Cores that a run asks of the cluster.  [default: 1, and 1 for each loader process]",
)
@click.option(
    "--start-seconds",
    type=Number(86_400),
    default=120.0,
    show_default=True,
    help="How long Ray may take to start, with --ray-address local.",
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

        numbers = _seeds(seeds)
        location = None if shards is None else location_of(shards)
        options = Options(seeds=numbers, shards=location, **given)
        sys.exit(command.dry_run(options) if dry_run else command.sweep(options))


def _seeds(given: str | None) -> tuple[int, ...]:
    """Out of "0,1,2"; empty for the recipe's."""
    if given is None:
        return ()
    parts = [part.strip() for part in given.split(",") if part.strip()]
    if not parts or not all(re.fullmatch(r"[0-9]{1,19}", part) and int(part) < 2**63 for part in parts):
        raise UsageError(f"--seeds {given}: write whole numbers from 0 to below 2^63, such as 0,1,2")
    return tuple(map(int, parts))
