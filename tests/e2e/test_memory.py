"""A region's size does not enter the memory that it takes: level 0 is read in strips, images are encoded in strips.

What is held at once: the band of level 0 and half-filtered rows (``downsample.band_bytes``, which grows with the
region's width alone) and strips of every image.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.builds import ONE_THREAD

MEASURE = """
import json, sys, time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from slideprep.images import codec
from slideprep.regions.pixels import read_region
from slideprep.units import Box
from slideprep.regions.layout import Grid
from slideprep.shards.tar import ShardTar
from slideprep.slides.reader import Level
from slideprep.units import Scale

width, height, objective = (int(argument) for argument in sys.argv[1:4])
folder = Path(sys.argv[4])
coarse = np.random.default_rng(0).integers(60, 250, (width // 8 + 256, 3), dtype=np.uint8)

def strips(level, x, y, columns, count):
    for top in range(y, y + count, 256):
        strip = np.empty((min(256, y + count - top), columns, 3), np.uint8)
        for row in range(0, len(strip), 8):  # squares of 8 px
            first = (top + row) // 8 % 256
            strip[row : row + 8] = coarse[first : first + width // 8].repeat(8, axis=0)[x : x + columns]
        yield strip
        del strip

slide = SimpleNamespace(
    levels=[Level(width=width, height=height, downsample_x=1, downsample_y=1)], background=(255,) * 3, strips=strips
)
scale = Scale(mode="objective", objective=objective, objective_source="slide", mpp=10 / objective, mpp_source="slide")
grid = Grid(scale, (10, 5, 2.5, 1.25, 0.625))
layout = grid.lay_out(Box(x=0, y=0, width=width, height=height), slide_width=width, slide_height=height)
images = grid.images(layout, slide_width=width, slide_height=height)
started = time.monotonic()
with ExitStack() as stack:
    tars = [stack.enter_context(ShardTar(folder / f"{number}.tar")) for number in range(len(images))]
    files = [tar.begin({"region.jpg": None}) for tar in tars]
    encoders = [
        codec.encoder("jpeg", file, width=i.width, height=i.height, quality=95, with_sums=True, folder=folder)
        for i, file in zip(images, files)
    ]
    for made in encoders:
        stack.callback(made.close)
    read_region(slide, layout, images, [made.write for made in encoders])
    for made, tar in zip(encoders, tars):
        made.finish()
        tar.finish()
seconds = time.monotonic() - started
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
peak = int(status["VmHWM"].split()[0]) / 1024
pixels = [i.width * i.height for i in images]
print(json.dumps({"peak_mb": peak, "seconds": seconds, "bytes": [tar.size for tar in tars], "pixels": pixels}))
"""
"""Peak memory of a fresh process: VmHWM, because ru_maxrss starts from that of the process it was forked from."""


def measure(folder: Path, width: int, height: int, *, objective: int = 20) -> dict[str, float | list[int]]:
    """Extract a made-up region at five magnifications in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, (width, height, objective, folder))],
        env={**os.environ, **ONE_THREAD},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float | list[int]] = json.loads(run.stdout)
    return found


@pytest.mark.slow
def test_a_gigapixel_region(tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    """A region of 24 576 x 43 776 px takes under 500 MB, interpreter and libraries included."""
    width, height = 24_576, 43_776
    assert width * height > 1e9
    found = measure(tmp_path, width, height)
    record_property("megapixels_per_second", round(width * height / 1e6 / found["seconds"]))
    assert found["pixels"] == [width * height // factor**2 for factor in (2, 4, 8, 16, 32)]
    assert found["peak_mb"] < 500, found


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "width"), [(20, 130_976), (40, 261_888)])
def test_the_widest_regions(tmp_path: Path, objective: int, width: int) -> None:
    """JPEG's longest side at 10x, from scans at 20x and 40x: under 1 GB, whatever the height (here three bands)."""
    found = measure(tmp_path, width, 2048, objective=objective)
    assert found["pixels"][0] > 65_400 * 500
    assert found["peak_mb"] < 1000, found


def test_height_does_not_enter(tmp_path: Path) -> None:
    """Twice the height takes the same memory within 8 MB."""
    single = measure(tmp_path, 8192, 4096)
    double = measure(tmp_path, 8192, 8192)
    assert double["bytes"][0] > 1.9 * single["bytes"][0]
    assert abs(double["peak_mb"] - single["peak_mb"]) < 8, (single, double)
