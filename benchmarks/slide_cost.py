"""What one slide costs, from file to answer: a teacher at 10x beside students at lower magnifications.

    python benchmarks/slide_cost.py [SLIDE...] [--piece-px 4500 6000] [--cores 1 2] [--rounds 3] [--figure FILE]

Without SLIDE: a synthetic slide with four pieces of tissue and a pyramid, and the real one where it is at hand. Every
line is a process of its own, in turn, that does what ``kdtrain predict`` does for one slide: open it and find tissue,
decode level 0 or a pyramid level, resample and encode, decode and infer. The network is resnet10 with fresh weights,
which cost the same as trained ones. Reading takes one core whatever there are, since ``predict`` reads several slides
at a time; inference takes all of them. Shown are medians over the rounds and the highest peak of memory, the libraries
included; what a process does once (imports, compiling, about 2 s) is left out. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from _common import find_slide, machine, machine_line, markdown_table, open_path, print_found
from _slide_cost import STAGES

from slideprep.synthetic.slide import SlideSize, make_slide

MAGNIFICATIONS = (10.0, 5.0, 2.5, 1.25, 0.625)
BACKENDS = ("onnxruntime", "pytorch")
NETWORK = {
    "model": "resnet10",
    "output_stride": 32,
    "classes": ["a", "b", "c"],
    "mean": [200.0, 160.0, 190.0],
    "std": [40.0, 50.0, 40.0],
}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VIPS_CONCURRENCY")
HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Job:
    """A line of the table."""

    slide: str
    magnification: float
    backend: str
    cores: int
    fast: bool


def main() -> None:
    """Parse the command line, measure, print, draw."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        slides = options.slides or _slides(Path(folder), tuple(options.piece_px))
        runs = measure(list(_jobs(slides, options.cores)), options.rounds, Path(folder))
    found = {
        "machine": machine(),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "lines": [{**asdict(job), **summary(results)} for job, results in runs.items()],
    }
    print_found(found, report, as_json=options.json)
    if options.figure is not None:
        options.figure.write_text(figure(found), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slides", nargs="*", type=Path, metavar="SLIDE")
    parser.add_argument(
        "--piece-px", nargs=2, type=int, default=[4500, 6000], help="sides of a synthetic slide's pieces"
    )
    parser.add_argument("--cores", nargs="+", type=int, default=[1, 2], help="cores a process may use [1 2]")
    parser.add_argument("--rounds", type=int, default=3, help="times that every line runs [3]")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the first slide's curve as SVG")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


def _slides(folder: Path, piece_px: tuple[int, int]) -> list[Path]:
    """A synthetic slide, and the real one where it is at hand."""
    synthetic = folder / "synthetic.tiff"
    size = SlideSize(pieces=(4, 4), piece_px=piece_px)
    make_slide(synthetic, class_name="inflamed", seed=0, size=size)
    real, sentence = find_slide(None, folder)
    return [synthetic] if "SYNTHETIC" in sentence else [synthetic, real]


def _jobs(slides: Sequence[Path], cores: Sequence[int]) -> Iterator[Job]:
    for path in slides:
        with open_path(path) as slide:
            has_pyramid = len(slide.levels) > 1
        for fast in (False, True) if has_pyramid else (False,):
            for count in cores if not fast else [max(cores)]:
                for backend in BACKENDS if not fast else BACKENDS[:1]:
                    for magnification in MAGNIFICATIONS:
                        yield Job(
                            slide=str(path),
                            magnification=magnification,
                            backend=backend,
                            cores=count,
                            fast=fast,
                        )


def measure(jobs: Sequence[Job], rounds: int, folder: Path) -> dict[Job, list[dict[str, Any]]]:
    """Run all jobs, in turn; results by job in the order of the rounds."""
    graph = folder / "model.onnx"
    graph.write_bytes(_graph())
    runs: dict[Job, list[dict[str, Any]]] = {job: [] for job in jobs}
    for number in range(rounds):
        for job, results in runs.items():
            print(f"round {number + 1} of {rounds}: {job}", file=sys.stderr)
            results.append(_run(job, graph))
    return runs


def _graph() -> bytes:
    from kdtrain.bundle.onnx import onnx_bytes
    from kdtrain.model.network import Network

    network = Network.of({**NETWORK, "magnification": MAGNIFICATIONS[0]})
    return onnx_bytes(network.build(seed=0).eval(), network)


def _run(job: Job, graph: Path) -> dict[str, Any]:
    told = {
        **asdict(job),
        "onnx": str(graph),
        "network": {**NETWORK, "magnification": job.magnification},
    }
    cores = sorted(os.sched_getaffinity(0))[: job.cores]
    done = subprocess.run(
        [sys.executable, str(HERE / "_slide_cost.py"), json.dumps(told)],
        env={**os.environ, **dict.fromkeys(THREADS, str(job.cores))},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def summary(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds; the highest memory; what is the same in each."""
    from kdtrain.model.flops import gflops_of_sizes
    from kdtrain.model.resnet import ModelSpec

    first = results[0]
    spec = ModelSpec(name=NETWORK["model"], n_classes=3, output_stride=32)
    return {
        "stages": {name: statistics.median(r["stages"][name] for r in results) for name in STAGES},
        **{name: statistics.median(r[name] for r in results) for name in ("wall_s", "cpu_s", "read_mb")},
        **{name: max(r[name] for r in results) for name in ("peak_mb", "before_mb")},
        **{name: first.get(name) for name in ("facts", "level", "price")},
        "gflops": sum(gflops_of_sizes(spec, [(height, width) for height, width in first["sizes"]])),
        "megapixels": sum(height * width for height, width in first["sizes"]) / 1e6,
    }


def report(found: Mapping[str, Any]) -> str:
    """A table per slide, runtime and number of cores, and one of what reading a pyramid level changes."""
    parts = [f"{machine_line(found['machine'])} {found['date']}."]
    lines = found["lines"]
    for slide in dict.fromkeys(line["slide"] for line in lines):
        of_slide = [line for line in lines if line["slide"] == slide]
        parts.append(_about(Path(slide).name, of_slide[0]["facts"]))
        for cores, backend in dict.fromkeys((line["cores"], line["backend"]) for line in of_slide):
            chosen = [line for line in of_slide if (line["cores"], line["backend"]) == (cores, backend)]
            slow = [line for line in chosen if not line["fast"]]
            parts += [
                f"{backend} on {_cores(cores)}:",
                _table(slow, teacher=slow[0]),
            ]
            if fast := [line for line in chosen if line["fast"]]:
                parts += [
                    "The same from a pyramid level (--fast); beside it, what that changes, in grey levels of the "
                    "image:",
                    _table(fast, teacher=slow[0]),
                ]
    return "\n\n".join(parts)


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def _about(name: str, facts: Mapping[str, Any]) -> str:
    return (
        f"**{name}**: {facts['width']} x {facts['height']} px, "
        f"{facts['width'] * facts['height'] / 1e6:.0f} megapixels, {facts['levels']} levels, read by "
        f"{facts['reader']}; {facts['regions']} regions of {facts['region_megapixels']:.0f} megapixels together."
    )


def _table(lines: Sequence[Mapping[str, Any]], *, teacher: Mapping[str, Any]) -> str:
    fast = bool(lines[0]["fast"])
    header = [
        "network",
        *(f"{name}, s" for name in STAGES),
        "total, s",
        "CPU s",
        "GFLOPs",
        "peak MB",
        "MB read",
    ]
    header += ["teacher / it: total", "CPU", "memory"]
    header += ["level", "mean change", "bias"] if fast else []
    rows = []
    for line in lines:
        name = f"{line['magnification']:g}x" + (" (teacher)" if line["magnification"] == 10 else "")
        row = [name, *(f"{line['stages'][stage]:.2f}" for stage in STAGES)]
        row += [f"{line['wall_s']:.2f}", f"{line['cpu_s']:.2f}", f"{line['gflops']:.2f}"]
        row += [f"{line['peak_mb']:.0f}", f"{line['read_mb']:.0f}"]
        row += [f"{teacher[name] / line[name]:.1f}" for name in ("wall_s", "cpu_s", "peak_mb")]
        row += (
            [str(line["level"]), f"{line['price']['mean']:.2f}", f"{line['price']['bias']:+.2f}"]
            if fast
            else []
        )
        rows.append(row)
    return markdown_table(header, rows)


def figure(found: Mapping[str, Any]) -> str:
    """Seconds of the first slide against magnification, by ONNX Runtime on as many cores as were measured: SVG."""
    from kdtrain.report.figures.draw import chart_svg
    from kdtrain.report.model import Chart, Point, Series

    slide, most = found["lines"][0]["slide"], max(line["cores"] for line in found["lines"])
    drawn = [
        line
        for line in found["lines"]
        if (line["slide"], line["cores"], line["backend"]) == (slide, most, BACKENDS[0])
    ]

    def series(label: str, *stages: str, fast: bool) -> Series:
        points = [
            Point(
                x=line["magnification"],
                y=sum(line["stages"][stage] for stage in stages or STAGES),
                label=f"{line['magnification']:g}x",
            )
            for line in reversed(drawn)
            if line["fast"] == fast
        ]
        return Series(label=label, points=tuple(points))

    chart = Chart(
        name="slide-cost",
        title="What one slide costs, by magnification",
        caption="",
        kind="lines",
        x_title="Magnification of the network's images; 10x is the teacher's",
        y_title=f"Seconds per slide on {_cores(most)}",
        x_log=True,
        series=(
            series("from level 0", fast=False),
            series("of that, inference", "infer", fast=False),
            *(
                [series("from a pyramid level (--fast)", fast=True)]
                if any(line["fast"] for line in drawn)
                else []
            ),
        ),
    )
    return chart_svg(chart) + "\n"


if __name__ == "__main__":
    main()
