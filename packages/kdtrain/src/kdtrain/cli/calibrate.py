"""``kdtrain calibrate``: options to one call, and the temperature to the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kdtrain.cli.evaluate import reading_options
from kdtrain.cli.exit_codes import exit_codes
from kdtrain.shards.cache import cache_settings


@click.command("calibrate")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--shards", required=True, help="Folder of the shard set, or its URL.")
@click.option(
    "--on",
    "split",
    default="val",
    show_default=True,
    help="Labelled split or set that was not trained on, such as val or dev; not the one that is measured on.",
)
@reading_options
def calibrate_command(run: Path, shard_cache: Path | None, shard_cache_gb: float, **options: Any) -> None:
    """Make a run's probabilities say how often they are right: fit its temperature on a labelled split.

    It is kept in RUN, and 'kdtrain evaluate', 'export' and 'predict' apply it. Answers for a region stay the same; how
    sure the network says it is does not.
    """
    with exit_codes():
        from kdtrain.cli.probabilities import calibrated_lines
        from kdtrain.evaluation.calibrate import calibrate
        from kdtrain.screen import console, say

        cache = cache_settings(shard_cache, shard_cache_gb)
        calibration = calibrate(run, console=console(stderr=True), cache=cache, **options)
        for line, is_warning in calibrated_lines(calibration, run):
            say(line, err=is_warning)
