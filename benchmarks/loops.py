"""CPU time of the resampling loops alone: slideprep's, and the same as plain Python compiled by numba, side by side.

    python benchmarks/loops.py [--rounds 9] [--listings FOLDER] [--json]

Random pixels, 31 megapixels in strips, to a half, a quarter, ... a 32nd in one pass, as ``build-shards`` does it, by
one implementation and the other in turn. Shown are the least seconds of CPU of all rounds, by loop, in nanoseconds per
level-0 pixel. Both must make the same bytes. The second table is what a process does once: import, compiling, memory,
each in a process of its own. numba is no requirement of slideprep's: ``pip install numba`` for this benchmark.

``--listings`` writes the machine code of both to look at: slideprep.s and numba-NAME.s.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from _common import machine, machine_line, markdown_table, print_found
from _variants import use_loops

from slideprep.images.resample.downsample import downsample, source_box
from slideprep.images.resample.filter import Target
from slideprep.images.resample.loops import lanczos_code

WIDTH_PX, HEIGHT_PX, STRIP_ROWS = 8192, 3840, 240
FACTORS = (2, 4, 8, 16, 32)
LOOPS = ("pair_rows", "filter_rows", "filter_columns", "keep_columns")
ONCE = """
import pathlib, sys, time
sys.path.insert(0, sys.argv[1])
def used():
    (peak,) = [line for line in pathlib.Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
    return time.process_time(), int(peak.split()[1]) / 1024
import numpy, slideprep.images.resample.lanczos
before = used()
{}
after = used()
print(after[0] - before[0], after[1] - before[1])
"""
COMPILING = {
    "slideprep": "from slideprep.images.resample.loops import lanczos_code; lanczos_code()",
    "numba": "from _numba_loops import numba_code; numba_code()",
}


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9, help="times that both run [9]")
    parser.add_argument("--listings", type=Path, metavar="FOLDER", help="write the machine code here")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    from _numba_loops import numba_code

    codes = {"slideprep": lanczos_code(), "numba": numba_code()}
    if options.listings:
        write_listings(options.listings, codes)
    found = {
        "machine": machine(),
        "spent": measure(codes, options.rounds),
        "once": {name: once(COMPILING[name]) for name in codes},
    }
    print_found(found, report, as_json=options.json)


class Clocked:
    """Loops with a clock around each: ``spent`` are the nanoseconds of CPU by loop."""

    def __init__(self, code: Any) -> None:
        self.spent = dict.fromkeys(LOOPS, 0)
        for name in LOOPS:
            setattr(self, name, self._clocked(name, getattr(code, name)))

    def _clocked(self, name: str, loop: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: int) -> None:
            start = time.process_time_ns()
            loop(*arguments)
            self.spent[name] += time.process_time_ns() - start

        return call


def measure(codes: Mapping[str, Any], rounds: int) -> dict[str, dict[str, float]]:
    """Nanoseconds per level-0 pixel by implementation and loop, the least of all rounds; all of ``downsample`` too."""
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8)
    ours, other = (resampled(code, image) for code in codes.values())
    assert all(np.array_equal(a, b) for a, b in zip(ours, other, strict=True)), "the bytes differ"
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in codes}
    for _ in range(rounds):
        for name, code in codes.items():
            clocked, start = Clocked(code), time.process_time_ns()
            resampled(clocked, image)
            runs[name].append({**clocked.spent, "everything": time.process_time_ns() - start})
    pixels = WIDTH_PX * HEIGHT_PX
    return {
        name: {part: min(run[part] for run in made) / pixels for part in made[0]}
        for name, made in runs.items()
    }


def resampled(code: Any, image: np.ndarray) -> list[np.ndarray]:
    """The rows of every magnification, by these loops."""
    use_loops(code)
    targets = [
        Target(factor=Fraction(f), x=Fraction(0), y=Fraction(0), width=WIDTH_PX // f, height=HEIGHT_PX // f)
        for f in FACTORS
    ]
    box = source_box(targets, slide_width=WIDTH_PX, slide_height=HEIGHT_PX)
    return [rows for _, rows in downsample(strips(image), box, targets, strip_rows=STRIP_ROWS)]


def strips(image: np.ndarray) -> Iterator[np.ndarray]:
    """The image from top to bottom."""
    return (image[top : top + STRIP_ROWS] for top in range(0, HEIGHT_PX, STRIP_ROWS))


def once(code: str) -> list[float]:
    """Seconds of CPU and MiB that a process needs once, the least of three."""
    command = [sys.executable, "-c", ONCE.format(code), str(Path(__file__).parent)]
    runs = [subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    return min([float(number) for number in run.stdout.split()] for run in runs)


def write_listings(folder: Path, codes: Mapping[str, Any]) -> None:
    """The machine code as text."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "slideprep.s").write_text(codes["slideprep"].compiled.assembly)
    for name in LOOPS:
        (assembly,) = getattr(codes["numba"], name).inspect_asm().values()
        (folder / f"numba-{name}.s").write_text(assembly)


def report(found: dict[str, Any]) -> str:
    """Two Markdown tables."""
    ours, numba = found["spent"]["slideprep"], found["spent"]["numba"]
    rows = [
        [part, f"{ours[part]:.3f}", f"{numba[part]:.3f}", f"{numba[part] / ours[part]:.2f}"] for part in ours
    ]
    once_rows = [[name, f"{s:.2f}", f"{mb:.0f}"] for name, (s, mb) in found["once"].items()]
    return "\n\n".join(
        [
            machine_line(found["machine"]),
            "ns of CPU per level-0 pixel, five magnifications (everything: Python between the loops, too):",
            markdown_table(["loop", "slideprep", "numba", "numba / slideprep"], rows),
            "Once per process:",
            markdown_table(["loops of", "CPU s", "MiB"], once_rows),
        ]
    )


if __name__ == "__main__":
    main()
