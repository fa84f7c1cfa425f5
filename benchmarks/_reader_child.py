"""One reader over the whole level 0 of a slide, in a process of its own: CPU seconds and, on request, the pixels.

    python _reader_child.py READER SLIDE [PIXELS.npy]

Every reader reads in the way that decodes each tile once: whole tiles, or blocks on the grid of the tiles. Threads
count: the figure is CPU time of the whole process while it reads. Opening is left out, imports are too.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

BLOCK_TILES = 4
"""Blocks of 4 x 4 tiles: large enough that the cost of a call does not count."""
Block = tuple[int, int, Any]
"""(x, y, pixels (rows, columns, 3) uint8) in level-0 pixels."""


def _blocks(width: int, height: int, tile_px: int) -> Iterator[tuple[int, int, int, int]]:
    side = BLOCK_TILES * tile_px
    for y in range(0, height, side):
        for x in range(0, width, side):
            yield x, y, min(side, width - x), min(side, height - y)


def with_openslide(path: Path, tile_px: int) -> tuple[tuple[int, int], Iterator[Block]]:
    """RGBA with alpha dropped, as nearly everyone who uses it does."""
    import openslide

    slide = openslide.OpenSlide(path)

    def blocks() -> Iterator[Block]:
        for x, y, width, height in _blocks(*slide.dimensions, tile_px):
            yield x, y, np.asarray(slide.read_region((x, y), 0, (width, height)).convert("RGB"))

    return slide.dimensions, blocks()


def with_slideio(path: Path, tile_px: int) -> tuple[tuple[int, int], Iterator[Block]]:
    """Scene 0 without scaling."""
    import slideio

    scene = slideio.open_slide(str(path), "SVS").get_scene(0)

    def blocks() -> Iterator[Block]:
        for x, y, width, height in _blocks(*scene.size, tile_px):
            yield x, y, scene.read_block((x, y, width, height))

    return scene.size, blocks()


def with_fastslide(path: Path, tile_px: int) -> tuple[tuple[int, int], Iterator[Block]]:
    """As it comes: without a cache, without a colour profile."""
    import fastslide

    slide = fastslide.FastSlide.from_file_path(str(path))

    def blocks() -> Iterator[Block]:
        for x, y, width, height in _blocks(*slide.dimensions, tile_px):
            yield x, y, slide.read_region((x, y), 0, (width, height)).numpy()[..., :3]

    return slide.dimensions, blocks()


def with_tifffile(path: Path, tile_px: int) -> tuple[tuple[int, int], Iterator[Block]]:
    """Tile by tile, decoded by imagecodecs, in one thread, and put together in strips: the others hand out regions."""
    import tifffile

    page = tifffile.TiffFile(path).pages[0]

    def blocks() -> Iterator[Block]:
        width, rows = page.imagewidth, page.tilelength
        strip, top = np.empty((rows, width, 3), np.uint8), 0
        for data, (_, _, y, x, _), _ in page.segments(maxworkers=1):
            if y != top:
                yield 0, top, strip
                strip, top = np.empty((rows, width, 3), np.uint8), y
            room = strip[:, x : x + page.tilewidth]
            room[:] = data[0, :, : room.shape[1]]
        yield 0, top, strip

    return (page.imagewidth, page.imagelength), blocks()


def with_slideprep(path: Path, tile_px: int) -> tuple[tuple[int, int], Iterator[Block]]:
    """Strips as a build reads them."""
    from slideprep.slides.discover import find_slides
    from slideprep.slides.readers.choose import open_reader

    (file,), _ = find_slides([path])
    slide = open_reader(file)
    level0 = slide.levels[0]

    def blocks() -> Iterator[Block]:
        y = 0
        for strip in slide.strips(0, 0, 0, level0.width, level0.height):
            yield 0, y, strip
            y += len(strip)

    return (level0.width, level0.height), blocks()


READERS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "openslide": (with_openslide, ("openslide-python", "openslide-bin")),
    "slideio": (with_slideio, ("slideio",)),
    "fastslide": (with_fastslide, ("fastslide",)),
    "tifffile": (with_tifffile, ("tifffile", "imagecodecs")),
    "slideprep": (with_slideprep, ("slideprep", "simplejpeg")),
}
"""How to read, and what makes up a reader's version."""


def main() -> None:
    """Read, and print JSON."""
    name, path, *pixels = sys.argv[1:]
    read, packages = READERS[name]
    size, blocks = read(Path(path), int(_tile_px(Path(path))))
    width, height = size
    whole = np.zeros((height, width, 3), np.uint8) if pixels else None
    began = time.process_time()
    for x, y, block in blocks:
        if whole is not None:
            room = whole[y : y + block.shape[0], x : x + block.shape[1]]
            room[:] = block[: room.shape[0], : room.shape[1]]
    cpu_s = time.process_time() - began
    if whole is not None:
        np.save(pixels[0], whole)
    versions = {package: importlib.metadata.version(package) for package in packages}
    print(json.dumps({"cpu_s": cpu_s, "megapixels": width * height / 1e6, "versions": versions}))


def _tile_px(path: Path) -> int:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        return int(tiff.pages[0].tilewidth)  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
