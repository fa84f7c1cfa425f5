"""The largest square 10x image that a training step takes within a given memory: predicted, and measured.

    python benchmarks/memory.py --gb 2 --gb 4 [--device auto] [--precision bf16]

Predicted is what ``kdtrain sweep --dry-run`` says (kdtrain.sweep.estimate.memory): of the paper's network at 10x, a
micro-batch of one, augmentation included, with and without activation checkpointing. Measured is ``kdtrain teacher`` on
two images of that side, two optimizer steps, in a process of its own: on a CPU the largest resident size of that
process (VmHWM); on a GPU the most that PyTorch allocated there, and on top of it the 0.5 GB that the prediction counts
for CUDA itself.

The search for the largest side that fits begins where the prediction says and goes on in steps of --step px. Every side
that was measured is in the first table. 2 and 4 GB take a quarter of an hour on two cores.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import click
import torch
from _common import machine, machine_line, markdown_table
from _tissue_set import write_tissue_set

from kdtrain.config.phases import Precision
from kdtrain.model.resnet import ModelSpec
from kdtrain.sweep.estimate.memory import Images, StepShape, step_bytes
from kdtrain.sweep.estimate.speed import CONTEXT_BYTES, PROCESS_BYTES
from kdtrain.training.engine.launch import Launch, pick_device

SPEC = ModelSpec(name="resnet10", n_classes=2)
STEP_PX = 32
"""Sides are multiples of it: then every stage of the network halves exactly."""

MEASURE = """
import re, sys
from pathlib import Path
from kdtrain.cli.main import main

result = Path(sys.argv.pop(1))
try:
    main()
finally:
    import torch
    used = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else 0
    status = Path("/proc/self/status").read_text()
    result.write_text(str(used or int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) * 1024))
"""


@dataclass(frozen=True, kw_only=True)
class Mode:
    """How a step is taken.

    Attributes:
        device: cpu or cuda.
        precision: Of the network's arithmetic.
        recompute: Whether activations are computed twice rather than kept.
    """

    device: str
    precision: Precision
    recompute: bool

    @property
    def name(self) -> str:
        """For tables."""
        return "checkpointing" if self.recompute else "plain"

    @property
    def fixed_bytes(self) -> int:
        """Taken before any image, as a dry run counts it."""
        return PROCESS_BYTES if self.device == "cpu" else CONTEXT_BYTES


def predicted_bytes(mode: Mode, side: int) -> int:
    """What a dry run says of a teacher at 10x on square images."""
    shape = StepShape(
        student=Images(spec=SPEC, height=side, width=side),
        precision=mode.precision,
        recompute=mode.recompute,
    )
    return mode.fixed_bytes + step_bytes(shape, on_cpu=mode.device == "cpu")


def measured_bytes(mode: Mode, side: int, folder: Path) -> int | None:
    """Train on two images of that side; None where the device's memory does not suffice.

    Raises:
        click.ClickException: It failed otherwise.
    """
    shards = folder / f"set-{side}"
    if not shards.exists():
        write_tissue_set(shards, 2, side, (10, 2.5))
    run = folder / f"{mode.name}-{side}"
    result = run.with_suffix(".bytes")
    options = ["--shards", shards, "--out", run, "--device", mode.device, "--precision", mode.precision]
    options += ["--epochs", 1, "--accumulate", 1, "--workers", 0, "--validate-on", "none", "--logger", "none"]
    options += ["--activation-checkpointing"] * mode.recompute
    command = [sys.executable, "-c", MEASURE, result, "teacher", *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if "not enough memory" in done.stderr:
        return None
    if done.returncode:
        raise click.ClickException(f"kdtrain teacher at {side} px failed:\n{done.stderr}")
    used = int(result.read_text())
    return used if mode.device == "cpu" else used + mode.fixed_bytes


def largest_predicted(mode: Mode, budget: float, step: int) -> int:
    """Bisection over the prediction, which grows with the side."""
    low, high = 0, 1
    while predicted_bytes(mode, high * step) <= budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if predicted_bytes(mode, middle * step) <= budget else (low, middle)
    return low * step


class Search:
    """Measures each side once.

    Args:
        mode: How.
        folder: For sets and runs.

    Attributes:
        measured: Bytes by side; None for more than there is.
    """

    def __init__(self, mode: Mode, folder: Path) -> None:
        self.measured: dict[int, int | None] = {}
        self._mode, self._folder = mode, folder

    def fits(self, side: int, budget: float) -> bool:
        """Whether a step on an image of that side stays within so many bytes."""
        if side not in self.measured:
            self.measured[side] = measured_bytes(self._mode, side, self._folder)
            click.echo(f"{self._mode.name}, {side} px: {self.measured[side]}", err=True)
        used = self.measured[side]
        return used is not None and used <= budget

    def largest(self, budget: float, *, start: int, step: int) -> int:
        """The largest multiple of ``step`` that fits, looked for from ``start`` on; 0 where none does."""
        side = max(step, start)
        if self.fits(side, budget):
            while self.fits(side + step, budget):
                side += step
            return side
        while side > 0 and not self.fits(side, budget):
            side -= step
        return side


def side_rows(mode: Mode, search: Search) -> list[list[str]]:
    """Lines of the first table."""
    rows = []
    for side, measured in sorted(search.measured.items()):
        predicted = predicted_bytes(mode, side)
        shown = ["out of memory", ""]
        if measured is not None:
            shown = [f"{measured / 1e6:.0f}", f"{predicted / measured:.2f}"]
        rows.append([mode.name, str(side), f"{predicted / 1e6:.0f}", *shown])
    return rows


@click.command()
@click.option(
    "--gb", "budgets", multiple=True, type=float, default=(2.0, 4.0), show_default=True, help="10^9 bytes."
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", show_default=True)
@click.option("--step", default=256, show_default=True, help="Between two sides, in px: a multiple of 32.")
def main(budgets: tuple[float, ...], device: str, precision: Precision, step: int) -> None:
    """Predict, measure and print."""
    if step < STEP_PX or step % STEP_PX:
        raise click.UsageError(f"--step {step} is no multiple of {STEP_PX}, as the sides of images are here")
    where = pick_device(device, Launch())  # type: ignore[arg-type]
    sides, fitting = [], []
    for recompute in (False, True):
        mode = Mode(device=where.type, precision=precision, recompute=recompute)
        with tempfile.TemporaryDirectory() as name:
            search = Search(mode, Path(name))
            for budget in budgets:
                predicted = largest_predicted(mode, budget * 1e9, step)
                found = search.largest(budget * 1e9, start=predicted, step=step)
                fitting.append([f"{budget:g}", mode.name, str(predicted), str(found)])
        sides += side_rows(mode, search)
    click.echo(markdown_table(["step", "px at 10x", "predicted MB", "measured MB", "ratio"], sides) + "\n")
    click.echo(markdown_table(["GB", "step", "largest predicted px", "largest measured px"], fitting) + "\n")
    chip = torch.cuda.get_device_name() if where.type == "cuda" else "CPU, one thread"
    click.echo(
        f"{datetime.datetime.now(datetime.UTC).date()}, {chip}, {precision}; deepspeed "
        f"{importlib.metadata.version('deepspeed')}. {machine_line(machine())}"
    )


if __name__ == "__main__":
    main()
