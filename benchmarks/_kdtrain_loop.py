"""kdtrain's own loop as throughput.py times it: teacher, online and cached distillation, beside the bare loop.

Nothing is copied of it: the phases run as the commands run them, with a monitor that watches the clock.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _paper_loop import EPOCHS, Measured, Task, run_bare, unpack
from _traffic import Traffic
from rich.console import Console

from kdtrain.config.phases import CacheTeacherConfig, DistillConfig, PhaseConfig, TeacherConfig
from kdtrain.data.loader import LoadStats
from kdtrain.model.flops import gflops_of_sizes
from kdtrain.model.resnet import ModelSpec
from kdtrain.phases.cache_teacher import cache_teacher
from kdtrain.phases.start import run_phase
from kdtrain.training.monitor import EpochBar, Monitor

HIGH = 10.0
OUTPUT_STRIDE = 32
"""The authors': left to itself, kdtrain computes more cells of small images, and so more than the bare loop."""
CACHED_EPOCHS = 9
"""An epoch takes a fraction of the others', too little to be timed by itself."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of the table.

    Attributes:
        what: Teacher, online, cached.
        magnification: Of the network that is trained.
        loop: Whose loop.
        read: Magnifications that it reads.
        run: Measures it once; the number says which time it is.
    """

    what: str
    magnification: float
    loop: str
    read: tuple[float, ...]
    run: Callable[[int], Measured]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all variants share.

    Attributes:
        folder: For sets and runs.
        device: Where to compute.
        side_px: Of the images at 10x.
        accumulate: Samples per step.
        workers: Loader processes.
        options: Further settings of kdtrain: precision, micro_batch...
    """

    folder: Path
    device: torch.device
    side_px: int
    accumulate: int
    workers: int
    options: Mapping[str, Any]

    @property
    def shards(self) -> Path:
        """The set."""
        return self.folder / "set"

    def common(self, out: Path) -> dict[str, Any]:
        """Settings of every kdtrain run."""
        own = {"shards": self.shards, "out": out, "device": self.device.type, "workers": self.workers}
        return {**own, "validate_on": "none", **self.options}

    def training(self, out: Path, *, epochs: int) -> dict[str, Any]:
        """Settings of every kdtrain run that trains."""
        own = {"epochs": epochs, "accumulate": self.accumulate, "output_stride": OUTPUT_STRIDE}
        return {**own, "logger": "none", **self.common(out)}

    def gflops(self, variant: Variant) -> float:
        """GFLOP of a sample."""
        spec = ModelSpec(name="resnet10", n_classes=2)
        sides = [self.side(variant.magnification), self.side(HIGH)]
        own, high = gflops_of_sizes(spec, [(side, side) for side in sides])
        return 3 * own + high * (variant.what == "online")

    def megapixels(self, variant: Variant) -> float:
        """Read for a sample."""
        return sum(self.side(m) ** 2 for m in variant.read) / 1e6

    def side(self, magnification: float) -> int:
        """Of an image, in pixels."""
        return round(self.side_px * magnification / HIGH)


class Stopwatch(Monitor):
    """A run's monitor that sums up what its epochs took and loaded, but for the first."""

    def __init__(self) -> None:
        super().__init__(Console(file=io.StringIO()))
        self.taken_s, self.loaded = 0.0, LoadStats()
        self._stats = LoadStats()

    @contextmanager
    def epoch(self, epoch: int, epochs: int, samples: int) -> Iterator[EpochBar]:
        """As usual, with the clock running."""
        before, began = self._stats, time.perf_counter()
        with super().epoch(epoch, epochs, samples) as bar:
            yield _Noting(bar, self)
        if epoch or epochs == 1:
            self.taken_s += self._ended - began
            self.loaded += self._stats - before

    def note(self, stats: LoadStats) -> None:
        """A step is done; its loss is known, so the device has finished it."""
        self._stats, self._ended = stats, time.perf_counter()

    def measured(self, device: torch.device) -> Measured:
        """What was summed up: from an epoch's beginning to the end of its last step."""
        return Measured(
            samples_per_s=self.loaded.samples / self.taken_s,
            wait_share=self.loaded.wait_s / self.taken_s,
            peak_bytes=torch.cuda.max_memory_allocated() if device.type == "cuda" else None,
        )


class _Noting(EpochBar):
    def __init__(self, bar: EpochBar, watch: Stopwatch) -> None:
        self._bar, self._watch = bar, watch

    def skip(self, samples: int) -> None:
        self._bar.skip(samples)

    def step(self, samples: int, loss: float, stats: LoadStats) -> None:
        self._bar.step(samples, loss, stats)
        self._watch.note(stats)


Run = Callable[[Any, Monitor], Any]


def measure_kdtrain(
    setting: Setting,
    run: Run,
    configuration: Callable[[dict[str, Any]], PhaseConfig],
    name: str,
    number: int,
    *,
    epochs: int = EPOCHS,
) -> Measured:
    """Train in a folder of its own."""
    if setting.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    out = setting.folder / f"{name}-{number}"
    watch = Stopwatch()
    run(configuration(setting.training(out, epochs=epochs)), watch)
    return watch.measured(setting.device)


def variants(
    setting: Setting, magnifications: tuple[float, ...], *, cached_epochs: int = CACHED_EPOCHS
) -> list[Variant]:
    """Rows of the table; the teacher comes first, because its first run teaches the others."""
    files = unpack(setting.shards, setting.folder / "files")
    bare = Task(
        shards=setting.shards,
        files=files,
        magnification=HIGH,
        teacher=None,
        teacher_magnification=HIGH,
        accumulate=setting.accumulate,
        workers=setting.workers,
        device=setting.device,
    )
    found = [
        _variant("teacher", HIGH, "bare", (HIGH,), lambda number: run_bare(bare)),
        _variant("teacher", HIGH, "kdtrain", (HIGH,), partial(measure_kdtrain, *_teacher(setting))),
    ]
    for m in magnifications:
        task = replace(bare, magnification=m, teacher=taught(setting))
        found.append(_variant("online", m, "bare", (HIGH, m), lambda number, task=task: run_bare(task)))
        for what, read in (("online", (HIGH, m)), ("cached", (m,))):
            cached = what == "cached"
            recipe = _distillation(setting, m, cached=cached)
            runs = partial(measure_kdtrain, *recipe, epochs=cached_epochs if cached else EPOCHS)
            found.append(_variant(what, m, "kdtrain", read, runs))
    return found


def _variant(
    what: str, magnification: float, loop: str, read: tuple[float, ...], run: Callable[[int], Measured]
) -> Variant:
    return Variant(what=what, magnification=magnification, loop=loop, read=read, run=run)


Recipe = tuple[Setting, Run, Callable[[dict[str, Any]], PhaseConfig], str]


def _teacher(setting: Setting) -> Recipe:
    return setting, run_phase, lambda more: TeacherConfig(magnification=HIGH, **more), "teacher"


def taught(setting: Setting) -> Path:
    """The teacher that the others learn from: of the first round."""
    return setting.folder / "teacher-0"


def _distillation(setting: Setting, magnification: float, *, cached: bool) -> Recipe:
    source = (
        {"teacher_cache": cache_folder(setting, magnification)} if cached else {"teacher": taught(setting)}
    )

    def configuration(more: dict[str, Any]) -> PhaseConfig:
        return DistillConfig(magnification=magnification, **source, **more)

    return setting, run_phase, configuration, f"{'cached' if cached else 'online'}-{magnification:g}"


def cache_folder(setting: Setting, magnification: float) -> Path:
    """Of the teacher's outputs for students at a magnification."""
    return setting.folder / f"cache-{magnification:g}"


def write_cache(setting: Setting, magnification: float, views: int) -> float:
    """Write the cache of one magnification; returns views per second, the start included."""
    out = cache_folder(setting, magnification)
    known = {k: v for k, v in setting.common(out).items() if k in CacheTeacherConfig.model_fields}
    own = {"magnification": magnification, "views": views, "output_stride": OUTPUT_STRIDE}
    config = CacheTeacherConfig(teacher=taught(setting), **own, **known)
    summary = cache_teacher(config, Stopwatch())
    return summary.views / summary.seconds


def bytes_per_sample(setting: Setting, variant: Variant) -> float | None:
    """Bytes that the operations of one epoch read and write, by its samples; None where they are not seen."""
    if variant.loop == "bare" or setting.options.get("compile"):
        return None
    cached = variant.what == "cached"
    recipe = (
        _teacher(setting)
        if variant.what == "teacher"
        else _distillation(setting, variant.magnification, cached=cached)
    )
    _, run, configuration, name = recipe
    out = setting.folder / f"{name}-traffic"
    watch = Stopwatch()
    with Traffic(setting.device.type) as traffic:
        run(configuration(setting.training(out, epochs=1)), watch)
    return traffic.bytes / watch.loaded.samples
