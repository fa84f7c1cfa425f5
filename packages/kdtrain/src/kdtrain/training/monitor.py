"""What a person sees of a run: a bar per epoch, sentences; its numbers also go to loggers."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from kdtrain.config.phases import PhaseConfig
from kdtrain.data.loader import LoadStats
from kdtrain.training.loggers.guarded import Loggers, check_installed
from kdtrain.training.loggers.logger import LoggedRun


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
    """Shows a run, and hands its log to loggers, on rank 0; silent elsewhere. A block that ends ends them.

    Args:
        console: Where to draw.
        active: Whether this is rank 0.
        config: Settings of the run whose log is handed on; None where there is none.

    Raises:
        UsageError: A logger was asked for and is not installed.
    """

    def __init__(self, console: Console, *, active: bool = True, config: PhaseConfig | None = None) -> None:
        self._console = console
        self._active = active
        self._loggers: Loggers | None = None
        if config is not None:
            check_installed(config.logger)
            if active:
                run = LoggedRun(
                    folder=config.out, project=config.log_project, settings=config.record, say=self.say
                )
                self._loggers = Loggers(config.logger, run)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loggers is not None:
            self._loggers.close(failed=kind is not None)

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
        """Hand a line of the log to the loggers."""
        if self._loggers is not None:
            self._loggers.log(entry)


def memory_gb() -> float:
    """Largest memory so far: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
