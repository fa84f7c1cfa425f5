"""What decoding JPEG tiles of an SVS costs by several readers, and how far their pixels are from OpenSlide's.

    python3 -m venv rd && rd/bin/pip install fastslide slideio openslide-python openslide-bin tifffile imagecodecs
    python benchmarks/readers.py [SLIDE...] --others rd/bin/python [--megapixels 100] [--rounds 3] [--json]

Megapixels of level 0 per CPU second, the median over rounds in which all take turns, each in a process of its own. What
is read repeats the slide's own tiles. The differences are over the slide itself: mean of |difference| and mean
difference in grey levels, reader minus OpenSlide. Without a SLIDE it takes OpenSlide's small test slide, where it is at
hand (see README.md), and a synthetic one.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from _common import find_slide, machine, markdown_table, write_large_slide, write_synthetic_slide

CHILD = Path(__file__).with_name("_reader_child.py")
OTHERS = ("openslide", "slideio", "fastslide", "tifffile")
OURS = "slideprep"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def read(python: str, reader: str, slide: Path, *pixels: Path) -> dict[str, Any]:
    """Let a reader read a slide in a process of its own; its pixels go to a file where one is named.

    Raises:
        ClickException: It failed.
    """
    command = [python, str(CHILD), reader, str(slide), *map(str, pixels)]
    env = {**os.environ, **ONE_THREAD}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise click.ClickException(f"{reader} does not read {slide.name}: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def differences(pixels: np.ndarray[Any, Any], reference: np.ndarray[Any, Any]) -> tuple[float, float]:
    """(mean |difference|, mean difference) of two images (rows, columns, 3) uint8, in grey levels."""
    apart = pixels.astype(np.int16) - reference
    return float(np.abs(apart).mean()), float(apart.mean())


def measured(slide: Path, pythons: dict[str, str], megapixels: float, rounds: int) -> list[dict[str, Any]]:
    """All readers on one slide; rows in the order of ``pythons``, which begins with OpenSlide."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference: np.ndarray[Any, Any] | None = None
        rows: dict[str, dict[str, Any]] = {}
        for reader, python in pythons.items():
            file = folder / f"{reader}.npy"
            versions = read(python, reader, slide, file)["versions"]
            pixels = np.load(file)
            reference = pixels if reference is None else reference
            absolute, signed = differences(pixels, reference)
            rows[reader] = {"reader": reader, "versions": versions, "absolute": absolute, "signed": signed}
        large = folder / "large.svs"
        write_large_slide(large, slide, megapixels=megapixels)
        speeds: dict[str, list[float]] = {reader: [] for reader in pythons}
        for _ in range(rounds):
            for reader, python in pythons.items():
                found = read(python, reader, large)
                speeds[reader].append(found["megapixels"] / found["cpu_s"])
    return [{**rows[reader], "mp_per_cpu_s": speeds[reader], "slide": slide.name} for reader in pythons]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Of one slide."""
    middle = [median(row["mp_per_cpu_s"]) for row in rows]
    lines = [
        [
            ", ".join(f"{name} {version}" for name, version in row["versions"].items()),
            f"{speed:.0f}",
            f"{min(row['mp_per_cpu_s']):.0f}-{max(row['mp_per_cpu_s']):.0f}",
            f"{1e3 / speed:.1f}",
            f"{speed / middle[0]:.1f}",
            f"{row['absolute']:.3f}",
            f"{row['signed']:+.3f}",
        ]
        for row, speed in zip(rows, middle, strict=True)
    ]
    header = (
        "reader",
        "MP per CPU s",
        "range",
        "CPU ms per MP",
        "x OpenSlide",
        "mean abs. difference",
        "mean difference",
    )
    return markdown_table(header, lines)


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.argument("slides", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--others", default=sys.executable, help="Python that has the other readers.")
@click.option("--only", multiple=True, type=click.Choice(OTHERS), help="Of the others; may be repeated.")
@click.option("--megapixels", default=100.0, show_default=True, help="Of the slide that is timed, at least.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(
    slides: tuple[Path, ...],
    others: str,
    only: tuple[str, ...],
    megapixels: float,
    rounds: int,
    as_json: bool,
) -> None:
    """Measure and print."""
    chosen = [reader for reader in OTHERS if not only or reader in only or reader == "openslide"]
    pythons = {**dict.fromkeys(chosen, others), OURS: sys.executable}
    with tempfile.TemporaryDirectory() as name:
        if not slides:
            synthetic = Path(name) / "synthetic-444.svs"
            write_synthetic_slide(synthetic)
            slides = tuple(dict.fromkeys((find_slide(None, Path(name))[0], synthetic)))
        found = [measured(slide, pythons, megapixels, rounds) for slide in slides]
    if as_json:
        print(json.dumps(found, indent=1))
        return
    for slide, rows in zip(slides, found, strict=True):
        print(f"{slide.name}, repeated to {megapixels:g} MP:\n\n{table(rows)}\n")
    here = machine()
    today = datetime.datetime.now(datetime.UTC).date()
    print(
        f"{today}, {here['cpu']} ({here['cores']} cores), Python {here['python']}, {rounds} rounds in turn."
    )


if __name__ == "__main__":
    main()
