"""How much of a slide the builder decodes, by tissue method: tiles of level 0, counted.

    python benchmarks/areas.py [SLIDE...] [--synthetic 6] [--json]

For every slide and method: the regions found, their share of the slide's area, and the level-0 tiles that reading them
decodes, kernels' reach around the regions included. A tile that two regions need is decoded once for each: the column
"tiles read" counts it twice, "distinct" once. Without SLIDE: the real slide and large ones made of its tiles (see
README.md), then synthetic slides of several pieces of tissue.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _common import find_slide, machine, machine_line, markdown_table, open_path, write_large_slide
from _variants import MAGNIFICATIONS, settings

from slideprep.images.resample.downsample import source_box
from slideprep.images.resample.filter import Target
from slideprep.regions.layout import Grid
from slideprep.regions.scan import Scan, scan_slide
from slideprep.regions.settings import ScanJob
from slideprep.slides.discover import find_slides
from slideprep.slides.reader import grid_cells
from slideprep.slides.readers.tiled import TiledSlide
from slideprep.synthetic.recipe import CLASSES
from slideprep.synthetic.slide import make_slide
from slideprep.units import Box

METHODS = ("auto", "tissueloc", "whole")
LARGE_MEGAPIXELS = 100.0
SYNTHETIC = "synthetic"


def main() -> None:
    """Parse the command line, count, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slides", nargs="*", type=Path, metavar="SLIDE")
    parser.add_argument("--synthetic", type=int, default=6, help="synthetic slides to make [6]")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        slides = [*(options.slides or real_slides(Path(folder))), *made(Path(folder), options.synthetic)]
        rows = [count(slide, method) for slide in slides for method in METHODS]
    found = {"machine": machine(), "rows": rows}
    print(json.dumps(found, indent=1) if options.json else report(found))


def real_slides(folder: Path) -> list[Path]:
    """The small slide, and a large one that repeats its tiles."""
    small, _ = find_slide(None, folder)
    large = folder / "its tiles, repeated.svs"
    write_large_slide(large, small, megapixels=LARGE_MEGAPIXELS)
    return [small, large]


def made(folder: Path, number: int) -> list[Path]:
    """Synthetic slides, classes in turn, every third with marker pen."""
    return [
        make_slide(
            folder / f"{SYNTHETIC}-{i}.tiff",
            class_name=list(CLASSES)[i % len(CLASSES)],
            seed=i,
            pen=i % 3 == 2,
        )
        for i in range(number)
    ]


def count(path: Path, method: str) -> dict[str, Any]:
    """Scan a slide and count what its regions touch; a slide without tissue has no regions."""
    (file,), _ = find_slides([path])
    job = ScanJob(file=file, shown_name=file.name, settings=settings(tissue=method))
    scan = scan_slide(job)
    with open_path(path) as slide:
        assert isinstance(slide, TiledSlide), f"{path.name} has no tiles that are read directly"
        level0, page = slide.levels[0], slide.pages[0]
        tile = page.tile_width, page.tile_height
    boxes = list(read_boxes(scan)) if isinstance(scan, Scan) else []
    touched = [set(tiles(box, tile)) for box in boxes]
    total = len(set(tiles(Box(x=0, y=0, width=level0.width, height=level0.height), tile)))
    return {
        "slide": path.stem,
        "method": method,
        "regions": len(boxes),
        "megapixels": level0.width * level0.height / 1e6,
        "area": sum(box.area_px for box in boxes) / (level0.width * level0.height),
        "read": sum(map(len, touched)) / total,
        "distinct": len(set().union(*touched)) / total,
    }


def read_boxes(scan: Scan) -> Iterator[Box]:
    """What reading each region decodes at least: its field and the kernels' reach around it, level-0 pixels."""
    grid = Grid(scan.scale, MAGNIFICATIONS)
    for region in scan.regions:
        if region.layout is None:
            continue
        images = grid.images(region.layout, slide_width=scan.width, slide_height=scan.height)
        targets = [
            Target(
                factor=image.factor,
                x=region.layout.x + image.valid.x * image.factor,
                y=region.layout.y + image.valid.y * image.factor,
                width=image.valid.width,
                height=image.valid.height,
            )
            for image in images
        ]
        yield source_box(targets, slide_width=scan.width, slide_height=scan.height)


def tiles(box: Box, tile: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """(column, row) of the tiles that a box touches."""
    for column, _, _ in grid_cells(box.x, box.right, tile[0]):
        for row, _, _ in grid_cells(box.y, box.bottom, tile[1]):
            yield column, row


def report(found: dict[str, Any]) -> str:
    """A Markdown table, the synthetic slides together as medians."""
    rows = found["rows"]
    real = [row for row in rows if not row["slide"].startswith(SYNTHETIC)]
    drawn = [row for row in rows if row["slide"].startswith(SYNTHETIC)]
    header = ["slide", "method", "regions", "area", "tiles read", "distinct"]
    shown = [
        [
            row["slide"],
            row["method"],
            str(row["regions"]),
            *map(_percent, (row["area"], row["read"], row["distinct"])),
        ]
        for row in real
    ]
    for method in METHODS if drawn else ():
        same = [row for row in drawn if row["method"] == method]
        shown.append(
            [
                f"{len(same)} synthetic slides, median (range)",
                method,
                f"{statistics.median(row['regions'] for row in same):g}",
                *(_spread([row[name] for row in same]) for name in ("area", "read", "distinct")),
            ]
        )
    return "\n\n".join([machine_line(found["machine"]), markdown_table(header, shown)])


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _spread(shares: list[float]) -> str:
    return f"{100 * statistics.median(shares):.0f} % ({100 * min(shares):.0f} to {100 * max(shares):.0f})"


if __name__ == "__main__":
    main()
