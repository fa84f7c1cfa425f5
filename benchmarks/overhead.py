"""Seconds per optimizer step of ``kdtrain teacher`` against a bare PyTorch loop that does the same arithmetic.

    python benchmarks/overhead.py [--magnification 2.5] [--output-stride 8] [--micro-batch 1]

Both train resnet10 on the same synthetic samples of 256 to 512 px at 10x (64 to 128 px at 2.5x), one after the other in
the same order with the same draws, on the CPU with one thread: in turn, an epoch each, several rounds. The bare loop is
what one would write without kdtrain: tarfile, Pillow, cross-entropy, torch.optim.Adam, gradients accumulated over the
group, image by image. kdtrain takes small images of one size together; with --micro-batch 1 it does not. Its steps hold
all that its loop does between two updates: checked reading, DeepSpeed, the norm of the gradient, log, progress bar and
TensorBoard. Validation and checkpoints come between epochs and are left out.

The table gives medians over the rounds, summed over an epoch's steps. The weights of both must agree after every round:
the root of the mean squared difference is printed, and one above 1e-5 ends with exit code 1. Single weights may differ
by more, since Adam divides by the root of the squared gradient, which lends even rounding the size of a step where
gradients are near 0. The aim: a ratio of at most 1.03.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import click
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own abbreviation
from _bare_tars import Tars
from _common import markdown_table
from _training import write_benchmark_set
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader

from kdtrain.augment import AugmentSettings, apply, draw, standardise
from kdtrain.config.phases import TeacherConfig
from kdtrain.data.stream import SampleStream
from kdtrain.model.resnet import build_model
from kdtrain.phases.teacher import train_teacher
from kdtrain.shards.index import read_index
from kdtrain.training.monitor import EpochBar, Monitor

SEED = 0
AGREEMENT = 1e-5


@dataclass(frozen=True, kw_only=True)
class Task:
    """What both loops do.

    Attributes:
        shards: The set.
        magnification: Of the images.
        accumulate: Samples per step.
        workers: Loader processes.
        output_stride: Image pixels per feature-map cell: the paper's is 32, and costs the least.
        micro_batch: Of kdtrain; the bare loop takes single images.
    """

    shards: Path
    magnification: float
    accumulate: int
    workers: int
    output_stride: int = 32
    micro_batch: int = 0


@dataclass(frozen=True, kw_only=True)
class Clock:
    """A moment, on the wall and in seconds of this process's CPU time."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Clock:
        """This moment."""
        return cls(wall=time.perf_counter(), cpu=time.process_time())

    def since(self, earlier: Clock) -> Clock:
        """What lies between."""
        return Clock(wall=self.wall - earlier.wall, cpu=self.cpu - earlier.cpu)


class Stopwatch(Monitor):
    """A run's usual monitor that also notes when each step is done."""

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__(Console(file=io.StringIO(), force_terminal=True), config=config)
        self.steps: list[Clock] = []

    @contextmanager
    def epoch(self, epoch: int, epochs: int, samples: int) -> Iterator[EpochBar]:
        """As usual; the first step begins here."""
        with super().epoch(epoch, epochs, samples) as bar:
            self._last = Clock.now()
            yield bar

    def record(self, entry: Mapping[str, Any]) -> None:
        """As usual; a step ends here."""
        super().record(entry)
        if entry["kind"] == "step":
            now = Clock.now()
            self.steps.append(now.since(self._last))
            self._last = now


def run_kdtrain(task: Task, out: Path) -> tuple[list[Clock], dict[str, Tensor]]:
    """One epoch of ``kdtrain teacher``."""
    config = TeacherConfig(
        shards=task.shards,
        magnification=task.magnification,
        output_stride=task.output_stride,
        micro_batch=task.micro_batch,
        out=out,
        epochs=1,
        accumulate=task.accumulate,
        workers=task.workers,
        seed=SEED,
        validate_on="none",
    )
    with Stopwatch(config) as monitor:
        train_teacher(config, monitor)
    return monitor.steps, load_file(out / "model.safetensors")


def run_bare(task: Task, order: list[str]) -> tuple[list[Clock], dict[str, Tensor]]:
    """One epoch of a loop without kdtrain's engine, loader, log or bar."""
    document = json.loads((task.shards / "index.json").read_text())
    statistics = document["statistics"][f"{task.magnification:g}x"]
    classes = len(document["classes"])
    model = build_model("resnet10", n_classes=classes, output_stride=task.output_stride, seed=SEED)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
    settings = AugmentSettings()
    steps = []
    last = Clock.now()
    loader = DataLoader(
        Tars(task.shards, task.magnification, order), batch_size=None, num_workers=task.workers
    )
    for done, (key, image, label) in enumerate(loader, start=1):
        drawn = draw(settings, seed=SEED, epoch=0, key=key)
        x = standardise(apply(image, drawn)[None], statistics["mean"], statistics["std"])
        group = min(task.accumulate, len(order) - (done - 1) // task.accumulate * task.accumulate)
        _, logits = model(x)
        (F.cross_entropy(logits, torch.tensor([label])) / group).backward()
        if done % task.accumulate == 0 or done == len(order):
            optimizer.step()
            optimizer.zero_grad()
            now = Clock.now()
            steps.append(now.since(last))
            last = now
    return steps, model.state_dict()


def order_of(task: Task) -> list[str]:
    """Keys in the order of the first epoch."""
    stream = SampleStream(read_index(task.shards), "train", [task.magnification], seed=SEED)
    return [sample.key for group in stream.epoch(0) for sample in group.samples()]


def distance(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Root of the mean squared difference of all weights."""
    differences = torch.cat([(weights[name] - expected[name]).double().flatten() for name in expected])
    return float(differences.square().mean().sqrt())


def epoch_seconds(rounds: list[list[Clock]], clock: str) -> float:
    """Sum over an epoch's steps of the median over the rounds."""
    return sum(median(getattr(step, clock) for step in steps) for steps in zip(*rounds, strict=True))


@click.command()
@click.option("--samples", default=30, show_default=True, help="Of an epoch.")
@click.option("--accumulate", default=10, show_default=True, help="Samples per step.")
@click.option("--rounds", default=5, show_default=True, help="Epochs of each, in turn.")
@click.option("--workers", default=0, show_default=True, help="Loader processes of both.")
@click.option(
    "--magnification", default=10.0, show_default=True, help="10, or 2.5 for a sixteenth of the pixels."
)
@click.option("--output-stride", default=32, show_default=True, help="32, the paper's, costs the least.")
@click.option("--micro-batch", default=0, show_default=True, help="Of kdtrain.")
def main(
    samples: int,
    accumulate: int,
    rounds: int,
    workers: int,
    magnification: float,
    output_stride: int,
    micro_batch: int,
) -> None:
    """Compare seconds per step."""
    torch.set_num_threads(1)
    measured: dict[str, list[list[Clock]]] = {"kdtrain teacher": [], "bare PyTorch": []}
    furthest = 0.0
    with tempfile.TemporaryDirectory() as name:
        shards = write_benchmark_set(Path(name) / "set", samples)
        task = Task(
            shards=shards,
            magnification=magnification,
            accumulate=accumulate,
            workers=workers,
            output_stride=output_stride,
            micro_batch=micro_batch,
        )
        order = order_of(task)
        for number in range(rounds + 1):
            ours, weights = run_kdtrain(task, Path(name) / f"run-{number}")
            theirs, expected = run_bare(task, order)
            furthest = max(furthest, distance(weights, expected))
            if number:  # the first round warms up
                measured["kdtrain teacher"].append(ours)
                measured["bare PyTorch"].append(theirs)
    steps = len(ours)
    rows = []
    for variant, clocks in measured.items():
        row = [variant]
        for clock in ("wall", "cpu"):
            seconds, bare = (epoch_seconds(c, clock) for c in (clocks, measured["bare PyTorch"]))
            row += [f"{seconds / steps:.3f}", f"{seconds / bare:.3f}"]
        rows.append(row)
    click.echo(markdown_table(["loop", "s per step", "ratio", "CPU s per step", "ratio"], rows))
    click.echo(
        f"\n{samples} samples at {magnification:g}x, {accumulate} a step, medians of {rounds} rounds, {workers} loader "
        f"processes; weights differ by {furthest:.1e} (root mean square) at most after {steps} steps."
    )
    sys.exit(0 if furthest <= AGREEMENT else 1)


if __name__ == "__main__":
    main()
