"""JPEG 2000 tiles: imagecodecs, which slideprep uses, against OpenSlide, in speed and in what damage each refuses.

    python benchmarks/jp2k.py [SLIDE] [--tiles 36] [--rounds 3] [--seed 0]

Tiles of 240 px are cut from a small slide's level 0 and encoded three ways, as scanners write them: RGB with the
codec's colour transform, lossy (33005) and lossless, and YCbCr (33003). Both decode the same Aperio-like SVS through
slideprep's two readers, one thread each, in turn; the ratio is of the CPU seconds' medians. Then every tile is damaged
in four ways and read by both: refused, right, or wrong without a word. OpenSlide stands here twice: as it is, and as
slideprep reads with it, its decoders' warnings heard (see :mod:`slideprep.slides.readers.openslide_warnings`).
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median

import click
import numpy as np
from _common import find_slide, level0_pixels, machine, machine_line, markdown_table
from numpy.typing import NDArray

from slideprep.errors import SlideReadError
from slideprep.slides.overview import read_level
from slideprep.slides.reader import Slide
from slideprep.slides.readers.openslide import flatten, open_openslide
from slideprep.slides.readers.openslide_warnings import decoder_warnings
from slideprep.slides.readers.tiff import open_tiff_tiles

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from fixtures.slides import jp2k, overwrite, slide_file, tile_span, write_jp2k_svs

Pixels = NDArray[np.uint8]
TILE_PX = 240
LEVEL_DB = 38
CODINGS: Mapping[str, tuple[str, int | None]] = {
    "RGB, lossy (33005)": ("rgb", LEVEL_DB),
    "RGB, lossless (33005)": ("rgb", None),
    "YCbCr, lossy (33003)": ("ycbcr", LEVEL_DB),
}


def _flip(data: bytes, random: np.random.Generator) -> bytes:
    at = int(random.integers(len(data)))
    return data[:at] + bytes([data[at] ^ (1 << int(random.integers(8)))]) + data[at + 1 :]


def _zero_block(data: bytes, random: np.random.Generator) -> bytes:
    at = int(random.integers(len(data) - 64))
    return data[:at] + bytes(64) + data[at + 64 :]


DAMAGES: Mapping[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "bit flip": _flip,
    "64 zeros": _zero_block,
    "second half zero": lambda data, _: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "last quarter zero": lambda data, _: data[: -(len(data) // 4)] + bytes(len(data) // 4),
}


def _unheard(path: Path, box: tuple[int, int, int, int]) -> Pixels:
    """OpenSlide as it is, its warnings unread."""
    import openslide

    x, y, width, height = box
    with openslide.OpenSlide(path) as handle, decoder_warnings():
        return flatten(np.asarray(handle.read_region((x, y), 0, (width, height))), (255, 255, 255))


def _through(open_it: Callable[..., Slide | None], path: Path, box: tuple[int, int, int, int]) -> Pixels:
    slide = open_it(slide_file(path))
    assert slide is not None, "the slide was made for this reader"
    with slide:
        return np.concatenate(list(slide.strips(0, *box)))


READERS: Mapping[str, Callable[[Path, tuple[int, int, int, int]], Pixels]] = {
    "slideprep": partial(_through, open_tiff_tiles),
    "OpenSlide, warnings heard": partial(_through, open_openslide),
    "OpenSlide": _unheard,
}


def _speed(path: Path, megapixels: float, rounds: int) -> list[str]:
    seconds: dict[str, list[float]] = {"slideprep": [], "OpenSlide": []}
    for _ in range(rounds):
        for name, open_it in (("slideprep", open_tiff_tiles), ("OpenSlide", open_openslide)):
            slide = open_it(slide_file(path))
            assert slide is not None
            begin = time.process_time()
            with slide:
                read_level(slide, 0)
            seconds[name].append(time.process_time() - begin)
    ours, theirs = (megapixels / median(seconds[name]) for name in ("slideprep", "OpenSlide"))
    return [f"{ours:.1f}", f"{theirs:.1f}", f"{ours / theirs:.2f}"]


def _outcomes(
    path: Path, columns: int, tiles: int, random: np.random.Generator
) -> Counter[tuple[str, str, str]]:
    """Count (damage, reader, outcome) over every tile and damage."""
    counts: Counter[tuple[str, str, str]] = Counter()
    intact = path.read_bytes()
    for tile in range(tiles):
        offset, count = tile_span(path, tile)
        box = ((tile % columns) * TILE_PX, (tile // columns) * TILE_PX, TILE_PX, TILE_PX)
        right = READERS["slideprep"](path, box)
        for damage, do in DAMAGES.items():
            overwrite(path, offset, do(intact[offset : offset + count], random))
            for name, read in READERS.items():
                counts[damage, name, _outcome(read, path, box, right)] += 1
            overwrite(path, offset, intact[offset : offset + count])
    return counts


def _outcome(
    read: Callable[[Path, tuple[int, int, int, int]], Pixels],
    path: Path,
    box: tuple[int, int, int, int],
    right: Pixels,
) -> str:
    from openslide import OpenSlideError

    try:
        pixels = read(path, box)
    except (SlideReadError, OpenSlideError):
        return "refused"
    return "right" if np.array_equal(pixels, right) else "wrong"


@click.command(
    help="JPEG 2000 tiles: imagecodecs against OpenSlide, in speed and in what damage each refuses."
)
@click.argument("slide", required=False, type=click.Path(path_type=Path, exists=True))
@click.option("--tiles", default=36, show_default=True, help="A square number.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(slide: Path | None, tiles: int, rounds: int, seed: int) -> None:
    """Print both tables."""
    side = round(tiles**0.5)
    counts: Counter[tuple[str, str, str]] = Counter()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        source, said = find_slide(slide, Path(folder))
        image = level0_pixels(source)[: side * TILE_PX, : side * TILE_PX]
        for number, (name, (colours, level)) in enumerate(CODINGS.items()):
            path = write_jp2k_svs(
                Path(folder) / f"{number}.svs",
                image,
                colours=colours,  # type: ignore[arg-type]
                tile=TILE_PX,
                encode=partial(jp2k, colours=colours, level=level),  # type: ignore[arg-type]
            )
            rows.append([name, *_speed(path, image.shape[0] * image.shape[1] / 1e6, rounds)])
            counts += _outcomes(path, side, side * side, np.random.default_rng((seed, number)))
    print(f"{said} {machine_line(machine())}\n")
    print(markdown_table(["coding", "slideprep, MP/s of CPU", "OpenSlide, MP/s", "ratio"], rows), "\n")
    print(
        markdown_table(
            ["damage", "reader", "refused", "right", "wrong"],
            [
                [
                    damage,
                    name,
                    *(str(counts[damage, name, outcome]) for outcome in ("refused", "right", "wrong")),
                ]
                for damage in DAMAGES
                for name in READERS
            ],
        )
    )


if __name__ == "__main__":
    main()
