"""What ``kdtrain sweep --dry-run`` predicts beside what the same runs then take, on the CPU with one thread.

    python benchmarks/estimates.py [--part time|memory] [--epochs 2]

Each run is first estimated, calibration included, and then made by ``kdtrain`` in a process of its own on synthetic
shards, without loader processes. Seconds are those of the process, from the command to its end: on the wall, and of CPU
time, which other work on the machine disturbs less. Memory is the largest resident size of the process. Ratios are
predicted / measured. Three minutes.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import click
from _common import markdown_table
from _training import write_benchmark_set, write_one_size

from kdtrain.config.phases import BaselineConfig, DistillConfig, PhaseConfig, TeacherConfig
from kdtrain.model.network import Network
from kdtrain.model.resnet import ModelSpec
from kdtrain.shards.index import Index, read_index
from kdtrain.sweep.estimate.cost import RunEstimate, Speed, estimate_run, measure_speed

QUICK: dict[str, Any] = {"workers": 0, "accumulate": 10, "logger": "none", "device": "cpu"}
HIGH, LOW = 10.0, 2.5


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a process took.

    Attributes:
        wall_s: From its start to its end.
        cpu_s: Of user and system.
        peak_bytes: Largest resident size.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int


def run(config: PhaseConfig) -> Usage:
    """Run a phase in a process of its own.

    Raises:
        click.ClickException: It failed.
    """
    options = [f"--{name.replace('_', '-')}={value}" for name, value in _given(config).items()]
    code = "import sys; from kdtrain.cli.main import main; sys.exit(main())"
    log = config.out.with_suffix(".log")
    began = time.monotonic()
    with log.open("wb") as file:
        command = [sys.executable, "-c", code, config.phase, "--logger", "none", *options]
        actions = [(os.POSIX_SPAWN_DUP2, file.fileno(), 1), (os.POSIX_SPAWN_DUP2, file.fileno(), 2)]
        pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=actions)
        _, status, usage = os.wait4(pid, 0)
    if status:
        raise click.ClickException(f"kdtrain {config.phase} failed:\n{log.read_text(errors='replace')}")
    return Usage(
        wall_s=time.monotonic() - began,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,
    )


def _given(config: PhaseConfig) -> dict[str, Any]:
    given = config.model_dump(exclude_unset=True)
    del given["logger"]
    return given


def network(index: Index, magnification: float) -> Network:
    """The paper's, at a magnification."""
    colours = index.statistics_of(magnification)
    return Network(
        model="resnet10",
        output_stride=32,
        classes=tuple(index.document.classes),
        magnification=magnification,
        mean=colours.mean,
        std=colours.std,
    )


def estimate(config: PhaseConfig, index: Index, speed: Speed) -> RunEstimate:
    """Predict."""
    student = network(index, getattr(config, "magnification"))  # noqa: B009 - fine-tuning has none
    teacher = network(index, HIGH) if isinstance(config, DistillConfig) else None
    return estimate_run(config, index, teacher=teacher, student=student, speed=speed)


def calibrate() -> Speed:
    """What a dry run does first."""
    return measure_speed("cpu", ModelSpec(name="resnet10", n_classes=2))


def configurations(shards: Path, folder: Path, **more: Any) -> dict[str, PhaseConfig]:
    """Baseline, teacher, student: the last needs the teacher's run."""
    common = {"shards": shards, **QUICK, **more}
    return {
        f"baseline at {LOW:g}x": BaselineConfig(out=folder / "low", magnification=LOW, **common),
        f"teacher at {HIGH:g}x": TeacherConfig(out=folder / "high", magnification=HIGH, **common),
        f"student at {LOW:g}x": DistillConfig(
            out=folder / "kd", teacher=folder / "high", magnification=LOW, **common
        ),
    }


def time_table(folder: Path, samples: int, epochs: int) -> str:
    """Predicted and measured seconds of a few short runs."""
    shards = write_benchmark_set(folder / "set", samples)
    index, rows = read_index(shards), []
    for name, config in configurations(shards, folder, epochs=epochs).items():
        # Just before each run, since a machine's speed is not the same all day.
        seconds, took = estimate(config, index, calibrate()).seconds, run(config)
        numbers = (seconds, took.wall_s, seconds / took.wall_s, took.cpu_s, seconds / took.cpu_s)
        rows.append([name, *(f"{number:.2f}" for number in numbers)])
        click.echo(f"{name}: done", err=True)
    return markdown_table(["run", "predicted s", "wall s", "ratio", "CPU s", "ratio"], rows)


def memory_table(folder: Path, sides: tuple[int, ...]) -> str:
    """Predicted and measured resident memory by the side of square images at 10x."""
    speed, rows = calibrate(), []
    for side in sides:
        place = folder / str(side)
        shards = write_one_size(place / "set", side)
        index = read_index(shards)
        for name, config in configurations(shards, place, epochs=1, validate_on="none").items():
            predicted, took = estimate(config, index, speed).memory_bytes, run(config).peak_bytes
            numbers = (f"{predicted / 1e6:.0f}", f"{took / 1e6:.0f}", f"{predicted / took:.2f}")
            rows.append([name, str(side), *numbers])
            click.echo(f"{name}, {side} px: {' '.join(numbers)}", err=True)
    return markdown_table(["run", "px at 10x", "predicted MB", "measured MB", "ratio"], rows)


@click.command()
@click.option("--part", type=click.Choice(["time", "memory"]), help="One of the two tables alone.")
@click.option("--samples", default=60, show_default=True, help="Training samples of the timed runs.")
@click.option("--epochs", default=2, show_default=True, help="Of the timed runs.")
@click.option(
    "--side", "sides", multiple=True, default=(512, 1024, 2048), show_default=True, help="Pixels at 10x."
)
def main(part: str | None, samples: int, epochs: int, sides: tuple[int, ...]) -> None:
    """Compare estimates with runs."""
    with tempfile.TemporaryDirectory() as name:
        if part != "memory":
            click.echo(time_table(Path(name) / "time", samples, epochs) + "\n")
        if part != "time":
            click.echo(memory_table(Path(name) / "memory", sides))


if __name__ == "__main__":
    main()
