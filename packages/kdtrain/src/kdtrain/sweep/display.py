"""What a person sees of a sweep: a line as each run starts and ends, what runs now, and a table at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kdtrain.screen import console
from kdtrain.sweep.jobs import Job
from kdtrain.sweep.standings import Standing
from kdtrain.sweep.state import balanced_accuracy, place_of, training_seconds

_FILE_COLUMNS = 120
_STYLES = {"finished": "green", "failed": "red", "skipped": "yellow", "waiting": "dim"}


class Screen:
    """The lines of a sweep at work, on a console; a live line only on a terminal.

    Args:
        console: Where.
        total: Runs to complete.
        done: Number of these, complete at the start.
    """

    def __init__(self, console: Console, *, total: int, done: int) -> None:
        self._console = console
        self._total, self._done = total, done
        self._live = Live(console=console, transient=True, refresh_per_second=2, auto_refresh=False)

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def say(self, sentence: str, style: str = "") -> None:
        """A line that stays."""
        # Broken by the terminal, if at all: in a batch job's log a path stays in one piece.
        self._console.print(Text(sentence, style=style), soft_wrap=True)

    def started(self, name: str, verb: str) -> None:
        """A run has started: trains, goes on at step 40, is measured."""
        self.say(f"{name}: {verb}")

    def finished(self, name: str, seconds: float, accuracy: float | None, *, measured: bool = True) -> None:
        """A run is complete; a feature network without having been measured."""
        self._done += 1
        what = accuracy_text(accuracy) if measured else "a feature network"
        self.say(f"{name}: done in {duration(seconds)}, {what} ({self._place()})", "green")

    def failed(self, name: str, reason: str, log: Path | None) -> None:
        """A run has failed; None where it was not started."""
        self.say(f"{name}: failed: {reason}" + (f"\n  log  {log}" if log else ""), "red")

    def skipped(self, name: str, reason: str) -> None:
        """A run cannot start."""
        self.say(f"{name}: skipped: {reason}", "yellow")

    def refresh(self, running: Sequence[Job]) -> None:
        """Draw the live line anew."""
        if self._console.is_terminal:
            shown = "   ".join(f"{job.name} {_where(job)}".strip() for job in running)
            self._live.update(Text(f"{self._place()}   now: {shown}", overflow="ellipsis", no_wrap=True))
            self._live.refresh()

    def _place(self) -> str:
        return f"{self._done} of {self._total}"


def _where(job: Job) -> str:
    place = place_of(job.folder)
    if place is None or job.config is None:
        return ""
    return f"epoch {place[0]}/{job.config.epochs}"


def report_console() -> Console:
    """Standard output: as wide as the terminal, and in a file wide enough for a table."""
    plain = console()
    return plain if plain.is_terminal else console(width=_FILE_COLUMNS)


def result_table(jobs: Sequence[Job], standings: Sequence[Standing], split: str) -> Table:
    """How every run stands, with its balanced accuracy over the images of a split."""
    title = f"Balanced accuracy on {split}, images"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("run", overflow="fold")
    for heading in ("method", "state"):
        table.add_column(heading, overflow="fold")
    for heading in ("mag.", "seed", "%", "training"):
        table.add_column(heading, justify="right", no_wrap=True)
    for job, standing in zip(jobs, standings, strict=True):
        accuracy = balanced_accuracy(job.folder, split) if standing.state == "finished" else None
        seconds = training_seconds(job.folder)
        table.add_row(
            job.name,
            Text(job.run.method),
            Text(standing.state, style=_STYLES[standing.state]),
            f"{job.run.magnification:g}x",
            str(job.run.seed),
            "-" if accuracy is None else f"{accuracy * 100:.1f}",
            "-" if seconds is None else duration(seconds),
        )
    return table


def accuracy_text(accuracy: float | None) -> str:
    """The headline in words."""
    return "balanced accuracy undefined" if accuracy is None else f"balanced accuracy {accuracy * 100:.1f} %"


def duration(seconds: float) -> str:
    """A length of time in two units: "38 s", "12 min 05 s", "3 h 20 min", "4 d 07 h"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02d} h"
