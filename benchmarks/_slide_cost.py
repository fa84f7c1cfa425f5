"""One slide through one network, in a process of its own: what ``slide_cost.py`` runs for every line of its table.

Run as ``python _slide_cost.py JOB``, JOB being JSON with slide, magnification, backend ("onnxruntime" or "pytorch"),
onnx (the graph's file), network, cores and fast. Prints one line of JSON: wall seconds of every stage, CPU seconds of
all of them, sizes of the images, bytes read, memory. What a process does once (imports, compiling, the first image)
comes before and is not counted.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import slideprep
from slideprep import Extraction, OpenedSlide

OBJECTIVE = 20.0
"""Of slides that carry none, as the real one's DICOM twin."""
WARM_UP_PX = 512
STAGES = ("open and tissue", "decode", "resample", "infer")


class _TimedSlide:
    """A slide whose strips are decoded against the clock; everything else is the slide's."""

    def __init__(self, slide: Any) -> None:
        self._slide = slide
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._slide, name)

    def strips(self, *box: int) -> Iterator[Any]:
        strips = iter(self._slide.strips(*box))
        while True:
            start = time.perf_counter()
            strip = next(strips, None)
            self.seconds += time.perf_counter() - start
            if strip is None:
                return
            yield strip
            del strip  # its memory can serve the next one


def runtime(job: dict[str, Any]) -> Any:
    """The network, ready to be asked."""
    if job["backend"] == "onnxruntime":
        from kdtrain.bundle.runtime_onnx import OnnxRuntime

        return OnnxRuntime(Path(job["onnx"]), min_side_px=32, threads=job["cores"])
    from kdtrain.bundle.runtime_pytorch import PytorchRuntime
    from kdtrain.model.network import Network

    network = Network.of(job["network"])
    return PytorchRuntime(network.build(seed=0), network, device="cpu", threads=job["cores"])


def predict(path: Path, network: Any, *, magnification: float, fast: bool, tissue: str) -> dict[str, Any]:
    """Read a slide and ask the network about every region, against the clock."""
    settings = slideprep.ReadSettings(objective=OBJECTIVE, tissue=tissue)
    if tissue == "whole":
        settings = settings.model_copy(update={"magnifications": (magnification,)})
    start = time.perf_counter()
    with slideprep.open_slide(path) as slide:
        extraction = slideprep.extract(slide, settings, magnifications=[magnification], fast=fast)
        timed = slide.slide = _TimedSlide(slide.slide)
        opened = time.perf_counter()
        inferring, sizes = 0.0, []
        for region in extraction:
            begin = time.perf_counter()
            image = region.images[magnification]
            network.infer(image.pixels[None])
            inferring += time.perf_counter() - begin
            sizes.append((image.height, image.width))
        end = time.perf_counter()
        seconds = (opened - start, timed.seconds, end - opened - timed.seconds - inferring, inferring)
        return {
            "wall_s": end - start,
            "stages": dict(zip(STAGES, seconds, strict=True)),
            "sizes": sizes,
            "level": extraction.level,
            "facts": facts(slide, extraction),
        }


def facts(slide: OpenedSlide, extraction: Extraction) -> dict[str, Any]:
    """What a reader of the table wants to know of the slide."""
    tissue_px = sum(r.layout.columns * r.layout.rows for r in extraction.laid_out if r.layout is not None)
    cell_px = float(extraction.scale.factor(min(extraction.settings.magnifications))) ** 2
    return {
        "width": slide.width,
        "height": slide.height,
        "regions": len(extraction),
        "region_megapixels": tissue_px * cell_px / 1e6,
        "reader": slide.reader,
        "levels": len(slide.levels),
    }


def price(path: Path, magnification: float) -> dict[str, float]:
    """Mean over the regions of what a coarser level changes, grey levels."""
    with slideprep.open_slide(path) as slide:
        settings = slideprep.ReadSettings(objective=OBJECTIVE)
        extraction = slideprep.extract(slide, settings, magnifications=[magnification], fast=True)
        found = [extraction.fast_difference(region) for region in extraction.laid_out]
    return {name: float(np.mean([getattr(one, name) for one in found])) for name in ("mean", "bias")}


def main() -> None:
    """Warm up, run, print."""
    job = json.loads(sys.argv[1])
    slide, magnification = Path(job["slide"]), job["magnification"]
    network = runtime(job)
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "warm-up.png"
        ramp = np.arange(WARM_UP_PX * WARM_UP_PX * 3, dtype=np.uint32).reshape(WARM_UP_PX, WARM_UP_PX, 3)
        Image.fromarray((ramp // 17 % 251).astype(np.uint8)).save(small)
        predict(small, network, magnification=max(magnification, 1.25), fast=False, tissue="whole")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before_mb, read, cpu = _peak_mb(), _bytes_read(), time.process_time()
    found = predict(slide, network, magnification=magnification, fast=job["fast"], tissue="auto")
    found |= {
        "cpu_s": time.process_time() - cpu,
        "peak_mb": _peak_mb(),
        "before_mb": before_mb,
        "read_mb": (_bytes_read() - read) / 1e6,
    }
    if not found["sizes"]:
        raise SystemExit(
            f"{slide.name} has no region that is large enough at the lowest magnification; give another"
        )
    if job["fast"]:
        found["price"] = price(slide, magnification)
    print(json.dumps(found))


def _peak_mb() -> float:
    """The process's largest memory so far; getrusage would count what the process that started it had."""
    return _number("/proc/self/status", "VmHWM") * 1024 / 1e6


def _bytes_read() -> int:
    """Bytes of all read calls of this process, from the disk or the page cache."""
    return _number("/proc/self/io", "rchar")


def _number(file: str, name: str) -> int:
    lines = Path(file).read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
