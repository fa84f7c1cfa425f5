"""How far colour statistics of pixels before encoding are from those of the same images as they decode.

    python benchmarks/colours.py [SLIDE...] [--tissue auto] [--objective 20] [--image-format jpeg] [--quality 95]
        [--magnifications 10 5 2.5 1.25 0.625] [--json]

Every region of the slides goes to every magnification, is encoded as ``build-shards`` does, and is added up twice:
before encoding, as index.json has it since format 1.2, and decoded, as before. Shown is decoded minus unencoded over
all regions together: the largest difference of mean and of deviation, of the three channels, in grey levels. Without
SLIDE: the real slide.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from _common import find_slide, machine, machine_line, markdown_table, print_found
from _variants import MAGNIFICATIONS

import slideprep
from slideprep.images.sums import PixelSums
from slideprep.shards.format import magnification_name, statistics_from_sums
from slideprep.shards.models import ImageFormat

Sums = dict[tuple[str, str], PixelSums]
"""By magnification and "png" or the format asked for."""


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slides", nargs="*", type=Path, metavar="SLIDE")
    parser.add_argument("--tissue", default="auto", help="tissue method [auto]")
    parser.add_argument("--objective", type=float, default=20.0, help="of slides that state none [20]")
    parser.add_argument("--image-format", default="jpeg", choices=get_args(ImageFormat))
    parser.add_argument("--quality", type=int, default=95)
    parser.add_argument("--magnifications", type=float, nargs="+", default=MAGNIFICATIONS)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        slides = options.slides or [find_slide(None, Path(folder))[0]]
        sums: Sums = {}
        for slide in slides:
            add_slide(sums, slide, options)
    found = {
        "machine": machine(),
        "slides": [slide.name for slide in slides],
        "rows": rows(sums, options.image_format),
    }
    print_found(found, report, as_json=options.json)


def add_slide(sums: Sums, path: Path, options: argparse.Namespace) -> None:
    """Add a slide's images up, as they are and as they decode; lossless ones are both."""
    for image_format in ("png", options.image_format):
        settings = slideprep.ReadSettings(
            tissue=options.tissue,
            objective=options.objective,
            magnifications=tuple(options.magnifications),
            image_format=image_format,
            quality=options.quality,
        )
        with slideprep.open_slide(path) as slide:
            for region in slideprep.extract(slide, settings):
                for magnification, image in region.images.items():
                    name = magnification_name(magnification)
                    sums.setdefault((name, image_format), PixelSums()).add(image.pixels)


def rows(sums: Sums, image_format: str) -> list[dict[str, Any]]:
    """What decoding changes, by magnification."""
    found = []
    for name in dict.fromkeys(name for name, _ in sums):
        before, after = (
            statistics_from_sums(pixels=s.pixels, sums=s.sums, squares=s.squares)
            for s in (sums[name, "png"], sums[name, image_format])
        )
        found.append(
            {
                "magnification": name,
                "pixels": before.pixels,
                "mean": largest(after.mean, before.mean),
                "std": largest(after.std, before.std),
            }
        )
    return found


def largest(after: Sequence[float], before: Sequence[float]) -> float:
    """The difference of the channel that moves most."""
    moved = np.subtract(after, before)
    return float(moved[np.abs(moved).argmax()])


def report(found: dict[str, Any]) -> str:
    """A row for each magnification."""
    header = ["magnification", "megapixels", "mean moves by", "std moves by"]
    table = [
        [row["magnification"], f"{row['pixels'] / 1e6:.2f}", f"{row['mean']:+.3f}", f"{row['std']:+.3f}"]
        for row in found["rows"]
    ]
    names = found["slides"]
    return f"{len(names)} slides, {names[0]} first. {machine_line(found['machine'])}\n\n" + markdown_table(
        header, table
    )


if __name__ == "__main__":
    main()
