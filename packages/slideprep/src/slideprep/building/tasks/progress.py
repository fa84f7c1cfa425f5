"""What a person sees while a build runs: slides, regions, megapixels per second, time left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from slideprep.building.plan import Shard
from slideprep.building.tasks.faults import ShardFaults


class _Rate(ProgressColumn):
    """Level-0 megapixels per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed / 1e6:,.0f} MP/s" if speed else "- MP/s", style="progress.data.speed")


@dataclass(frozen=True, kw_only=True)
class _Work:
    pixels: int = 0
    regions: int = 0
    slides: int = 0

    def __add__(self, other: _Work) -> _Work:
        return _Work(
            pixels=self.pixels + other.pixels,
            regions=self.regions + other.regions,
            slides=self.slides + other.slides,
        )


class BuildProgress:
    """A bar in level-0 pixels, fed by finished shards and by the notes of those in the making.

    Args:
        console: Where to draw.
        faults: Who reads the notes.
        shards: What is to be built.
        pixels: Level-0 pixels of each shard's regions, by name.
    """

    def __init__(
        self, console: Console, faults: ShardFaults, shards: Sequence[Shard], pixels: Mapping[str, int]
    ) -> None:
        self._faults = faults
        self._totals = {
            shard.name: _Work(pixels=pixels[shard.name], regions=len(shard.samples), slides=len(shard.slides))
            for shard in shards
        }
        self._all = sum(self._totals.values(), _Work())
        self._done = _Work()
        self._left = set(self._totals)
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
            total=max(1, self._all.pixels),
            slides=f"0/{self._all.slides}",
            regions=f"0/{self._all.regions}",
        )

    def __enter__(self) -> BuildProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def finished(self, shard: str) -> None:
        """A shard is done."""
        self._left.discard(shard)
        self._done += self._totals[shard]
        self.refresh()

    def refresh(self) -> None:
        """Draw what is done, and what the notes say of the shards in the making."""
        pixels, regions = self._done.pixels, self._done.regions
        for name, (_, done_px, samples) in self._faults.notes.items():
            if name in self._left:
                pixels += min(done_px, self._totals[name].pixels)
                regions += min(samples, self._totals[name].regions)
        self._bar.update(
            self._task,
            completed=pixels,
            slides=f"{self._done.slides}/{self._all.slides}",
            regions=f"{regions}/{self._all.regions}",
        )
