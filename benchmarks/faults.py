"""Kill a command while it writes, or fill its disk, run it again, and compare with a run that nobody disturbed.

    python benchmarks/faults.py --fault kill --times 20
    sudo python benchmarks/faults.py --fault full        # mounts small disks in memory

Each command of ``COMMANDS`` is killed (SIGKILL, the whole tree) at random moments after the first ``.tar.partial`` file
is there; or runs on a disk that holds only a part of what it needs, and again after the disk has grown. The second run
must end with 0, every file must have the undisturbed run's SHA-256, and ``slideprep verify`` must find nothing. A full
disk must be said in words. Exit code 1 otherwise.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
from kill_build import alive, descendants, kill, verifies, write_slide

MARGIN_KB = 4096
"""By how much a disk that was full grows beyond what is needed."""

ATTEMPTS = 5
"""Times that a fault which came too late is tried earlier."""

SECONDS_LEFT = 30
"""How long workers may outlive their driver before the second run starts."""

UNSTABLE = (".slideprep/lock", ".slideprep/partial/")
"""What says who works, and on what: no part of the set."""

SETTINGS = ("--tissue", "whole", "--magnifications", "10,5,2.5", "--shard-mb", "1")


@dataclass(frozen=True, kw_only=True)
class Command:
    """One that writes into ``out`` of a folder, and what that folder must hold before.

    Attributes:
        name: As shown.
        arguments: Of the folder with the inputs and of ``out``.
        grows: Whether ``out`` is a finished set beforehand.
        workers: ``--workers``, or None where the command has none.
        done: What a second run says, and ends with 2, where the kill came after the last write.
    """

    name: str
    arguments: Callable[[Path, Path], list[str | Path]]
    grows: bool
    workers: int | None = 0
    done: str | None = None

    def start(self, inputs: Path, out: Path, log: Path) -> subprocess.Popen[bytes]:
        """Start it in a session of its own."""
        return start([*self.arguments(inputs, out), *_workers(self.workers)], log)

    def __str__(self) -> str:
        return self.name if self.workers is None else f"{self.name} --workers {self.workers}"


def _workers(number: int | None) -> list[str]:
    return [] if number is None else ["--workers", str(number)]


def _build(inputs: Path, out: Path) -> list[str | Path]:
    return ["build-shards", inputs / "old", "--labels", inputs / "old.csv", "--out", out, *SETTINGS]


def _add(inputs: Path, out: Path) -> list[str | Path]:
    return ["add-slides", out, inputs / "new", "--labels", inputs / "new.csv"]


def _remove(_inputs: Path, out: Path) -> list[str | Path]:
    return ["remove-slides", out, "slide-01", "slide-02", "--patient", "p5"]


def _relabel(inputs: Path, out: Path) -> list[str | Path]:
    return ["relabel", out, "--labels", inputs / "other.csv"]


COMMANDS = {
    "build": Command(name="build-shards", arguments=_build, grows=False),
    "build-ray": Command(name="build-shards", arguments=_build, grows=False, workers=2),
    "add": Command(name="add-slides", arguments=_add, grows=True),
    "add-ray": Command(name="add-slides", arguments=_add, grows=True, workers=2),
    "remove": Command(
        name="remove-slides", arguments=_remove, grows=True, workers=None, done="holds no slide"
    ),
    "relabel": Command(name="relabel", arguments=_relabel, grows=True, workers=None),
}


def start(arguments: Sequence[str | Path], log: Path) -> subprocess.Popen[bytes]:
    """Start slideprep; what it says goes to the log."""
    program = [sys.executable, "-c", "from slideprep.cli.main import main; main()", *map(str, arguments)]
    with log.open("wb") as file:
        return subprocess.Popen(program, stdout=file, stderr=file, start_new_session=True)


def make_inputs(folder: Path, slides: int, side_px: int) -> None:
    """Slides of a set, half as many more to add, and other labels for some; different noise on each."""
    numbers = {"old": range(slides), "new": range(slides, slides + slides // 2)}
    for name, these in numbers.items():
        (folder / name).mkdir(parents=True)
        for number in these:
            write_slide(folder / name / f"slide-{number:02}.svs", side_px, number)
        _write_labels(folder / f"{name}.csv", these, "ab")
    _write_labels(folder / "other.csv", range(4), "ba")


def _write_labels(path: Path, numbers: range, classes: str) -> None:
    rows = [f"slide-{number:02}.svs,{classes[number % 2]},p{number}" for number in numbers]
    path.write_text("\n".join(["slide,label,patient", *rows]) + "\n")


def sums(out: Path) -> dict[str, str]:
    """SHA-256 of every file of a set."""
    names = {str(path.relative_to(out)): path for path in files(out)}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in sorted(names.items())
        if not name.startswith(UNSTABLE)
    }


def disk_kb(folder: Path) -> int:
    """What files take in pages of 4 KB, as on a disk in memory."""
    total = 0
    for path in files(folder):
        with suppress(OSError):  # renamed meanwhile
            total += -(-path.stat().st_size // 4096) * 4
    return total


def files(folder: Path) -> Iterator[Path]:
    """Files below a folder that others write to: what vanishes meanwhile is passed over, which rglob does not do."""
    return (Path(above) / name for above, _, names in os.walk(folder) for name in names)


def is_writing(out: Path) -> bool:
    """Whether a tar has been begun and not finished; ``build.json`` is written before workers start."""
    return any(path.name.endswith(".tar.partial") for path in files(out))


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """A run that nobody disturbed.

    Attributes:
        sums: Of its files.
        writing_seconds: From the first ``.tar.partial`` to its end.
        before_kb: What its disk held before.
        most_kb: What its disk held at most.
    """

    sums: dict[str, str]
    writing_seconds: float
    before_kb: int
    most_kb: int


def quiet_run(command: Command, inputs: Path, base: Path, folder: Path) -> Quiet:
    """Run a command once, and watch it."""
    out, log = prepare(command, base, folder), folder / "log"
    before_kb = most_kb = disk_kb(folder)
    process, first = command.start(inputs, out, log), None
    while process.poll() is None:
        most_kb = max(most_kb, disk_kb(folder))
        if first is None and is_writing(out):
            first = time.monotonic()
        time.sleep(0.01)  # looking costs, too
    if process.returncode != 0 or first is None:
        raise click.ClickException(f"the undisturbed {command} failed:\n{log.read_text(errors='replace')}")
    return Quiet(
        sums=sums(out),
        writing_seconds=time.monotonic() - first,
        before_kb=before_kb,
        most_kb=max(most_kb, disk_kb(folder)),
    )


def prepare(command: Command, base: Path, folder: Path) -> Path:
    """Make a folder with what a command needs to be there; returns its ``out``."""
    folder.mkdir(exist_ok=True)
    if command.grows:
        shutil.copytree(base, folder / "out")
    return folder / "out"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A fault, and what came of it."""

    command: Command
    fault: str
    said: str
    hit: bool
    second: str
    identical: bool
    verified: bool

    @property
    def good(self) -> bool:
        """Whether nothing was lost, and nothing said as a trace."""
        return (
            self.second in ("0", "done already")
            and self.identical
            and self.verified
            and "Traceback" not in self.said
        )

    def row(self) -> str:
        """A line of the table."""
        words = ["no", "yes"]
        cells = (
            self.command,
            self.fault,
            self.said,
            self.second,
            words[self.identical],
            words[self.verified],
        )
        return "| " + " | ".join(map(str, cells)) + " |"


HEADER = "| command | fault | first run | second run | identical | verified |\n" + "|---" * 6 + "|"


def second_run(command: Command, inputs: Path, out: Path, wanted: dict[str, str], **trial: object) -> Trial:
    """Run the same command again and compare."""
    log = out.parent / "log"
    second = str(command.start(inputs, out, log).wait())
    if second == "2" and command.done and command.done in log.read_text(errors="replace"):
        second = "done already"
    identical, verified = sums(out) == wanted, verifies(out)
    if second not in ("0", "done already") or not identical:
        differing = {name for name, _ in set(wanted.items()) ^ set(sums(out).items())}
        click.echo(f"{log.read_text(errors='replace')}\ndiffering: {sorted(differing)}", err=True)
    return Trial(command=command, second=second, identical=identical, verified=verified, **trial)  # type: ignore[arg-type]


def killed(command: Command, inputs: Path, base: Path, folder: Path, quiet: Quiet, place: float) -> Trial:
    """Kill once, at a place (0 to 1) of the time that it writes for, and run it again."""
    out, log = prepare(command, base, folder), folder / "log"
    process = command.start(inputs, out, log)
    while process.poll() is None and not is_writing(out):
        time.sleep(0.001)
    delay = place * quiet.writing_seconds
    with suppress(subprocess.TimeoutExpired):
        process.wait(delay)
    hit = process.poll() is None
    below = descendants(process.pid)
    kill(process, driver_only=False)
    wait_for_end(below)
    finished = len(list(out.glob("*x/*.tar")))
    said = f"killed, {finished} tars there" if hit else f"ended before, with {process.returncode}"
    fault = f"kill, first .tar.partial + {delay:.2f} s"
    return second_run(command, inputs, out, quiet.sums, fault=fault, said=said, hit=hit)


def wait_for_end(pids: Sequence[int]) -> None:
    """Wait until killed processes are gone."""
    deadline = time.monotonic() + SECONDS_LEFT
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)


@contextmanager
def small_disk(folder: Path, size_kb: int) -> Iterator[Callable[[int], None]]:
    """A disk in memory of so many KB at a folder; yields what changes its size."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", folder], check=True)
    try:
        yield lambda kb: subprocess.run(["mount", "-o", f"remount,size={kb}k", folder], check=True) and None
    finally:
        subprocess.run(["umount", folder], check=True)


def filled(command: Command, inputs: Path, base: Path, folder: Path, quiet: Quiet, place: float) -> Trial:
    """Run once on a disk with a part (0 to 1) of the space that it needs, and again on a larger one."""
    size_kb = quiet.before_kb + round(place * (quiet.most_kb - quiet.before_kb))
    log = folder.with_suffix(".log")
    with small_disk(folder, max(size_kb, 4)) as resize:
        try:
            out = prepare(command, base, folder)
        except shutil.Error as error:
            raise click.ClickException(f"the set itself does not fit: {error}") from None
        process = command.start(inputs, out, log)
        hit = process.wait() != 0
        said = log.read_text(errors="replace").strip().splitlines()
        words = f"{process.returncode}: {said[-1] if said else ''}"
        if any(line.startswith("Traceback") for line in said):
            words += " Traceback"
        resize(quiet.most_kb + MARGIN_KB)
        fault = f"disk of {size_kb} KB, {place:.0%} of what it writes"
        return second_run(command, inputs, out, quiet.sums, fault=fault, said=words, hit=hit)


def in_time(trial: Callable[[float], Trial], place: float, folder: Path) -> Trial:
    """Try earlier and earlier until the fault meets the command at work: runs differ in how long they take."""
    for _ in range(ATTEMPTS):
        made = trial(place)
        shutil.rmtree(folder)
        if made.hit:
            break
        place *= 0.7
    return made


FAULTS = {"kill": killed, "full": filled}


@click.command()
@click.option(
    "--fault", type=click.Choice(list(FAULTS)), default="kill", show_default=True, help="What happens."
)
@click.option(
    "--only", type=click.Choice(list(COMMANDS)), multiple=True, help="These commands.  [default: all]"
)
@click.option("--times", default=20, show_default=True, help="Faults of each command.")
@click.option("--slides", default=12, show_default=True, help="Slides of the set.")
@click.option("--side-px", default=1024, show_default=True, help="Their width and height, a multiple of 256.")
@click.option("--seed", default=0, show_default=True, help="Seed of the moments.")
def main(fault: str, only: tuple[str, ...], times: int, slides: int, side_px: int, seed: int) -> None:
    """Print the table of faults."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # disks are unmounted
    draw = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        make_inputs(folder / "inputs", slides, side_px)
        base = folder / "base"
        quiet_run(COMMANDS["build"], folder / "inputs", folder, base)
        click.echo(f"{slides} slides of {side_px} x {side_px} px\n\n{HEADER}")
        trials: list[Trial] = []
        for name in only or COMMANDS:
            command = COMMANDS[name]
            quiet = quiet_run(command, folder / "inputs", base / "out", folder / f"quiet-{name}")
            for number in range(times):
                place = (number + draw.random()) / times
                trial = partial(
                    FAULTS[fault], command, folder / "inputs", base / "out", folder / "trial", quiet
                )
                made = in_time(trial, place, folder / "trial")
                click.echo(made.row())
                trials.append(made)
        good, hits = sum(made.good for made in trials), sum(made.hit for made in trials)
        click.echo(
            f"\n{good} of {len(trials)} second runs gave the same bytes; {hits} first runs were broken off"
        )
        sys.exit(0 if good == len(trials) else 1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
