"""What Ray costs and what a second worker brings: the same builds in one process, with one worker, with two.

    python benchmarks/workers.py [SLIDE] [--megapixels 100] [--slides 4] [--json]

Every kind of build runs twice, over SLIDES slides and over three times as many (unlabelled, one shard each). The
difference is what the slides take, without the start of Python and Ray; the rest is the start. Seconds on the wall, and
CPU seconds of all their processes, sampled (Linux). Two workers should have at least 1.8 times one worker's throughput;
what else runs on the machine shows in it, so run it on a quiet one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
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

SHOWN = {0: "one process, without Ray", 1: "Ray, one worker", 2: "Ray, two workers"}
MARK = "SLIDEPREP_BENCHMARK_BUILD"
"""An environment variable by which a build's processes are known, whoever their parent has become."""

_TICKS = os.sysconf("SC_CLK_TCK")
_POLL_SECONDS = 0.05


def main() -> None:
    """Parse the command line, measure, print."""
    parser = slide_parser(__doc__, megapixels=100.0)
    parser.add_argument("--slides", type=int, default=4, help="slides of the small builds [4]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, sentence = find_slide(options.slide, folder)
        megapixels = make_slides(folder, source, options.megapixels, 3 * options.slides)
        runs = {w: [build(folder, n, w) for n in (options.slides, 3 * options.slides)] for w in SHOWN}
    found = {
        "slide": sentence,
        "megapixels": megapixels,
        "slides": options.slides,
        "machine": machine(),
        "load": os.getloadavg()[0],
        "runs": runs,
    }
    print_found(found, report, as_json=options.json)


def make_slides(folder: Path, source: Path, megapixels: float, count: int) -> float:
    """Slides in ``small`` and, three times as many, in ``large``; returns the megapixels of each."""
    first = folder / "slide.svs"
    width, height = write_large_slide(first, source, megapixels=megapixels)
    for part, number in (("small", count // 3), ("large", count)):
        (folder / part).mkdir()
        for i in range(number):
            copy = folder / part / f"slide-{i}.svs"
            shutil.copyfile(first, copy)
            with copy.open("ab") as file:  # the same slide twice would be noticed
                file.write(f"{part} {i}".encode())
    return width * height / 1e6


def build(folder: Path, slides: int, workers: int) -> dict[str, float]:
    """One build: seconds on the wall and of CPU, every process included."""
    part = "small" if slides == len(list((folder / "small").iterdir())) else "large"
    out = folder / f"out-{part}-{workers}"
    command = [str(Path(sys.executable).with_name("slideprep")), "build-shards", str(folder / part)]
    options = ["--out", str(out), "--tissue", "whole", "--shard-mb", "1", "--workers", str(workers)]
    print(f"{slides} slides, {SHOWN[workers]}", file=sys.stderr)
    mark = f"{os.getpid()}-{out.name}"
    started = time.monotonic()
    process = subprocess.Popen(
        [*command, *options],
        env={**os.environ, MARK: mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ticks: dict[str, int] = {}
    while process.poll() is None:
        ticks |= _ticks(f"{MARK}={mark}".encode())
        time.sleep(_POLL_SECONDS)
    wall = time.monotonic() - started
    assert process.returncode == 0, f"the build ended with {process.returncode}"
    shutil.rmtree(out)
    return {"wall_s": wall, "cpu_s": sum(ticks.values()) / _TICKS}


def _ticks(mark: bytes) -> dict[str, int]:
    """Clock ticks so far of every process that carries the mark, by its id and start."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        user, system, start = fields[11], fields[12], fields[19]
        found[f"{folder.name} {start}"] = int(user) + int(system)
    return found


def report(found: dict[str, Any]) -> str:
    """A Markdown table: per slide, and at the start."""
    slides = found["slides"]
    rows = []
    per_slide: dict[int, dict[str, float]] = {}
    for workers, (small, large) in found["runs"].items():
        per_slide[workers] = {k: (large[k] - small[k]) / (2 * slides) for k in small}
        start = {k: small[k] - slides * per_slide[workers][k] for k in small}
        rows.append(
            [
                SHOWN[workers],
                f"{per_slide[workers]['wall_s']:.2f}",
                f"{per_slide[workers]['cpu_s']:.2f}",
                f"{start['wall_s']:.1f}",
                f"{start['cpu_s']:.1f}",
                f"{per_slide[1]['wall_s'] / per_slide[2]['wall_s']:.2f}" if workers == 2 else "",
            ]
        )
    header = [
        "build",
        "wall s per slide",
        "CPU s per slide",
        "start, wall s",
        "start, CPU s",
        "times one worker",
    ]
    ray = per_slide[1]["cpu_s"] - per_slide[0]["cpu_s"]
    return "\n\n".join(
        [
            f"{found['slide']} {slides} and {3 * slides} slides of {found['megapixels']:.0f} megapixels, made of its "
            f"tiles. {machine_line(found['machine'])} Load at the end: {found['load']:.1f}.",
            markdown_table(header, rows),
            f"Ray takes {ray:.2f} CPU s of each slide.",
        ]
    )


if __name__ == "__main__":
    main()
