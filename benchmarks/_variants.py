"""The ways of making five magnifications that ``cost.py`` compares: each runs alone in a process of its own.

Run as ``python _variants.py NAME SLIDE FOLDER``; prints one line of JSON: CPU seconds (user + system) of what a process
does once (imports, compiling) and of the work, peak memory, and for ``stages`` the CPU seconds of each part.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

MAGNIFICATIONS = (10.0, 5.0, 2.5, 1.25, 0.625)
OBJECTIVE = 20.0
QUALITY = 95

Work = Callable[[Path, Path], "Mapping[str, float]"]
NO_STAGES: Mapping[str, float] = {}


def labelled(slide: Path, folder: Path) -> Mapping[str, float]:
    """What build-shards does for a slide of the training split, colour statistics included."""
    _build(slide, folder, with_sums=True)
    return NO_STAGES


def unlabelled(slide: Path, folder: Path) -> Mapping[str, float]:
    """What build-shards does for a slide of an auxiliary split."""
    _build(slide, folder, with_sums=False)
    return NO_STAGES


def with_numba(slide: Path, folder: Path) -> Mapping[str, float]:
    """As :func:`labelled`, with the resampling loops compiled by numba."""
    from _numba_loops import numba_code

    use_loops(numba_code())
    return labelled(slide, folder)


def use_loops(code: Any) -> None:
    """Have slideprep resample by other loops than its own for this processor."""
    from slideprep.images.resample import band
    from slideprep.images.resample import filter as image_filter

    for module in (band, image_filter):
        module.lanczos_code = lambda: code  # type: ignore[attr-defined]


def stages(slide: Path, folder: Path) -> Mapping[str, float]:
    """As :func:`labelled`, with a clock around every part."""
    clock = _StageClock()
    _watch(clock)
    _build(slide, folder, with_sums=True)
    return {name: nanoseconds / 1e9 for name, nanoseconds in clock.spent.items()}


def _build(path: Path, folder: Path, *, with_sums: bool) -> None:
    """Scan with automatic tissue detection, then write the whole slide as one region.

    The region is the whole slide, so that every variant does the same work whatever tissue is found.
    """
    from slideprep.building.plan import Sample, Shard
    from slideprep.building.tasks.job import ShardJob, SourceSlide
    from slideprep.building.tasks.shard import write_shard
    from slideprep.regions.scan import Scan, scan_slide
    from slideprep.regions.settings import ScanJob
    from slideprep.slides.discover import find_slides

    (file,), _ = find_slides([path])
    scan = scan_slide(ScanJob(file=file, shown_name=file.name, settings=settings()))
    assert isinstance(scan, Scan), scan
    label = "benchmark" if with_sums else None
    sample = Sample(
        key="benchmark",
        slide=file.name,
        index=0,
        layout=_whole_cells(scan.scale, scan.width, scan.height),
        source="whole",
        label=label,
    )
    source = SourceSlide(
        file=file, name=file.name, patient="p", scale=scan.scale, fingerprint=scan.fingerprint
    )
    record = write_shard(
        ShardJob(
            out=folder,
            shard=Shard(split="train" if with_sums else "aux1", number=0, samples=(sample,)),
            slides={file.name: source},
            magnifications=MAGNIFICATIONS,
            image_format="jpeg",
            quality=QUALITY,
            classes=("benchmark",),
            with_sums=with_sums,
            crashed={},
        )
    )
    assert not record.failures, record.failures


def settings(**changes: Any) -> Any:
    """The settings that slides are scanned with."""
    from slideprep.regions.settings import ReadSettings

    return ReadSettings(**{"magnifications": MAGNIFICATIONS, "objective": OBJECTIVE, **changes})


def _whole_cells(scale: Any, width: int, height: int) -> Any:
    """The largest region from the slide's corner that it fills at every magnification."""
    from slideprep.regions.layout import Grid, Layout

    side = Grid(scale, MAGNIFICATIONS).cell_l0
    return Layout(x=0, y=0, columns=int(width / side), rows=int(height / side))


class _StageClock:
    """CPU time per part of the work; time spent in a part inside another counts for the inner one alone."""

    def __init__(self) -> None:
        self.spent: dict[str, int] = {}
        self._running: list[str] = []
        self._since = time.process_time_ns()

    def _switch(self) -> None:
        now = time.process_time_ns()
        if self._running:
            name = self._running[-1]
            self.spent[name] = self.spent.get(name, 0) + now - self._since
        self._since = now

    def timed(self, stage: Stage, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self._switch()
            self._running.append(stage if isinstance(stage, str) else stage(args[0]))
            try:
                return function(*args, **options)
            finally:
                self._switch()
                self._running.pop()

        return call

    def timed_iterator(
        self, name: str, function: Callable[..., Iterator[Any]]
    ) -> Callable[..., Iterator[Any]]:
        def call(*args: Any, **options: Any) -> Iterator[Any]:
            advance = self.timed(name, next)
            items = function(*args, **options)
            while (item := advance(items, None)) is not None:
                yield item
                del item  # as without a clock: its memory can serve the next one

        return call


Stage = str | Callable[[Any], str]
"""A part's name, or how to tell it from the object whose method runs."""


def _filter_stage(image_filter: Any) -> str:
    return f"filter {OBJECTIVE / float(image_filter._target.factor):g}x"


class _EncodeStage:
    """Encoders do not know their magnification, but the first one that gets rows is the highest one's."""

    def __init__(self) -> None:
        self._widest = 0

    def __call__(self, encoder: Any) -> str:
        width = encoder._waiting.shape[1]
        self._widest = self._widest or width
        wanted = MAGNIFICATIONS[0] * width / self._widest
        return f"encode {min(MAGNIFICATIONS, key=lambda m: abs(m - wanted)):g}x"


_STAGES: tuple[tuple[str, str, Stage], ...] = (
    ("slideprep.regions.scan", "fingerprint", "fingerprint"),
    ("slideprep.regions.scan", "open_reader", "open"),
    ("slideprep.building.tasks.shard", "open_reader", "open"),
    ("slideprep.regions.find", "read_overview", "overview"),
    ("slideprep.regions.find", "auto_mask", "tissue mask"),
    ("slideprep.regions.find", "auto_regions", "tissue mask"),
    ("slideprep.images.resample.downsample", "Level0Band.append", "pair rows"),
    ("slideprep.images.resample.downsample", "Level0Band.begin_batch", "pair rows"),
    ("slideprep.images.resample.downsample", "Level0Band.chunk", "pair rows"),
    ("slideprep.images.resample.downsample", "ImageFilter.plan_rows", "weights"),
    ("slideprep.images.resample.downsample", "ImageFilter.begin_batch", "weights"),
    ("slideprep.images.resample.downsample", "ImageFilter.__init__", "weights"),
    ("slideprep.images.resample.downsample", "ImageFilter.add", _filter_stage),
    ("slideprep.images.codec", "_JpegEncoder.write", _EncodeStage()),
    ("slideprep.images.codec", "PixelSums.add", "add up statistics"),
    ("slideprep.regions.quality", "_Held.add", "quality"),
    ("slideprep.regions.quality", "QualityMeter.measured", "quality"),
    ("slideprep.shards.tar", "ShardTar.begin", "tar"),
    ("slideprep.shards.tar", "ShardTar.finish", "tar"),
    ("slideprep.shards.tar", "ShardTar.__exit__", "tar"),
)
"""Module, function and the part of the work that its time is counted for."""


def _watch(clock: _StageClock) -> None:
    from slideprep.shards import tar as shard_tar
    from slideprep.slides.readers.tile_codecs import TiffJpegSlide

    for module, path, stage in _STAGES:
        owner: Any = importlib.import_module(module)
        *outer, name = path.split(".")
        for part in outer:
            owner = _own(owner, part)
        setattr(owner, name, clock.timed(stage, getattr(owner, name)))
    timed = clock.timed_iterator("decode", TiffJpegSlide.strips)
    setattr(TiffJpegSlide, "strips", timed)  # noqa: B010 - a method's replacement
    _own(shard_tar, "hashlib").sha256 = partial(_TimedDigest, clock)


class _TimedDigest:
    def __init__(self, clock: _StageClock, data: bytes = b"") -> None:
        self._digest = hashlib.sha256(data)
        self.update = clock.timed("checksum", self._digest.update)
        self.hexdigest = self._digest.hexdigest


def _own(owner: Any, name: str) -> Any:
    """An attribute; of a module imported there a copy, so that its other users stay untimed."""
    found = getattr(owner, name)
    if type(found) is type(sys):
        found = type(sys)(name)
        found.__dict__.update(getattr(owner, name).__dict__)
        setattr(owner, name, found)
    return found


def openslide_pillow(slide: Path, folder: Path) -> Mapping[str, float]:
    """(a): the region read once with OpenSlide, reduced five times with Pillow's LANCZOS, encoded with Pillow."""
    import openslide
    from PIL import Image

    with openslide.OpenSlide(slide) as handle:
        width, height = handle.dimensions
        region = handle.read_region((0, 0), 0, (width, height)).convert("RGB")
    for magnification in MAGNIFICATIONS:
        factor = int(OBJECTIVE / magnification)
        image = region.resize((width // factor, height // factor), Image.Resampling.LANCZOS)
        image.save(folder / f"{magnification:g}x.jpg", quality=QUALITY, subsampling=0)
    return NO_STAGES


def decode_encode(slide: Path, folder: Path) -> Mapping[str, float]:
    """(b): every tile decoded once, the five images encoded; nothing in between. Making the images is not counted."""
    from slideprep.images.jpeg_strips import JpegStrips
    from slideprep.slides.reader import STRIP_ROWS

    images = _images(slide)
    start = _cpu_seconds()
    with _open(slide) as opened:
        level0 = opened.levels[0]
        for strip in opened.strips(0, 0, 0, level0.width, level0.height):
            assert strip.shape[0] <= STRIP_ROWS
    decoded = _cpu_seconds()
    for image in images:
        strips = JpegStrips(io.BytesIO(), width=image.shape[1], height=image.shape[0], quality=QUALITY)
        for top in range(0, len(image), strips.rows_per_strip):
            strips.write(image[top : top + strips.rows_per_strip])
    return {"decode": decoded - start, "encode": _cpu_seconds() - decoded}


def _images(slide: Path) -> list[Any]:
    import numpy as np

    from slideprep.regions.layout import Grid
    from slideprep.regions.pixels import read_region
    from slideprep.units import resolve_scale

    with _open(slide) as opened:
        level0 = opened.levels[0]
        scale = resolve_scale(
            name=opened.name, mode="objective", slide_objective=OBJECTIVE, slide_mpp=opened.mpp
        )
        layout = _whole_cells(scale, level0.width, level0.height)
        made = Grid(scale, MAGNIFICATIONS).images(
            layout, slide_width=level0.width, slide_height=level0.height
        )
        rows: list[list[Any]] = [[] for _ in made]
        read_region(opened, layout, made, [part.append for part in rows])
    return [np.concatenate(part) for part in rows]


def _open(slide: Path) -> Any:
    from slideprep.slides.discover import find_slides
    from slideprep.slides.readers.choose import open_reader

    (file,), _ = find_slides([slide])
    return open_reader(file)


def vips_reduce(slide: Path, folder: Path) -> Mapping[str, float]:
    """libvips, its 8-bit reduce(lanczos3): the slide decoded once per magnification (and biased: see accuracy.py)."""
    import pyvips

    for magnification in MAGNIFICATIONS:
        factor = OBJECTIVE / magnification
        image = pyvips.Image.new_from_file(str(slide), access="sequential")
        image = image.reduce(factor, factor, kernel="lanczos3")
        image.jpegsave(str(folder / f"{magnification:g}x.jpg"), Q=QUALITY, subsample_mode="off", keep="none")
    return NO_STAGES


_OURS = (
    "slideprep.regions.scan",
    "slideprep.building.tasks.shard",
    "slideprep.slides.readers.openslide",
    "slideprep.slides.readers.plain",
    "slideprep.slides.readers.tile_codecs",
    "slideprep.slides.readers.tiff",
    "slideprep.storage.local",
    "PIL.Image",
    "scipy.ndimage",
)
VARIANTS: Mapping[str, tuple[Work, tuple[str, ...]]] = {
    "labelled": (labelled, _OURS),
    "unlabelled": (unlabelled, _OURS),
    "stages": (stages, _OURS),
    "openslide-pillow": (openslide_pillow, ("openslide", "PIL.Image", "PIL.JpegImagePlugin")),
    "decode-encode": (decode_encode, _OURS),
    "vips-reduce": (vips_reduce, ("pyvips",)),
}
if importlib.util.find_spec("numba"):
    VARIANTS = {**VARIANTS, "numba": (with_numba, (*_OURS, "_numba_loops"))}
"""What each name runs and what that imports."""


def _compile(name: str) -> None:
    """The loops that are compiled once per process, as its modules are imported once."""
    import numpy as np

    from slideprep.images.resample.loops import lanczos_code
    from slideprep.images.sums import channel_sums

    if name == "numba":
        importlib.import_module("_numba_loops").numba_code()
    else:
        lanczos_code()
    channel_sums(np.zeros((1, 1, 3), np.uint8))


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(name: str, slide: Path, folder: Path) -> dict[str, Any]:
    """Run one variant in this process and account for it."""
    from threadpoolctl import threadpool_limits

    sys.modules.setdefault("torch", None)  # type: ignore[arg-type] # as in build-shards' workers, which never need it
    work, modules = VARIANTS[name]
    begin = _cpu_seconds()
    for module in modules:
        importlib.import_module(module)
    if set(_OURS) <= set(modules):
        _compile(name)
    imported = _cpu_seconds()
    with threadpool_limits(1):
        parts = work(slide, folder)
    cpu = sum(parts.values()) if name == "decode-encode" else _cpu_seconds() - imported
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"import_s": imported - begin, "cpu_s": cpu, "peak_mb": peak_kb / 1024, "stages": dict(parts)}


if __name__ == "__main__":
    _, chosen, slide_path, out = sys.argv
    print(json.dumps(measure(chosen, Path(slide_path), Path(out))))
