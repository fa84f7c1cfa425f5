"""What benchmarks share: their options, the slide to measure on, a large one made of it, the machine, tables."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import tifffile
from numpy.typing import NDArray

from slideprep.slides.discover import find_slides
from slideprep.slides.overview import read_level
from slideprep.slides.reader import Slide
from slideprep.slides.readers.choose import open_reader
from slideprep.slides.readers.tiff_pages import START_OF_IMAGE
from slideprep.slides.readers.tile_codecs import TiffJpegSlide

Pixels = NDArray[np.uint8]

SLIDE = "slides/CMU-1-Small-Region.svs"
SYNTHETIC_SIDE_PX = 2880
TILE_PX = 240

_DESCRIPTION = "Aperio Image Library\r\n{width}x{height} benchmark|AppMag = 20|MPP = 0.499"
_PACKAGES = (
    "kdtrain",
    "numpy",
    "onnxruntime",
    "openslide-python",
    "openslide-bin",
    "pillow",
    "pyvips",
    "simplejpeg",
    "slideprep",
    "torch",
)
_PYRAMID = (4, 16)
"""Reductions of the levels above level 0, as Aperio scanners write them."""


def slide_parser(description: str | None, *, megapixels: float | None = None) -> argparse.ArgumentParser:
    """The options of a benchmark that measures on one slide: SLIDE and ``--json``.

    Args:
        description: The benchmark's docstring, shown as it is.
        megapixels: Default of ``--megapixels``; None for a benchmark that makes no large slide.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slide", nargs="?", type=Path, metavar="SLIDE")
    if megapixels is not None:
        size_help = f"least size of a large slide [{megapixels:g}]"
        parser.add_argument("--megapixels", type=float, default=megapixels, help=size_help)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


def print_found(found: Mapping[str, Any], report: Callable[[dict[str, Any]], str], *, as_json: bool) -> None:
    """Print what was measured, as JSON or as the benchmark reports it."""
    print(json.dumps(found, indent=1) if as_json else report(dict(found)))


def find_slide(given: Path | None, folder: Path) -> tuple[Path, str]:
    """The slide to measure on and a sentence that says which it is.

    Without a slide given, that is the real one under $SLIDEPREP_DATA or ``../shared/data``; where neither is there, a
    synthetic one is written to ``folder``.
    """
    if given is not None:
        return given, f"Slide: {given.name}."
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("SLIDEPREP_DATA", beside)) / SLIDE
    if path.exists():
        return path, f"Slide: {path.name}."
    path = folder / "synthetic.svs"
    write_synthetic_slide(path)
    return path, f"Slide: SYNTHETIC, since {SLIDE} is not under $SLIDEPREP_DATA."


def write_synthetic_slide(path: Path, *, side_px: int = SYNTHETIC_SIDE_PX) -> None:
    """A square SVS of one level at 20x, with JPEG tiles of purple blobs on pink."""
    _write_svs(path, [_jpeg_level(synthetic_pixels(side_px))])


def open_path(path: Path) -> Slide:
    """Open one slide by its path."""
    (file,), _ = find_slides([path])
    return open_reader(file)


def level0_pixels(path: Path) -> Pixels:
    """A small slide's level 0 in whole: (rows, columns, 3) uint8."""
    with open_path(path) as slide:
        return read_level(slide, 0)


def write_large_slide(path: Path, source: Path, *, megapixels: float) -> tuple[int, int]:
    """Repeat a small slide's whole tiles into an SVS of at least ``megapixels``, with two coarser levels.

    Level 0 holds the source's own JPEG tiles, byte for byte, as often as they repeat: decoding costs what it costs on
    the source, and writing takes seconds. A source without such tiles is encoded first.

    Returns:
        (width, height) in level-0 pixels.
    """
    tiles, (rows, columns), side = _whole_tiles(source)
    image = level0_pixels(source)[: rows * side[0], : columns * side[1]]
    across = ceil((megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5)
    down = ceil(megapixels * 1e6 / (across * image.shape[0] * image.shape[1]))
    width, height = across * image.shape[1], down * image.shape[0]
    level0 = [tile for row in range(rows * down) for tile in _row(tiles, row % rows, columns) * across]
    levels = [_Level(level0, (height, width), side)]
    levels += [_jpeg_level(np.tile(_shrunk(image, factor), (down, across, 1))) for factor in _PYRAMID]
    _write_svs(path, levels)
    return width, height


@dataclass(frozen=True)
class _Level:
    """JPEG tiles row by row, with (rows, columns) of the level and of a tile."""

    tiles: Sequence[bytes]
    size: tuple[int, int]
    tile: tuple[int, int]

    @property
    def coding(self) -> str:
        """An Adobe marker (written by :mod:`slideprep.slides.readers.tiff_pages`) says RGB; without one it is YCbCr."""
        return "rgb" if b"Adobe" in self.tiles[0][:64] else "ycbcr"


def _whole_tiles(source: Path) -> tuple[list[bytes], tuple[int, int], tuple[int, int]]:
    """The JPEG tiles that level 0 fills: their bytes row by row, (rows, columns) of tiles, (rows, columns) of each."""
    with open_path(source) as slide:
        if not isinstance(slide, TiffJpegSlide):
            level = _jpeg_level(read_level(slide, 0))
            grid = level.size[0] // TILE_PX, level.size[1] // TILE_PX
            columns = ceil(level.size[1] / TILE_PX)
            kept = [tile for row in range(grid[0]) for tile in _row(level.tiles, row, columns)[: grid[1]]]
            return kept, grid, level.tile
        page, size = slide.pages[0], slide.levels[0]
    grid = size.height // page.tile_height, size.width // page.tile_width
    data = source.read_bytes()
    indices = [row * page.columns + column for row in range(grid[0]) for column in range(grid[1])]
    starts = [int(page.offsets[i]) for i in indices]
    stored = [data[a : a + int(page.byte_counts[i])] for a, i in zip(starts, indices, strict=True)]
    tiles = [page.header + tile.removeprefix(START_OF_IMAGE) for tile in stored]
    return tiles, grid, (page.tile_height, page.tile_width)


def _row(tiles: Sequence[bytes], row: int, columns: int) -> list[bytes]:
    return list(tiles[row * columns : (row + 1) * columns])


def synthetic_pixels(side: int) -> Pixels:
    """Purple blobs on pink with grain: nothing but a stand-in with edges at every scale."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    blobs = np.sin(x / 23) * np.sin(y / 19) + np.sin((x + y) / 211) + 0.5 * np.sin(x / 3.1 - y / 4.3)
    grain = np.random.default_rng(0).normal(0, 8, (side, side, 1))
    image = np.array([210, 160, 200]) - blobs[..., None] * np.array([35, 45, 20]) + grain
    return np.clip(image, 0, 255).astype(np.uint8)


def _shrunk(image: Pixels, factor: int) -> Pixels:
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    blocks = image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, 3)
    return blocks.mean(axis=(1, 3)).round().astype(np.uint8)


def _jpeg_level(image: Pixels) -> _Level:
    """A level of JPEG tiles; those at the right and the bottom are filled up with white."""
    height, width = (ceil(side / TILE_PX) * TILE_PX for side in image.shape[:2])
    full = np.full((height, width, 3), 255, np.uint8)
    full[: image.shape[0], : image.shape[1]] = image
    tiles = [
        simplejpeg.encode_jpeg(
            np.ascontiguousarray(full[y : y + TILE_PX, x : x + TILE_PX]), quality=90, colorsubsampling="444"
        )
        for y in range(0, height, TILE_PX)
        for x in range(0, width, TILE_PX)
    ]
    return _Level(tiles, (image.shape[0], image.shape[1]), (TILE_PX, TILE_PX))


def _write_svs(path: Path, levels: Sequence[_Level]) -> None:
    with tifffile.TiffWriter(path) as tif:
        for level in levels:
            height, width = level.size
            tif.write(
                iter(level.tiles),
                shape=(height, width, 3),
                dtype=np.uint8,
                tile=level.tile,
                photometric="rgb",
                compression="jpeg",
                compressionargs={"outcolorspace": level.coding},
                subsampling=(1, 1),
                description=_DESCRIPTION.format(width=width, height=height),
                metadata=None,
            )


def machine() -> dict[str, Any]:
    """Processor, Python and package versions."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": dict(_versions()),
    }


def machine_line(found: dict[str, Any]) -> str:
    """:func:`machine` in one line."""
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    return f"{found['cpu']} ({found['cores']} cores), Python {found['python']}, {packages}."


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned for reading as plain text."""
    table = [list(header), ["---"] * len(header), *map(list, rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    table[1] = ["-" * width for width in widths]
    cells = (" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return "\n".join(f"| {line} |" for line in cells)
