"""Kill training at random moments, finish it with the same command, and compare with a run nobody disturbed.

    python benchmarks/kill_training.py --times 10

Each run is killed with SIGKILL at a moment of its own, wherever it is: importing, before its first checkpoint, in a
step, in a validation, while a checkpoint is written. The same command must then end with the same model.safetensors,
byte for byte, and the same log but for clocks. Exit code 1 otherwise. Every other run writes a checkpoint at each
step. Four minutes for ten.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from _common import markdown_table
from _training import write_benchmark_set

EPOCHS, ACCUMULATE, SAMPLES = 4, 4, 18
ONE_THREAD = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
CLOCKS = frozenset({"wait_share"})


def start(shards: Path, out: Path, every: int, log: Path) -> subprocess.Popen[bytes]:
    """Start ``kdtrain baseline``."""
    command = [sys.executable, "-c", "from kdtrain.cli.main import main; main()", "baseline"]
    command += ["--shards", str(shards), "--out", str(out), "--magnification", "2.5", "--logger", "none"]
    command += ["--epochs", str(EPOCHS), "--accumulate", str(ACCUMULATE), "--checkpoint-every", str(every)]
    with log.open("ab") as file:
        return subprocess.Popen(command, env={**os.environ, **ONE_THREAD}, stdout=file, stderr=file)


def finish(shards: Path, out: Path, every: int, log: Path) -> None:
    """Run to the end."""
    if start(shards, out, every, log).wait() != 0:
        raise click.ClickException(f"a run that was not killed failed:\n{log.read_text(errors='replace')}")


def steps_of(out: Path) -> int:
    """Steps that the log has whole lines of."""
    path = out / "log.jsonl"
    return path.read_bytes().count(b'"kind": "step"') if path.exists() else 0


def checkpoints_of(out: Path) -> int:
    """Finished checkpoints."""
    return len(list(out.glob("checkpoints/step-*")))


def result_of(out: Path) -> tuple[str, list[dict[str, Any]]]:
    """SHA-256 of the network, and the log without clocks."""
    digest = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return digest, [{k: v for k, v in line.items() if k not in CLOCKS} for line in lines]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When to kill: so many seconds after a number of steps was logged, or after the start."""

    steps: int
    seconds: float

    def wait(self, out: Path, process: subprocess.Popen[bytes]) -> None:
        """Return when it has come, or the run has ended."""
        while process.poll() is None and steps_of(out) < self.steps:
            time.sleep(0.001)
        time.sleep(self.seconds)

    def __str__(self) -> str:
        return f"step {self.steps} + {self.seconds * 1000:.0f} ms" if self.steps else f"{self.seconds:.1f} s"


def moments(times: int, seed: int) -> list[Moment]:
    """One in five while the program starts, the others over all steps but the last, each in a slice of its own."""
    draw = random.Random(seed)
    early = times // 5
    started = [Moment(steps=0, seconds=draw.uniform(0.5, 5)) for _ in range(early)]
    last = EPOCHS * -(-SAMPLES // ACCUMULATE) - 1
    slices = times - early
    steps = [1 + int((n + draw.random()) / slices * (last - 1)) for n in range(slices)]
    return started + [Moment(steps=step, seconds=draw.uniform(0, 0.04)) for step in steps]


def trial(shards: Path, out: Path, every: int, moment: Moment, expected: object) -> tuple[list[str], bool]:
    """Kill, resume, compare; returns a row of the table and whether all is as it should be."""
    log = out.with_suffix(".log")
    process = start(shards, out, every, log)
    moment.wait(out, process)
    process.kill()
    killed = process.wait() == -9
    row = [str(moment), str(every or "-"), str(steps_of(out)), str(checkpoints_of(out))]
    finish(shards, out, every, log)
    same = result_of(out) == expected
    verdict = "the same bits" if same else "DIFFERENT"
    return [*row, verdict if killed else f"{verdict}, but it had ended before"], same and killed


@click.command()
@click.option("--times", default=10, show_default=True, help="Runs to kill.")
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
def main(times: int, seed: int) -> None:
    """Kill training at random moments; exit code 1 where a resumed run ends otherwise."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = write_benchmark_set(folder / "set", SAMPLES)
        finish(shards, folder / "undisturbed", 0, folder / "undisturbed.log")
        expected = result_of(folder / "undisturbed")
        rows, good = [], []
        for number, moment in enumerate(moments(times, seed)):
            row, fine = trial(shards, folder / f"run-{number}", number % 2, moment, expected)
            rows.append([str(number + 1), *row])
            good.append(fine)
    header = ["run", "killed at", "checkpoint every", "steps logged", "checkpoints", "resumed, it ends with"]
    click.echo(markdown_table(header, rows))
    click.echo(
        f"\n{sum(good)} of {times} killed runs ended with the weights and the log of the undisturbed one."
    )
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
