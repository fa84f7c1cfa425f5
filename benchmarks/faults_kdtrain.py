"""Kill kdtrain's commands while they write, fill the disk under them, finish both, and compare with undisturbed ones.

    python benchmarks/faults_kdtrain.py --times 20 [--command sweep] [--no-full-disk]

``cache-teacher``, ``sweep``, ``export`` and ``predict`` on sets of a few images. A process is killed with SIGKILL at a
moment of its own between its first temporary file and its end: every other one as soon as a temporary file is seen
after that moment, and a sweep by turns alone or with its runs. Then the disk is full (root only): a tmpfs of a part of
what the command needs, which must end it with a sentence and no trace, and is made larger for the second run.

Files are compared by SHA-256, all but those that record time: ``sessions.json`` of a run, ``wait_share`` in the lines
of ``log.jsonl``, and what a sweep's runs printed (``logs/*.log``). No file more or less may be there. A command runs in
a fork of this process, which has imported everything: what is tried is not the start. Exit code 1 where anything
differs.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "COLUMNS": "160"}

import click
import yaml
from kill_build import descendants

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from fixtures.bundles import Made, make_bundle
from fixtures.teacher_caches import VIEWS

CLOCKS = frozenset({"wait_share"})
FULL = (0.2, 0.5, 0.8, 0.97)
"""Parts of what a command writes that the small disk holds."""
POLL_SECONDS = 0.003
ATTEMPTS = 6
"""At killing a command before it ends."""
SMALLEST_DISK_BYTES = 8 * 1024
RECIPE = {
    "title": "Faults",
    "magnifications": [2.5],
    "settings": {
        "epochs": 2,
        "accumulate": 2,
        "workers": 0,
        "logger": "none",
        "validate_on": "none",
        "checkpoint_every": 1,
    },
    "teacher": {"seed": 0},
    "methods": {"KD": {"phase": "distill"}},
    "evaluate": {"splits": ["test"], "iterations": 50},
}


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is disturbed.

    Attributes:
        arguments: Of kdtrain.
        out: Its --out.
        is_temporary: Whether a path is one that it writes under before it has its name.
    """

    arguments: tuple[str, ...]
    out: Path
    is_temporary: Callable[[Path], bool]

    def files(self) -> int:
        """How many files there are, temporary ones too."""
        with suppress(OSError):
            return sum(path.is_file() for path in self.out.parent.rglob("*"))
        return 0

    def has_files(self, number: float) -> bool:
        """Whether there are so many."""
        return self.files() >= number

    def temporary(self) -> bool:
        """Whether it is writing a file."""
        with suppress(OSError):  # a folder that vanishes while it is looked through
            return any(map(self.is_temporary, self.out.parent.rglob("*")))
        return True


def is_partial(path: Path) -> bool:
    """A file under its temporary name, or a checkpoint."""
    return path.name.endswith(".partial")


def is_export(path: Path) -> bool:
    """The folder that a bundle is written in."""
    return path.name.endswith(".kdtrain-export")


def commands(made: Made, place: Path) -> dict[str, Command]:
    """The four commands, each writing to one and the same path every time, since records hold it."""
    out = place / "out"
    recipe = place.parent / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    teacher = place.parent / "teacher"
    cache = ("cache-teacher", "--shards", made.shards, "--teacher", teacher, "--magnification", 2.5)
    cache += ("--train-on", "train", "--validate-on", "none", "--views", VIEWS, "--workers", 0)
    predict = ("predict", made.bundle, *made.slides[:3], "--workers", 0, "--explain", "--occlusion-passes", 1)
    given: dict[str, tuple[tuple[object, ...], Callable[[Path], bool]]] = {
        "cache-teacher": (cache, is_partial),
        "sweep": (("sweep", recipe, "--shards", made.shards), is_partial),
        "export": (("export", made.run, "--shards", made.shards), is_export),
        "predict": (predict, is_partial),
    }
    return {
        name: Command(arguments=(*map(str, arguments), "--out", str(out)), out=out, is_temporary=temporary)
        for name, (arguments, temporary) in given.items()
    }


# Processes


def start(arguments: Sequence[str], log: Path) -> int:
    """Run kdtrain in a fork of this process; returns its number."""
    from kdtrain.cli.main import main

    def work() -> None:
        os.setsid()
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        main(list(arguments), standalone_mode=True)

    return forked(work)


def forked(work: Callable[[], None]) -> int:
    """Do something in a fork of this process; returns its number."""
    if process := os.fork():
        return process
    code = 1
    try:
        work()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - nothing of it may reach what the parent has on its stack
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(process: int) -> bool:
    """Whether it is over; it is still to be waited for."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def code_of(process: int) -> int:
    """Exit code; negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def kill(process: int, *, alone: bool) -> int:
    """SIGKILL the process, or all that it has started too; returns its exit code."""
    below = [] if alone else descendants(process)
    for number in (process, *below):
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return code_of(process)


# What is left


def digests(out: Path) -> dict[str, str]:
    """SHA-256 of every file by path, without what only clocks decide."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(_timeless(path)).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def _timeless(path: Path) -> bytes:
    if path.name == "sessions.json" or (path.parent.name == "logs" and path.suffix == ".log"):
        return b""
    if path.name != "log.jsonl":
        return path.read_bytes()
    lines = map(json.loads, path.read_text().splitlines())
    return json.dumps([{k: v for k, v in line.items() if k not in CLOCKS} for line in lines]).encode()


def difference(found: dict[str, str], wanted: dict[str, str], beside: list[str]) -> str:
    """What is not as it should be; "" where all is."""
    more = sorted(found.keys() - wanted.keys()) + beside
    missing = sorted(wanted.keys() - found.keys())
    other = sorted(name for name in found.keys() & wanted.keys() if found[name] != wanted[name])
    parts = {"more": more, "missing": missing, "other": other}
    return "; ".join(f"{what}: {', '.join(names[:4])}" for what, names in parts.items() if names)


def beside(out: Path) -> list[str]:
    """What lies beside the folder that was asked for."""
    return [f"../{path.name}" for path in out.parent.iterdir() if path != out]


# Trials


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A command that nobody disturbed.

    Attributes:
        files: What it leaves.
        bytes: How much that is.
        most: Files that were there at a time.
        seconds: From its first temporary file to its end.
    """

    files: dict[str, str]
    bytes: int
    most: int
    seconds: float


def clear(place: Path) -> None:
    """Nothing is left of the trial before."""
    for path in place.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def wait_until(process: int, there: Callable[[], bool], every: float = POLL_SECONDS) -> None:
    """Return when something is so, or the process is over."""
    while not ended(process) and not there():
        time.sleep(every)


def undisturbed(command: Command, log: Path) -> Whole:
    """Run a command to its end."""
    clear(command.out.parent)
    process = start(command.arguments, log)
    wait_until(process, command.temporary)
    began, most = time.monotonic(), 1
    while not ended(process):
        most = max(most, command.files())
        time.sleep(POLL_SECONDS)
    if code_of(process):
        raise click.ClickException(f"undisturbed, it failed:\n{log.read_text(errors='replace')}")
    taken = time.monotonic() - began
    size = sum(path.stat().st_size for path in command.out.rglob("*") if path.is_file())
    return Whole(files=digests(command.out), bytes=size, most=most, seconds=taken)


def finished(command: Command, whole: Whole, log: Path) -> str:
    """Run a disturbed command to its end; what is not as it should be."""
    if code := code_of(start(command.arguments, log)):
        return f"exit code {code}: {log.read_text(errors='replace')[-300:]}"
    return difference(digests(command.out), whole.files, beside(command.out))


def killed(
    command: Command, whole: Whole, part: float, number: int, draw: random.Random, log: Path
) -> tuple[list[str], bool]:
    """Kill a command at a part of its work and finish it; a row of the table, and whether all is well."""
    signalled = writing = False
    for attempt in range(ATTEMPTS):
        clear(command.out.parent)
        process = start(command.arguments, log)
        # Work is counted in files, which a busy machine does not shift; where it was over first, a little earlier.
        wait_until(process, command.temporary)
        wait_until(process, partial(command.has_files, 0.8**attempt * part * whole.most))
        if number % 2:
            wait_until(process, command.temporary, POLL_SECONDS / 10)
        else:
            time.sleep(draw.uniform(0, whole.seconds / whole.most / 2))
        writing = command.temporary()
        signalled = kill(process, alone=number % 4 < 2) == -signal.SIGKILL
        if signalled:
            break
    left = command.files()
    wrong = finished(command, whole, log)
    row = [f"{part:.2f}", "yes" if writing else "no", str(left), "yes" if signalled else "ended before"]
    return [*row, wrong or "the same bytes"], signalled and not wrong


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Callable[[], None]]:
    """A tmpfs in a folder's place; what it gives makes it large."""

    def mount(*options: str) -> None:
        subprocess.run(["mount", *options, str(place)], check=True)

    mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs")
    try:
        yield lambda: mount("-o", "remount,size=1g")
    finally:
        subprocess.run(["umount", str(place)], check=True)


def filled(command: Command, whole: Whole, part: float, log: Path) -> tuple[list[str], bool]:
    """Run a command on a disk that is too small, and again when it is large enough."""
    clear(command.out.parent)
    size = max(SMALLEST_DISK_BYTES, int(part * whole.bytes))
    with small_disk(command.out.parent, size) as enlarge:
        code = code_of(start(command.arguments, log))
        said = log.read_text(errors="replace")
        wrong = ""
        if code not in (1, 3):
            wrong = f"exit code {code}"
        elif "Traceback" in said:
            wrong = f"a trace: {said[-300:]}"
        elif "No space left" not in said:
            wrong = f"it does not say why: {said[-300:]}"
        enlarge()
        wrong = wrong or finished(command, whole, log)
    last = next((line for line in reversed(said.splitlines()) if "No space" in line), "")
    row = [f"disk of {size:,} bytes, of {whole.bytes:,}", str(code), last.strip()[:110].replace("|", "/")]
    return [*row, wrong or "the same bytes"], not wrong


def prepared(folder: Path) -> Made:
    """A set, a teacher, a network, a bundle; and everything is imported that the commands need."""
    from fixtures.training_runs import trained

    made = make_bundle(folder / "made")
    trained("teacher", made.shards, folder / "teacher", "--validate-on", "none")
    return made


def echo_row(*cells: str) -> None:
    """A line at once: a table of an hour is not to be lost with its last row."""
    click.echo(f"| {' | '.join(cells)} |")


@click.command()
@click.option("--times", default=20, show_default=True, help="Kills of each command.")
@click.option("--command", "chosen", multiple=True, help="These commands alone.")
@click.option("--full-disk/--no-full-disk", default=os.geteuid() == 0, help="Whether to fill disks.")
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
def main(times: int, chosen: tuple[str, ...], full_disk: bool, seed: int) -> None:
    """Print the tables; exit code 1 where a second run does not end with the same bytes."""
    draw, good = random.Random(seed), []
    with tempfile.TemporaryDirectory(prefix="faults-kdtrain-") as name:
        folder = Path(name)
        place, log = folder / "place", folder / "log"
        place.mkdir()
        # In a process of its own: it leaves threads behind, which forks do not survive.
        if code_of(forked(lambda: _keep(prepared(folder), folder))):
            raise click.ClickException("the inputs could not be made")
        _import_all()
        for title, command in commands(_kept(folder), place).items():
            if chosen and title not in chosen:
                continue
            whole = undisturbed(command, log)
            assert undisturbed(command, log).files == whole.files, "two undisturbed runs differ"
            click.echo(f"\n{title}: {len(whole.files)} files, {whole.bytes:,} bytes, {whole.seconds:.2f} s\n")
            echo_row("kill", "at", "while writing", "files then", "killed", "second run")
            for number in range(times):
                part = (number + draw.random()) / times
                row, fine = killed(command, whole, part, number, draw, log)
                echo_row(str(number + 1), *row)
                good.append(fine)
            for part in FULL if full_disk else ():
                row, fine = filled(command, whole, part, log)
                echo_row(*row)
                good.append(fine)
    click.echo(f"\n{sum(good)} of {len(good)} disturbed commands were completed to the same bytes")
    sys.exit(0 if good and all(good) else 1)


def _keep(made: Made, folder: Path) -> None:
    content = {name: str(getattr(made, name)) for name in ("shards", "run", "bundle")}
    (folder / "made.json").write_text(json.dumps(content | {"slides": list(map(str, made.slides))}))


def _kept(folder: Path) -> Made:
    content = json.loads((folder / "made.json").read_text())
    paths = {name: Path(content[name]) for name in ("shards", "run", "bundle")}
    return Made(slides=tuple(map(Path, content["slides"])), **paths)


def _import_all() -> None:
    """What the commands import, so that a fork starts to work at once; no thread is begun here."""
    import kdtrain.bundle.export
    import kdtrain.cli.predicted
    import kdtrain.cli.summary
    import kdtrain.phases.cache_teacher
    import kdtrain.predict.run
    import kdtrain.sweep.command  # noqa: F401


if __name__ == "__main__":
    main()
