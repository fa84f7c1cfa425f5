"""What a person sees of a run, and where its numbers also go: a bar per epoch, TensorBoard, Weights & Biases."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from kdtrain.data.loader import LoadStats
from kdtrain.errors import UsageError


class EpochBar:
    """The bar of one epoch."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._before: LoadStats | None = None

    def skip(self, samples: int) -> None:
        """Samples that an earlier process has trained on."""
        self._progress.advance(self._task, samples)

    def step(self, samples: int, loss: float, stats: LoadStats) -> None:
        """One group is done."""
        now = stats if self._before is None else stats - self._before
        self._before = self._before or stats
        self._progress.update(
            self._task,
            advance=samples,
            loss=f"{loss:.4f}",
            speed=f"{now.samples_per_s:.1f} samples/s {now.megapixels_per_s:.1f} MP/s wait {now.wait_share:.0%}",
            memory=f"{memory_gb():.1f} GB",
        )


class SampleBar:
    """A bar over samples that are only looked at."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def step(self, stats: LoadStats) -> None:
        """One sample is done."""
        speed = f"{stats.samples_per_s:.1f} samples/s {stats.megapixels_per_s:.1f} MP/s wait {stats.wait_share:.0%}"
        self._progress.update(self._task, advance=1, speed=speed, memory=f"{memory_gb():.1f} GB")


class Monitor:
    """Shows and records a run, on rank 0; silent elsewhere.

    Args:
        console: Where to draw.
        out: The run's folder, for TensorBoard events.
        active: Whether this is rank 0.
        tensorboard: Whether to write events.
        wandb: Weights & Biases project, or None.

    Raises:
        UsageError: Weights & Biases was asked for and is not installed.
    """

    def __init__(
        self,
        console: Console,
        out: Path,
        *,
        active: bool = True,
        tensorboard: bool = True,
        wandb: str | None = None,
    ) -> None:
        self._console = console
        self._active = active
        self._out = out
        self._tensorboard = tensorboard and active
        self._writer: Any = None
        self._wandb = _wandb_run(wandb, out) if wandb is not None and active else None

    @contextmanager
    def epoch(self, epoch: int, epochs: int, samples: int) -> Iterator[EpochBar]:
        """A bar over the samples of an epoch."""
        with self._bar(f"epoch {epoch + 1}/{epochs}", "loss {task.fields[loss]}") as progress:
            yield EpochBar(progress, progress.add_task("", total=samples, loss="-", speed="", memory=""))

    @contextmanager
    def samples(self, what: str, samples: int) -> Iterator[SampleBar]:
        """A bar over samples.

        Args:
            what: Is done to them.
            samples: How many.
        """
        with self._bar(what) as progress:
            yield SampleBar(progress, progress.add_task("", total=samples, speed="", memory=""))

    def _bar(self, what: str, *columns: str) -> Progress:
        """A bar with columns of its own behind the count."""
        return Progress(
            TextColumn(what),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            *map(TextColumn, columns),
            TextColumn("{task.fields[speed]}"),
            TextColumn("{task.fields[memory]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._active,
        )

    def validated(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Show an epoch's validation."""
        shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        self.say(f"epoch {epoch + 1}: validation {shown}")

    def say(self, sentence: str) -> None:
        """Show a sentence."""
        if self._active:
            self._console.print(Text(sentence))

    def record(self, entry: Mapping[str, Any]) -> None:
        """Send a line of the log to TensorBoard and Weights & Biases."""
        numbers = {
            k: float(v) for k, v in entry.items() if isinstance(v, int | float) and not isinstance(v, bool)
        }
        step = int(numbers.pop("step"))
        if self._tensorboard:
            self._write_events({f"{entry['kind']}/{name}": value for name, value in numbers.items()}, step)
        if self._wandb is not None:
            self._wandb.log({f"{entry['kind']}/{name}": value for name, value in numbers.items()}, step=step)

    def _write_events(self, numbers: Mapping[str, float], step: int) -> None:
        """All in one event: SummaryWriter.add_scalar makes one of each number, which takes four times as long."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._out), purge_step=step)
        values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._writer.file_writer.add_summary(Summary(value=values), step)

    def close(self) -> None:
        """Write out what is buffered."""
        if self._writer is not None:
            self._writer.close()
        if self._wandb is not None:
            self._wandb.finish()


def _wandb_run(project: str, out: Path) -> Any:
    try:
        import wandb
    except ImportError:
        raise UsageError(
            f"--wandb {project} needs Weights & Biases: pip install wandb, or leave the option out"
        ) from None
    return wandb.init(project=project, name=out.name, dir=str(out), resume="allow")


def memory_gb() -> float:
    """Largest memory so far: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
