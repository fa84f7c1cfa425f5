"""What marker ink costs: pieces of tissue on inked slides that the detector misses, cuts or joins, by seed.

    python benchmarks/ink.py [--seeds 0 1 2 3 4] [--cases pens strokes large] [--worst FOLDER] [--json]

The truth is the synthesiser's: the mask of every piece that is large enough to be a region. A piece is *missing* where
the boxes cover less than a tenth of it, and *cut* where they cover less than 90 %. A box is *ink alone* where tissue is
under 2 % of it, and *joined* are pairs of pieces of which one box covers half each and none does on the slide without
ink. ``--worst`` saves a picture of the worst case of each kind.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

import _ink_cases
import numpy as np
from _common import machine, machine_line, markdown_table
from _ink_cases import OVERVIEW_MPP, Case, Mask, Pixels
from PIL import Image, ImageDraw

from slideprep.tissue.auto import auto_mask, auto_regions
from slideprep.units import Box

MISSING, CUT, ALONE, JOINED = 0.1, 0.9, 0.02, 0.5


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--cases", nargs="+", default=["pens", "strokes", "large"])
    parser.add_argument("--worst", type=Path, help="folder for a picture of the worst case of each kind")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    tasks = [(name, seed, options.worst) for name in options.cases for seed in options.seeds]
    if options.processes > 1:
        with ProcessPoolExecutor(options.processes) as pool:
            rows = [row for found in pool.map(measured, *zip(*tasks, strict=True)) for row in found]
    else:
        rows = [row for task in tasks for row in measured(*task)]
    found = {"machine": machine(), "rows": rows}
    print(json.dumps(found, indent=1) if options.json else report(found))


def measured(cases: str, seed: int, worst: Path | None) -> list[dict[str, Any]]:
    """One row for each picture, with and without ink."""
    rows: list[dict[str, Any]] = []
    lowest: dict[str, float] = {}
    for case in getattr(_ink_cases, cases)(seed):
        clean, inked = boxes_of(case.clean)[0], boxes_of(case.inked)
        apart = _apart(case, clean)
        for slides, (boxes, ms) in (("clean", (clean, 0.0)), ("inked", inked)):
            row = {"cases": cases, "seed": seed, "slides": slides, "name": case.name, "group": case.group}
            rows.append({**row, **judged(case, boxes, apart), "ms": ms})
        least = min(rows[-1]["covered"])
        if worst is not None and least < lowest.get(case.group, 1.01):
            lowest[case.group] = least
            name = f"{cases}-{seed}-{case.group.replace(' ', '-').replace(',', '')}.png"
            _picture(case, inked[0]).save(worst / name)
    return rows


def boxes_of(overview: Pixels) -> tuple[list[Box], float]:
    """The regions of an overview, in its pixels, and the milliseconds that the mask took."""
    began = time.perf_counter()
    found = auto_mask(overview, mpp_overview=OVERVIEW_MPP)
    rows, columns = found.mask.shape
    size = {"downsample_x": 1, "downsample_y": 1, "width_l0": columns, "height_l0": rows}
    # What ink may hide is not known to earlier versions, with which this is compared.
    hidden = {"hidden": found.hidden} if hasattr(found, "hidden") else {}
    boxes = auto_regions(found.mask, mpp_overview=OVERVIEW_MPP, **size, **hidden)
    return boxes, 1000 * (time.perf_counter() - began)


def judged(case: Case, boxes: Sequence[Box], apart: set[tuple[int, int]]) -> dict[str, Any]:
    """How much of each piece the boxes cover, and what is wrong with the boxes."""
    inside = np.zeros(case.clean.shape[:2], dtype=bool)
    for box in boxes:
        inside[_window(box)] = True
    return {
        "covered": [float(inside[piece].mean()) for piece in case.pieces],
        "boxes": len(boxes),
        "alone": sum(bool(case.tissue[_window(box)].mean() < ALONE) for box in boxes),
        "joined": sum(pair in apart for box in boxes for pair in _pairs(case.pieces, box)),
        "area": sum(box.area_px for box in boxes),
    }


def _apart(case: Case, boxes: Sequence[Box]) -> set[tuple[int, int]]:
    """Pairs of pieces that no box holds both of."""
    every = set(combinations(range(len(case.pieces)), 2))
    return every.difference(*(set(_pairs(case.pieces, box)) for box in boxes))


def _pairs(pieces: Sequence[Mask], box: Box) -> list[tuple[int, int]]:
    held = [i for i, piece in enumerate(pieces) if piece[_window(box)].sum() > JOINED * piece.sum()]
    return list(combinations(held, 2))


def _window(box: Box) -> tuple[slice, slice]:
    return slice(box.y, box.bottom), slice(box.x, box.right)


def _picture(case: Case, boxes: Sequence[Box], zoom: int = 4) -> Image.Image:
    """The inked overview, enlarged, the boxes in black and the pieces' outlines in yellow."""
    zoom = min(zoom, max(1, 1600 // max(case.inked.shape)))
    image = Image.fromarray(np.repeat(np.repeat(case.inked, zoom, axis=0), zoom, axis=1))
    draw = ImageDraw.Draw(image)
    for piece in case.pieces:
        rows, columns = (np.nonzero(piece.any(axis=1 - axis))[0] for axis in (0, 1))
        corners = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        draw.rectangle([zoom * int(side) for side in corners], outline=(230, 190, 0), width=2)
    for box in boxes:
        draw.rectangle(
            [zoom * side for side in (box.x, box.y, box.right, box.bottom)], outline=(0, 0, 0), width=2
        )
    return image


def report(found: dict[str, Any]) -> str:
    """One table by seed, one by kind of stroke."""
    rows = found["rows"]
    by_seed, by_kind = defaultdict(list), defaultdict(list)
    for row in rows:
        by_seed[row["cases"], row["slides"], str(row["seed"])].append(row)
        by_seed[row["cases"], row["slides"], "all"].append(row)
        if row["slides"] == "inked":
            by_kind[row["cases"], row["group"]].append(row)
    header = ["slides", "pieces", "missing", "cut", "least covered", "ink alone", "joined", "ms"]
    seeds = [[*key, *_cells(group)] for key, group in by_seed.items()]
    kinds = [[*key, *_cells(group)] for key, group in by_kind.items()]
    return "\n\n".join(
        [
            machine_line(found["machine"]),
            markdown_table(["cases", "ink", "seed", *header], seeds),
            markdown_table(["cases", "stroke", *header], kinds),
        ]
    )


def _cells(rows: Sequence[dict[str, Any]]) -> list[str]:
    covered = [share for row in rows for share in row["covered"]]
    missing = sum(share < MISSING for share in covered)
    cut = sum(share < CUT for share in covered) - missing
    alone, joined = (sum(row[name] for row in rows) for name in ("alone", "joined"))
    counts = [len(rows), len(covered), missing, cut, f"{min(covered):.2f}", alone, joined]
    return [*map(str, counts), f"{statistics.median(row['ms'] for row in rows):.1f}"]


if __name__ == "__main__":
    main()
