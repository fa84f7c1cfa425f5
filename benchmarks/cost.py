"""CPU time and peak memory of one large slide at five magnifications: slideprep beside others, in one run.

    python benchmarks/cost.py [SLIDE] [--megapixels 400] [--rounds 3] [--tissueloc PYTHON] [--json]

The large slide (20x, JPEG tiles, a pyramid) repeats the real tiles of SLIDE. Every variant runs in a process of its
own, with one thread, in turn (A B C A B C ...), and makes 10x, 5x, 2.5x, 1.25x and 0.625x of the whole slide as JPEG
(quality 95, 4:4:4). Shown are medians of user + system CPU seconds, imports left out, and the highest peak memory.
Compare ratios: the seconds depend on the machine and on what else runs there.

PYTHON is an interpreter with ``tissueloc``, ``openslide-python``, ``openslide-bin`` and ``pillow``; without one that
row is left out. So is the row of numba where that is not installed.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _common import (
    find_slide,
    machine,
    machine_line,
    markdown_table,
    print_found,
    slide_parser,
    write_large_slide,
)
from _variants import VARIANTS

SHOWN = {
    "labelled": "slideprep, training slide (with colour statistics)",
    "numba": "the same, loops compiled by numba",
    "unlabelled": "slideprep, unlabelled slide",
    "openslide-pillow": "(a) OpenSlide + Pillow LANCZOS",
    "decode-encode": "(b) decode + encode alone",
    "tissueloc": "tissueloc + OpenSlide + Pillow LANCZOS, its tissue alone",
    "vips-reduce": "libvips reduce, 8-bit, decoding per magnification",
}
HERE = Path(__file__).parent
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VIPS_CONCURRENCY"), "1"
)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = slide_parser(__doc__, megapixels=400.0)
    parser.add_argument("--rounds", type=int, default=3, help="times that every variant runs [3]")
    parser.add_argument("--tissueloc", metavar="PYTHON", help="interpreter that has tissueloc")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, sentence = find_slide(options.slide, Path(folder))
        large = Path(folder) / "large.svs"
        width, height = write_large_slide(large, source, megapixels=options.megapixels)
        runs = measure(large, options.rounds, options.tissueloc)
    found = {
        "slide": f"{sentence} Its tiles, repeated: {width} x {height} px, {width * height / 1e6:.0f} megapixels.",
        "megapixels": width * height / 1e6,
        "machine": machine(),
        "variants": {name: summary(results) for name, results in runs.items()},
    }
    print_found(found, report, as_json=options.json)


def measure(slide: Path, rounds: int, tissueloc: str | None) -> dict[str, list[dict[str, Any]]]:
    """Run all variants, in turn; results by variant in the order of the rounds."""
    commands = {name: [sys.executable, str(HERE / "_variants.py"), name] for name in VARIANTS}
    if tissueloc is not None:
        commands["tissueloc"] = [tissueloc, str(HERE / "_tissueloc.py")]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
    for number in range(rounds):
        for name, results in runs.items():
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
            results.append(_run(commands[name], slide))
    return runs


def _run(command: list[str], slide: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=slide.parent) as out:
        done = subprocess.run(
            [*command, str(slide), out],
            env={**os.environ, **ONE_THREAD},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds; the highest memory."""
    stages = {
        name: statistics.median(result["stages"].get(name, 0.0) for result in results)
        for name in results[0]["stages"]
    }
    return {
        "cpu_s": statistics.median(result["cpu_s"] for result in results),
        "least_cpu_s": min(result["cpu_s"] for result in results),
        "import_s": statistics.median(result["import_s"] for result in results),
        "peak_mb": max(result["peak_mb"] for result in results),
        "stages": stages,
    }


def report(found: dict[str, Any]) -> str:
    """Two Markdown tables: the variants, and slideprep's time by stage."""
    variants = found["variants"]
    a, b = variants["openslide-pillow"]["cpu_s"], variants["decode-encode"]["cpu_s"]
    rows = [
        [
            shown,
            f"{variants[name]['cpu_s']:.2f}",
            f"{variants[name]['least_cpu_s']:.2f}",
            f"{a / variants[name]['cpu_s']:.1f}",
            f"{variants[name]['cpu_s'] / b:.2f}",
            f"{variants[name]['peak_mb']:.0f}",
            f"{variants[name]['import_s']:.1f}",
        ]
        for name, shown in SHOWN.items()
        if name in variants
    ]
    header = ["variant", "CPU s", "least", "(a) / it", "it / (b)", "peak MB", "once per process, s"]
    return "\n\n".join(
        [
            f"{found['slide']} {machine_line(found['machine'])}",
            markdown_table(header, rows),
            "slideprep, training slide, by stage (with clocks around the stages, which cost a little themselves):",
            markdown_table(["stage", "CPU s", "ns per level-0 pixel", "share"], _stage_rows(found)),
            "(b) by stage: "
            + ", ".join(f"{name} {s:.2f} s" for name, s in variants["decode-encode"]["stages"].items()),
        ]
    )


def _stage_rows(found: dict[str, Any]) -> list[list[str]]:
    staged = found["variants"]["stages"]
    spent = {**staged["stages"], "everything else": staged["cpu_s"] - sum(staged["stages"].values())}
    return [
        [name, f"{s:.2f}", f"{1e3 * s / found['megapixels']:.2f}", f"{100 * s / staged['cpu_s']:.0f} %"]
        for name, s in spent.items()
    ]


if __name__ == "__main__":
    main()
