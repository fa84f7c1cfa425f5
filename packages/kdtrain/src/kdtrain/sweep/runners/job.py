"""One run in a process of its own: trained, calibrated, measured: ``python -m kdtrain.sweep.runners.job``.

A request comes as one line of JSON on standard input, which then stays open for as long as the sweep lives: its end
ends this process, so that no run goes on without its sweep and the same command never meets a second writer. Both
output streams go to the run's log. A crash, or memory that does not suffice, ends this run alone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdtrain.errors import TrainingError, UsageError
from kdtrain.locks import held
from kdtrain.screen import console, say
from kdtrain.shards.cache import CacheSettings, cache_settings
from kdtrain.shards.error import ShardError

PATIENCE_SECONDS = 120.0
"""How long a run waits for another process to leave its folder: one whose sweep was killed needs a moment to end."""
FAILED = 1


def main() -> None:
    """Do what the request on standard input says; exit code 1 and a last line "error: ..." where that fails."""
    request: dict[str, Any] = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_sweep, daemon=True).start()
    try:
        lock, folder = Path(request["lock"]), Path(request["folder"])
        with held(lock, "kdtrain sweep", folder, patience_s=PATIENCE_SECONDS):
            run_request(request)
    except (UsageError, TrainingError, ShardError, OSError) as error:
        say(f"error: {sentence_of(error)}", err=True)
        sys.exit(FAILED)


def sentence_of(error: Exception) -> str:
    """What a person reads of an error: of the system's the reason and the file, without number and quotes."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return error.strerror + (f": {error.filename}" if error.filename else "")


def run_request(request: Mapping[str, Any]) -> None:
    """Train, calibrate where that is asked for, and measure.

    Args:
        request: Made by :func:`kdtrain.sweep.runners.local.request_of`.
    """
    from kdtrain.evaluation.calibrate import calibrate
    from kdtrain.evaluation.evaluate import evaluate

    if request["train"]:
        _train(request["phase"], request["config"])
    reading: dict[str, Any] = {"workers": request["workers"], "cache": _cache(request["cache"])}
    drawn_on = console(stderr=True)
    if request["calibrate_on"] is not None:
        say(f"calibrating on {request['calibrate_on']}", err=True)
        folder, split = Path(request["folder"]), request["calibrate_on"]
        calibrate(folder, request["shards"], split=split, console=drawn_on, **reading)
    for split in request["splits"]:
        say(f"measuring on {split}", err=True)
        evaluate(
            run=Path(request["folder"]),
            shards=request["shards"],
            split=split,
            unit=request["unit"],
            iterations=request["iterations"],
            seed=0,
            console=drawn_on,
            **reading,
        )


def _cache(given: tuple[str, float] | None) -> CacheSettings:
    if given is None:
        return cache_settings()
    folder, gigabytes = given
    return cache_settings(Path(folder) if folder else None, gigabytes)


def _train(phase: str, settings: Mapping[str, Any]) -> None:
    from kdtrain.phases.start import run_phase
    from kdtrain.sweep.recipe import CONFIGS
    from kdtrain.training.monitor import Monitor

    config = CONFIGS[phase](**settings)
    with Monitor(console(stderr=True), config=config) as monitor:
        run_phase(config, monitor)


def _end_with_sweep() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    # The loader's processes are of the same group and must not outlive this one.
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(FAILED)


if __name__ == "__main__":
    main()
