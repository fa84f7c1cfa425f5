"""What a build of many slides costs the process that plans it: no slide is opened, no pixel is read.

The steps are the build's own: finding files, labels and splits; taking in scans; planning; handing out shard tasks and
taking in their records; index.json, tables and preview.html. Scans and records are made up and come pickled, as from
worker processes. Every number of slides is planned in a process of its own. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle  # noqa: TID251 - as Ray does between its processes, of our own objects
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

SLIDES = (1_000, 10_000, 100_000)
REGIONS = 4
PATIENT_SLIDES = 3
THUMBNAIL_BYTES = 40_000
CORES = 64
"""Of the cluster that is pretended."""

STEPS = ("prepare", "scans", "plan", "shards", "describe")


def slide_names(count: int) -> list[str]:
    """``slide-000000.svs`` and so on."""
    return [f"slide-{number:06}.svs" for number in range(count)]


def write_inputs(folder: Path, count: int) -> None:
    """Empty files of different sizes, which take no space, and labels.csv: two thirds of the patients are labelled."""
    (folder / "slides").mkdir()
    rows = ["slide,label,patient"]
    for number, name in enumerate(slide_names(count)):
        with (folder / "slides" / name).open("wb") as file:
            file.truncate(10**9 + number)
        patient = number // PATIENT_SLIDES
        rows.append(f"{name},{('adenoma', 'normal', '')[patient % 3]},p{patient:06}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


def unlabelled_patients(count: int) -> int:
    """How many of so many slides' patients have no label."""
    return sum(patient % 3 == 2 for patient in range(-(-count // PATIENT_SLIDES)))


class Pretended:
    """Runs nothing: answers every task with a made-up result, and counts what is in flight."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self.most_in_flight = 0
        self.ended = 0.0

    def map(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        *,
        on_wait: Callable[[], None],
        **care: Any,
    ) -> Iterator[tuple[Any, Any]]:
        """See :class:`slideprep.workers.executor.Executor`."""
        from slideprep.workers.machines import in_flight

        flying: deque[Any] = deque()
        source = iter(items)
        while True:
            while len(flying) < in_flight(CORES, None) and (item := next(source, None)) is not None:
                care["memory"](item)
                flying.append(pickle.loads(pickle.dumps(item)))
            self.most_in_flight = max(self.most_in_flight, len(flying))
            if not flying:
                break
            on_wait()
            item = flying.popleft()
            yield item, pickle.loads(pickle.dumps(self._answer(item)))
        self.ended = time.monotonic()

    def _answer(self, item: Any) -> Any:
        from slideprep.building.scans import sent
        from slideprep.building.tasks.job import ShardJob

        return made_up_record(item) if isinstance(item, ShardJob) else sent(made_up_scan(item))


def made_up_scan(job: Any) -> Any:
    """Of a slide of 100 000 x 80 000 px at 40x with four regions of 20 000 x 16 000 px."""
    from slideprep.regions.layout import Grid
    from slideprep.regions.scan import FoundRegion, Scan
    from slideprep.units import Box, Scale

    scale = Scale(mode="objective", objective=40, objective_source="slide", mpp=0.25, mpp_source="slide")
    width, height = 100_000, 80_000
    grid = Grid(scale, job.settings.magnifications)
    boxes = [Box(x=24_000 * n + 1000, y=10_000, width=20_000, height=16_000) for n in range(REGIONS)]
    digest = sha256(job.shown_name.encode())
    return Scan(
        name=job.shown_name,
        fingerprint=digest.hexdigest(),
        reader="tiff-jpeg",
        vendor="aperio",
        width=width,
        height=height,
        background=(243, 243, 243),
        scale=scale,
        regions=tuple(
            FoundRegion(
                index=index,
                tissue=box,
                layout=grid.lay_out(box, slide_width=width, slide_height=height),
                left_out=None,
            )
            for index, box in enumerate(boxes)
        ),
        warnings=(),
        thumbnail=digest.digest() * (THUMBNAIL_BYTES // 32),
    )


def made_up_record(job: Any) -> Any:
    """Of a shard that was written without a failure."""
    from slideprep.shards.format import ShardFile, magnification_name, shard_path
    from slideprep.shards.records import ShardRecord, Sums

    names = {magnification_name(m): m for m in job.magnifications}
    return ShardRecord(
        digest=job.digest,
        split=job.shard.split,
        number=job.shard.number,
        keys=tuple(sample.key for sample in job.shard.samples),
        cells=tuple((sample.layout.columns, sample.layout.rows) for sample in job.shard.samples),
        files={
            name: ShardFile(
                path=shard_path(m, job.shard.split, job.shard.number), bytes=10**8, sha256=job.digest
            )
            for name, m in names.items()
        },
        failures=(),
        sums={name: Sums(pixels=10, sums=(100, 100, 100), squares=(2000, 2000, 2000)) for name in names}
        if job.with_sums
        else None,
    )


def measure(count: int, folder: Path) -> dict[str, float]:
    """Seconds of each step, the peak of this process's memory, and what was made."""
    write_inputs(folder, count)
    from rich.console import Console

    from slideprep.building.build import finished_build, plan_set
    from slideprep.building.config import load_config
    from slideprep.building.identity import identity
    from slideprep.building.outputs import write_outputs
    from slideprep.building.prepare import prepare
    from slideprep.building.tasks.write import write_shards
    from slideprep.building.workspace import Workspace

    out = folder / "out"
    options = {
        "slides": (str(folder / "slides"),),
        "labels": folder / "labels.csv",
        "out": out,
        "aux": (unlabelled_patients(count),),
    }
    config = load_config(options, None)
    console = Console(file=(folder / "console").open("w"))
    at_start = memory_mb("VmRSS")
    clock = [time.monotonic()]
    prepared = prepare(config)
    clock.append(time.monotonic())
    workspace = Workspace(out)
    with workspace.locked():
        workspace.begin(identity(config, prepared))
        pool = Pretended(out)
        planned = plan_set(config, prepared, pool, console, workspace)
        clock += [pool.ended, time.monotonic()]
        records = write_shards(config, planned, pool, console, workspace)
        clock.append(time.monotonic())
        finished = finished_build(config, planned, records)
        kept = SimpleNamespace(thumbnail=bytes(range(256)) * (THUMBNAIL_BYTES // 256))
        with patch.object(Workspace, "kept_scan", lambda *_: kept):
            write_outputs(finished, out)
        clock.append(time.monotonic())
    seconds = dict(zip(STEPS, (after - before for before, after in pairwise(clock)), strict=True))
    return {
        **seconds,
        "at_start_mb": at_start,
        "peak_mb": memory_mb("VmHWM"),
        "shard_count": len(records),
        "in_flight": pool.most_in_flight,
        "index_mb": (out / "index.json").stat().st_size / 1e6,
        "preview_mb": (out / "preview.html").stat().st_size / 1e6,
    }


def memory_mb(field: str) -> float:
    """This process's memory, MiB: VmRSS now, VmHWM the peak."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) / 1024


def table(found: dict[int, dict[str, float]]) -> str:
    """The measurements as Markdown."""
    head = ["slides", "shards", *(f"{step}, s" for step in STEPS), "ms a slide", "memory, MiB", "KiB a slide"]
    head += ["in flight", "index.json, MB", "preview.html, MB"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---:|" * len(head)]
    for count, row in found.items():
        seconds = [row[step] for step in STEPS]
        grown = row["peak_mb"] - row["at_start_mb"]
        cells = [f"{count:,}", f"{row['shard_count']:,.0f}", *(f"{value:.1f}" for value in seconds)]
        cells += [
            f"{1000 * sum(seconds) / count:.2f}",
            f"{row['peak_mb']:,.0f}",
            f"{1024 * grown / count:.1f}",
        ]
        cells += [f"{row['in_flight']:.0f}", f"{row['index_mb']:.1f}", f"{row['preview_mb']:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure every number of slides in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slides", type=int, nargs="+", default=SLIDES, help="how many to plan")
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    parser.add_argument(
        "--folder", type=Path, help="where to put files meanwhile; default: the temporary folder"
    )
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(measure(given.alone, given.folder)))
        return
    found = {}
    for count in given.slides:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            run = subprocess.run(
                [sys.executable, __file__, "--alone", str(count), "--folder", folder],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
        found[count] = json.loads(run.stdout)
    print(table(found))


if __name__ == "__main__":
    main()
