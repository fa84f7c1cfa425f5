"""How much each step of ``gpu.py`` does: for an H100 in eight minutes, and for a CPU in seconds."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

MOST_WORKERS = 12


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of the steps.

    Attributes:
        device: cuda or cpu.
        samples: Of an epoch of the throughput steps.
        distinct: Different images among them.
        side_px: Of the square images at 10x.
        students: Magnifications, the one of the aims first: where time runs out, it has been measured.
        accumulate: Samples per step.
        micro_batch: Of kdtrain with bf16.
        workers: Loader processes of every loop.
        cached_epochs: Of a cached student; all but the first are timed.
        views: Of a cache.
        engine_samples: Of an epoch of the engine step.
        engine_side_px: Of its images.
        engine_rounds: Times that either loop runs there.
        memory_sides_px: Of single images at 10x.
        slide_megapixels: Of the slide that is predicted; 0 for the small one.
        predicted_by: Magnifications of the networks that predict it.
        tests: Arguments of pytest.
    """

    device: str
    samples: int
    distinct: int
    side_px: int
    students: tuple[float, ...]
    accumulate: int
    micro_batch: int
    workers: int
    cached_epochs: int
    views: int
    engine_samples: int
    engine_side_px: int
    engine_rounds: int
    memory_sides_px: tuple[int, ...]
    slide_megapixels: float
    predicted_by: tuple[float, ...]
    tests: tuple[str, ...]

    def on(self, device: str) -> Sizes:
        """The same on another device."""
        return replace(self, device=device)


def _workers() -> int:
    return max(1, min(MOST_WORKERS, len(os.sched_getaffinity(0)) - 2))


FULL = Sizes(
    device="cuda",
    samples=256,
    distinct=8,
    side_px=1024,
    students=(1.25, 2.5, 5.0),
    accumulate=32,
    micro_batch=8,
    workers=_workers(),
    cached_epochs=9,
    views=2,
    engine_samples=256,
    engine_side_px=512,
    engine_rounds=2,
    memory_sides_px=(1024, 2048, 4096),
    slide_megapixels=200.0,
    predicted_by=(10.0, 1.25),
    tests=(
        "tests/kdtrain/training/test_device_path.py",
        "tests/kdtrain/bundle/test_load.py",
        "-k",
        "(gpu or cuda) and not compile",  # building kernels takes longer than the step has
    ),
)
TINY = replace(
    FULL,
    samples=2,
    distinct=2,
    side_px=256,
    students=(1.25,),
    accumulate=2,
    micro_batch=2,
    workers=0,
    cached_epochs=2,
    views=1,
    engine_samples=2,
    engine_side_px=128,
    engine_rounds=1,
    memory_sides_px=(128,),
    slide_megapixels=0.0,
    predicted_by=(2.5,),
    tests=("tests/kdtrain/training/test_device_path.py", "-k", "test_a_cpu_keeps_the_layout"),
)
