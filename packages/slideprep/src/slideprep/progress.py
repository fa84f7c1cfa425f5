"""What a person sees while a build runs: slides, regions, megapixels per second, time left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from slideprep.plan import Shard
from slideprep.workspace import Workspace


class _Rate(ProgressColumn):
    """Level-0 megapixels per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed / 1e6:,.0f} MP/s" if speed else "- MP/s", style="progress.data.speed")


@contextmanager
def scan_progress(console: Console, slides: int) -> Iterator[Progress]:
    """A bar that counts slides; its only task has id 0."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("slides"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task("Finding tissue ", total=slides)
        yield progress


class BuildProgress:
    """A bar in level-0 pixels, fed by finished shards and by the notes of those in the making.

    Args:
        console: Where to draw.
        workspace: Where the notes are.
        shards: What is to be built.
        pixels: Level-0 pixels of each shard's regions, in the same order.
    """

    def __init__(
        self, console: Console, workspace: Workspace, shards: Sequence[Shard], pixels: Sequence[int]
    ) -> None:
        self._workspace = workspace
        self._pixels = {shard.name: count for shard, count in zip(shards, pixels, strict=True)}
        self._regions = {shard.name: len(shard.samples) for shard in shards}
        self._slides = {shard.name: len(shard.slides) for shard in shards}
        self._done: set[str] = set()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[slides]} slides, {task.fields[regions]} regions"),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            speed_estimate_period=30,
        )
        self._task = self._bar.add_task(
            "Writing shards",
            total=max(1, sum(pixels)),
            slides=f"0/{sum(self._slides.values())}",
            regions=f"0/{sum(self._regions.values())}",
        )

    def __enter__(self) -> BuildProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def finished(self, shard: str) -> None:
        """A shard is done."""
        self._done.add(shard)
        self.refresh()

    def refresh(self) -> None:
        """Read the notes of the shards in the making and draw."""
        pixels = sum(self._pixels[name] for name in self._done)
        regions = sum(self._regions[name] for name in self._done)
        for name in self._pixels.keys() - self._done:
            note = self._workspace.progress(name)
            if note is not None:
                pixels += min(note[1], self._pixels[name])
                regions += min(note[2], self._regions[name])
        slides = sum(self._slides[name] for name in self._done)
        self._bar.update(
            self._task,
            completed=pixels,
            slides=f"{slides}/{sum(self._slides.values())}",
            regions=f"{regions}/{sum(self._regions.values())}",
        )
