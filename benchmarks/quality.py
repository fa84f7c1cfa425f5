"""What the quality numbers of regions.csv see of planted blur, ink, folds and bubbles: rank correlations.

    python benchmarks/quality.py [--planted blur ink folds bubbles] [--seeds 0 1 2 3 4 5] [--json]

For each seed, a sharp synthetic slide is stained weakly, usually and strongly, and blur, ink, folds or bubbles are
planted in six amounts. All slides of a kind are built into a shard set, and the numbers read from its regions.csv.
Shown are Spearman's correlation of what was measured with what was planted over all slides, the medians by amount, and
what the other numbers say of the same slides. Blur is shown at 0.625x too, the size of an overview.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import _quality_plants as plants
import numpy as np
from _common import machine, machine_line, markdown_table
from rich.console import Console
from scipy.stats import spearmanr

from slideprep.building.build import build_shards
from slideprep.building.config import load_config
from slideprep.building.prepare import prepare
from slideprep.synthetic.slide import write_pyramid

NUMBERS = ("focus", "ink", "folds", "bubbles")
KINDS = {"blur": "focus", "ink": "ink", "folds": "folds", "bubbles": "bubbles"}
PLANTED: dict[str, Callable[..., tuple[plants.Pixels, plants.Mask]]] = {
    "ink": plants.inked,
    "folds": plants.folded,
    "bubbles": plants.bubbled,
}


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4, 5])
    parser.add_argument("--planted", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for kind in options.planted:
        with tempfile.TemporaryDirectory() as folder:
            rows += measured(kind, options.seeds, Path(folder))
    found = {"machine": machine(), "rows": rows}
    print(json.dumps(found, indent=1) if options.json else report(found))


def measured(kind: str, seeds: Sequence[int], folder: Path) -> list[dict[str, Any]]:
    """One row for each region of the slides of a kind."""
    slides = folder / "slides"
    slides.mkdir()
    known: dict[str, dict[str, Any]] = {}
    masks: dict[str, plants.Mask] = {}
    tissue: dict[str, plants.Mask] = {}
    for seed in seeds:
        clean = plants.clean_slide(seed)
        for number, amount in enumerate(plants.BLUR_UM if kind == "blur" else plants.SHARES):
            rng = np.random.default_rng((seed, number))
            strength = plants.STRENGTHS[(seed + number) % len(plants.STRENGTHS)]
            pixels, mask = planted(kind, plants.stained(clean, strength), amount, rng)
            name = f"{kind}-{seed}-{number}.tiff"
            write_pyramid(slides / name, pixels, title=name)
            known[name] = {"kind": kind, "seed": seed, "amount": amount, "strength": strength}
            masks[name] = mask
            tissue[name] = plants.tissue_of(clean)
    magnifications = {"10x": (10.0, 2.5, 0.625), **({"0.625x": (0.625,)} if kind == "blur" else {})}
    return [
        {**known[row["slide"]], "at": at}
        | {"truth": truth(known[row["slide"]], masks[row["slide"]], tissue[row["slide"]], row)}
        | {number: float(row[number] or "nan") for number in NUMBERS}
        for at, wanted in magnifications.items()
        for row in built(slides, folder / at, wanted)
    ]


def planted(
    kind: str, pixels: plants.Pixels, amount: float, rng: np.random.Generator
) -> tuple[plants.Pixels, plants.Mask]:
    """A slide with an amount of something, and where it is."""
    if kind == "blur":
        return plants.blurred(pixels, amount), np.zeros((1, 1), dtype=bool)
    return PLANTED[kind](pixels, amount, rng)


def truth(known: dict[str, Any], mask: plants.Mask, tissue: plants.Mask, row: dict[str, str]) -> float:
    """What was planted in a region: the blur in µm, the share of its box, or of its tissue where it is folds."""
    if known["kind"] == "blur":
        return float(known["amount"])
    x, y, width, height = (int(row[name]) // plants.COARSE for name in ("x", "y", "width", "height"))
    part = (slice(y, y + height), slice(x, x + width))
    return float(mask[part][tissue[part]].mean() if known["kind"] == "folds" else mask[part].mean())


def built(slides: Path, out: Path, magnifications: tuple[float, ...]) -> list[dict[str, str]]:
    """The rows of regions.csv of a set of these slides."""
    config = load_config(
        {"slides": (str(slides),), "out": out, "magnifications": magnifications, "workers": 0}, None
    )
    build_shards(config, prepare(config), Console(file=io.StringIO()))
    with (out / "regions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def report(found: dict[str, Any]) -> str:
    """The tables as Markdown."""
    rows = found["rows"]
    lines = []
    others = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        number = KINDS[kind]
        for at in dict.fromkeys(row["at"] for row in rows if row["kind"] == kind):
            own = [row for row in rows if row["kind"] == kind and row["at"] == at]
            seen = [row for row in own if np.isfinite(row[number])]
            rho = spearmanr([row["truth"] for row in seen], [row[number] for row in seen]).statistic
            by_amount = [
                f"{amount:g}: {statistics.median(row[number] for row in seen if row['amount'] == amount):.2f}"
                for amount in dict.fromkeys(row["amount"] for row in seen)
            ]
            lines.append([kind, at, f"{len(seen)}", f"{rho:+.3f}", ", ".join(by_amount)])
            if at == "10x":
                others.append([kind, *(f"{_share_above(own, name):.2f}" for name in NUMBERS[1:])])
    return "\n\n".join(
        [
            machine_line(found["machine"]),
            markdown_table(["planted", "measured at", "regions", "Spearman", "medians by amount"], lines),
            "Regions of which more than 0.02 is taken for ink, folds or bubbles, by what was planted:",
            markdown_table(["planted", *NUMBERS[1:]], others),
        ]
    )


def _share_above(rows: Sequence[dict[str, Any]], number: str) -> float:
    return statistics.mean(row[number] > 0.02 for row in rows)


if __name__ == "__main__":
    main()
