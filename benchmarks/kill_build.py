"""Kill a build at random moments, finish it with the same command, and compare with a build nobody disturbed.

    python benchmarks/kill_build.py --times 20

Kills with SIGKILL, in turn the whole process tree and the driver alone, whose orphaned workers must then do no harm.
After every kill whatever lies among the shards must be a whole tar; after the second run tars and index.json must
equal the undisturbed build's to the last byte and ``slideprep verify`` must find nothing. Exit code 1 otherwise.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import simplejpeg
import tifffile

MAGNIFICATIONS = "10,5,2.5,1.25,0.625"
TILE_PX = 256
APERIO = "Aperio Image Library v12.0.0 \r\n{0}x{0} ({1}x{1}) JPEG/RGB Q=90|AppMag = 20|MPP = 0.5"


def write_slide(path: Path, side_px: int, number: int) -> None:
    """A square SVS of noisy blobs, different for every number."""
    coarse = np.random.default_rng(number).integers(90, 230, (TILE_PX // 8, TILE_PX // 8, 3), dtype=np.uint8)
    tile = np.ascontiguousarray(coarse.repeat(8, axis=0).repeat(8, axis=1))
    data = simplejpeg.encode_jpeg(tile, quality=85, colorsubsampling="444")
    count = (side_px // TILE_PX) ** 2
    with tifffile.TiffWriter(path) as tif:
        tif.write(
            (data for _ in range(count)),
            shape=(side_px, side_px, 3),
            dtype=np.uint8,
            tile=(TILE_PX, TILE_PX),
            compression="jpeg",
            photometric="ycbcr",
            subsampling=(1, 1),
            description=APERIO.format(side_px, TILE_PX),
            metadata=None,
        )


def make_input(folder: Path, slides: int, side_px: int) -> list[str]:
    """Slides and labels; returns the arguments that name them."""
    (folder / "slides").mkdir()
    rows = ["slide,label,patient"]
    for number in range(slides):
        write_slide(folder / "slides" / f"slide-{number:02}.svs", side_px, number)
        rows.append(f"slide-{number:02}.svs,{'ab'[number % 2]},patient-{number:02}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return [str(folder / "slides"), "--labels", str(folder / "labels.csv")]


def start_build(inputs: list[str], out: Path, workers: int, log: Path) -> subprocess.Popen[bytes]:
    """Start ``slideprep build-shards`` in a session of its own."""
    command = [sys.executable, "-c", "from slideprep.cli.main import main; main()", "build-shards", *inputs]
    command += ["--out", str(out), "--tissue", "whole", "--magnifications", MAGNIFICATIONS]
    command += ["--workers", str(workers)]
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)


def descendants(pid: int) -> list[int]:
    """Process ids below a process."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, children.read_text().split()):
                found += [child, *descendants(child)]
    return found


def alive(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_worker(pid: int) -> bool:
    """Whether a process can run a task: not Ray's servers and agents, which never touch the set."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return title.startswith(b"ray::") and b"Agent" not in title


class Watch(threading.Thread):
    """Times how long worker processes live after a kill."""

    def __init__(self, pids: list[int]) -> None:
        super().__init__(daemon=True)
        self._pids = pids
        self.count = len(pids)
        self.seconds = 0.0
        self.start()

    def run(self) -> None:
        """Poll until all are gone."""
        started = time.monotonic()
        while any(map(alive, self._pids)):
            time.sleep(0.01)
            self.seconds = time.monotonic() - started


def kill(process: subprocess.Popen[bytes], *, driver_only: bool) -> Watch:
    """SIGKILL the build; returns the watch over what it leaves behind."""
    below = descendants(process.pid)
    workers = list(filter(is_worker, below))
    process.kill()
    for pid in () if driver_only else below:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    watch = Watch(workers)
    process.wait()
    return watch


def result_of(out: Path) -> dict[str, bytes]:
    """Every file among the shards, and the index."""
    return {str(p.relative_to(out)): p.read_bytes() for p in [*out.glob("*x/*"), *out.glob("index.json")]}


def broken_tars(out: Path) -> list[str]:
    """Files among the shards that are no whole tar."""
    return [str(path) for path in out.glob("*x/*") if not _is_whole_tar(path)]


def _is_whole_tar(path: Path) -> bool:
    try:
        with tarfile.open(path) as tar:
            tar.getmembers()
    except tarfile.TarError:
        return False
    return path.suffix == ".tar" and path.read_bytes().endswith(bytes(1024))


def steps_done(out: Path) -> int:
    """Slides scanned and shards finished."""
    return sum(1 for kind in ("scans", "shards") for _ in out.glob(f".slideprep/{kind}/*.json"))


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When to kill: so many seconds after the start, or after so many slides were scanned and shards finished."""

    steps: int
    seconds: float

    def wait(self, out: Path, process: subprocess.Popen[bytes]) -> None:
        """Return when it has come, or the build has ended."""
        while process.poll() is None and steps_done(out) < self.steps:
            time.sleep(0.005)
        with suppress(subprocess.TimeoutExpired):
            process.wait(self.seconds)

    def __str__(self) -> str:
        return f"step {self.steps} + {self.seconds:.2f} s"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds until the first slide was scanned, from there to the end, and the steps that took."""

    start: float
    work: float
    steps: int


def undisturbed(inputs: list[str], out: Path, workers: int) -> Timing:
    """Build once, and time it."""
    log = out.with_suffix(".log")
    started = time.monotonic()
    process = start_build(inputs, out, workers, log)
    Moment(steps=1, seconds=0).wait(out, process)
    start = time.monotonic() - started
    if process.wait() != 0:
        raise click.ClickException(f"the undisturbed build failed:\n{log.read_text(errors='replace')}")
    return Timing(start=start, work=time.monotonic() - started - start, steps=steps_done(out))


def moments(times: int, whole: Timing, draw: random.Random) -> list[Moment]:
    """A fifth of them before the first scan, the rest while slides are scanned and shards written.

    Each lies at random in a slice of its own, so no part of the build is passed over by chance. The later ones are
    counted in steps, which a busy machine does not shift.
    """
    early = times // 5
    before = [Moment(steps=0, seconds=(n + draw.random()) / early * whole.start) for n in range(early)]
    late = times - early
    places = [(n + draw.random()) / late * whole.steps + 1 for n in range(late)]
    pace = whole.work / whole.steps
    return before + [Moment(steps=int(place), seconds=place % 1 * pace) for place in places]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One kill and what came of it."""

    moment: Moment
    driver_only: bool
    scans: int
    finished: int
    begun: int
    orphans: int
    orphan_seconds: float
    broken: int
    code: int
    identical: bool
    verified: bool

    @property
    def good(self) -> bool:
        """Whether nothing was lost."""
        return self.code == 0 and self.identical and self.verified and not self.broken

    def row(self, number: int) -> str:
        """A line of the table."""
        who = "driver" if self.driver_only else "tree"
        orphans = f"{self.orphans} for {self.orphan_seconds:.1f} s"
        words = ["no", "yes"]
        cells = (
            number, self.moment, who, self.scans, self.finished, self.begun, orphans, self.broken,
            self.code, words[self.identical], words[self.verified],
        )  # fmt: skip
        return "| " + " | ".join(map(str, cells)) + " |"


HEADER = (
    "| kill | at | killed | slides scanned | shards finished | shards begun | workers left | broken tars | second run "
    "| identical | verified |\n" + "|---" * 11 + "|"
)


def trial(
    inputs: list[str],
    out: Path,
    wanted: dict[str, bytes],
    moment: Moment,
    driver_only: bool,
    workers: tuple[int, int],
) -> Trial:
    """Kill one build at a moment and finish it at once with the same command."""
    log = out.with_suffix(".log")
    process = start_build(inputs, out, workers[0], log)
    moment.wait(out, process)
    watch = kill(process, driver_only=driver_only)
    workspace = out / ".slideprep"
    scans = len(list(workspace.glob("scans/*.json")))
    finished, begun = len(list(workspace.glob("shards/*.json"))), len(list(workspace.glob("partial/*.now")))
    broken = len(broken_tars(out))
    code = start_build(inputs, out, workers[1], log).wait()
    if code != 0:
        click.echo(log.read_text(errors="replace"), err=True)
    watch.join(20)
    return Trial(
        moment=moment,
        driver_only=driver_only,
        scans=scans,
        finished=finished,
        begun=begun,
        orphans=watch.count,
        orphan_seconds=watch.seconds,
        broken=broken,
        code=code,
        identical=result_of(out) == wanted,
        verified=verifies(out),
    )


def verifies(out: Path) -> bool:
    """Whether ``slideprep verify`` finds nothing."""
    command = [sys.executable, "-c", "from slideprep.cli.main import main; main()", "verify", str(out)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@click.command()
@click.option("--times", default=20, show_default=True, help="Kills.")
@click.option("--slides", default=12, show_default=True, help="Slides of the set.")
@click.option("--side-px", default=6144, show_default=True, help="Their width and height, a multiple of 256.")
@click.option("--workers", default=2, show_default=True, help="Worker processes of the killed build.")
@click.option("--finish-with", default=2, show_default=True, help="Worker processes of the second run.")
@click.option("--seed", default=0, show_default=True, help="Seed of the moments.")
def main(times: int, slides: int, side_px: int, workers: int, finish_with: int, seed: int) -> None:
    """Print the table of kills."""
    draw = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="kill-build-"))
    try:
        inputs = make_input(folder, slides, side_px)
        whole = undisturbed(inputs, folder / "undisturbed", workers)
        wanted = result_of(folder / "undisturbed")
        click.echo(
            f"{slides} slides of {side_px} x {side_px} px, {workers} workers; undisturbed, the first slide is scanned "
            f"after {whole.start:.1f} s and the set finished {whole.work:.1f} s later\n\n{HEADER}"
        )
        trials = []
        for number, moment in enumerate(moments(times, whole, draw)):
            out = folder / f"set-{number}"
            made = trial(inputs, out, wanted, moment, number % 2 == 1, (workers, finish_with))
            click.echo(made.row(number + 1))
            trials.append(made)
            shutil.rmtree(folder / f"set-{number}")
        good = sum(made.good for made in trials)
        click.echo(f"\n{good} of {times} killed builds were completed to the same bytes")
        sys.exit(0 if good == times else 1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
