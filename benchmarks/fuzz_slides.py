"""Damaged copies of slides through every reader, by a scan and a shard each: what comes of them, counted.

    python benchmarks/fuzz_slides.py [--cases 2000] [--seed 0] [--generated] [--only NAME] [--show] [--json]

Every case is one slide with one damage (see :mod:`_fuzz_damage`), read in a child process with a time limit and a limit
of memory, and compared with what its intact copy gives:

right         the same images at every magnification, and the same scale
listed        a failure with a reason, as failures.csv would list it
wrong         other images, or another scale, without a word
hang, crash, exception     the time limit passed, the process died, or an error came out that no build expects

The last three must not occur: where one does, the exit code is 1 and the damaged files are kept. "wrong" cannot be
zero: a flipped bit often decodes to other pixels without any warning, and tiles that stand in each other's place are
whole; only a checksum would tell, and few formats have one. The same seed makes the same cases.
"""

from __future__ import annotations

import json
import select
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from _common import markdown_table
from _fuzz_damage import DAMAGES, MISPLACED, Layout, layout_of
from _fuzz_sources import GENERATED, real_slides
from rich.console import Console

OUTCOMES = ("right", "listed", "wrong", "hang", "crash", "exception")
BAD = ("hang", "crash", "exception")
FLIP = "bit flip in pixels"
TIME_LIMIT_S = 60.0
CHILD = Path(__file__).with_name("_fuzz_child.py")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One damaged slide and what came of it.

    Attributes:
        number: From 0; with the seed it makes the case again.
        source: The intact slide's name.
        reader: Which reader the intact slide has.
        damage: The kind.
        outcome: One of ``OUTCOMES``.
        reason: The message, where there is one.
    """

    number: int
    source: str
    reader: str
    damage: str
    outcome: str
    reason: str


class Child:
    """A process that reads slides one after the other, started anew after it died or was stopped."""

    def __init__(self, errors: Path) -> None:
        """Its standard error goes to the file ``errors``."""
        self._errors = errors
        self._process: subprocess.Popen[str] | None = None

    def read(self, path: Path, time_limit_s: float) -> dict[str, Any]:
        """What came of a slide: the child's answer, or ``{"outcome": "hang" or "crash"}``."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, str(CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors.open("a"),
                text=True,
            )
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], time_limit_s)[0]:
            self.stop()
            return {"outcome": "hang", "reason": f"no answer in {time_limit_s:g} s"}
        answer = process.stdout.readline()
        if answer:
            return dict(json.loads(answer))
        code = process.wait()
        self._process = None
        return {"outcome": "crash", "reason": f"exit code {code}"}

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@dataclass(frozen=True, kw_only=True)
class Intact:
    """A slide before it is damaged: where it is, what it holds, what it gives."""

    file: Path
    data: bytes
    layout: Layout
    answer: Mapping[str, Any]


def prepare(sources: Mapping[str, Callable[[Path], Path]], folder: Path, child: Child) -> dict[str, Intact]:
    """Write every slide and read it once.

    Raises:
        ClickException: An intact slide cannot be read.
    """
    slides: dict[str, Intact] = {}
    for number, (name, make) in enumerate(sources.items()):
        place = folder / f"slide{number}"
        place.mkdir()
        file = make(place)
        answer = child.read(_given(file), TIME_LIMIT_S)
        if answer["outcome"] != "read":
            raise click.ClickException(f"the intact slide '{name}' is not read: {answer['reason']}")
        slides[name] = Intact(file=file, data=file.read_bytes(), layout=layout_of(file), answer=answer)
    return slides


def _given(file: Path) -> Path:
    """What is handed to slideprep: a DICOM series by its folder."""
    return file.parent if file.suffix == ".dcm" else file


def run(slides: Mapping[str, Intact], cases: int, seed: int, kept: Path, child: Child) -> list[Case]:
    """Damage and read ``cases`` times, every slide and every kind in turn."""
    names = list(slides)
    done: list[Case] = []
    for number in range(cases):
        random = np.random.default_rng((seed, number))
        name = names[number % len(names)]
        round_, source = divmod(number, len(names))
        wanted = (round_ + source) % len(DAMAGES)  # few cases meet every slide and every kind
        case = _one(slides[name], number, name, wanted, random, child)
        if case.outcome in BAD:
            shutil.copy(slides[name].file, kept / f"{number}-{slides[name].file.name}")
        slides[name].file.write_bytes(slides[name].data)
        done.append(case)
    return done


def _one(slide: Intact, number: int, name: str, wanted: int, random: Any, child: Child) -> Case:
    kinds = list(DAMAGES)
    kinds = kinds[wanted:] + kinds[:wanted]
    damaged = ((kind, DAMAGES[kind](slide.data, slide.layout, random)) for kind in kinds)
    kind, data = next((kind, data) for kind, data in damaged if data is not None)
    slide.file.write_bytes(data)
    answer = child.read(_given(slide.file), TIME_LIMIT_S)
    outcome = answer["outcome"]
    if outcome == "read":
        outcome = "right" if answer["pixels"] == slide.answer["pixels"] else "wrong"
    return Case(
        number=number,
        source=name,
        reader=slide.answer["reader"],
        damage=kind,
        outcome=outcome,
        reason=answer.get("reason", ""),
    )


def tables(cases: Sequence[Case]) -> str:
    """Outcomes by reader, by damage, and by reader of single flipped bits, as Markdown."""
    flips = [case for case in cases if case.damage == FLIP]
    return "\n\n".join(
        (
            _table("reader", cases, _by_reader),
            _table("damage", cases, lambda case: case.damage),
            _table("reader, one bit of the pixels flipped", flips, lambda case: case.reader),
        )
    )


def _table(title: str, cases: Sequence[Case], key: Callable[[Case], str]) -> str:
    counts = Counter((key(case), case.outcome) for case in cases)
    rows = []
    for group in sorted({key(case) for case in cases}):
        found = [counts[group, outcome] for outcome in OUTCOMES]
        rows.append([group, str(sum(found)), *map(str, found)])
    return markdown_table([title, "cases", *OUTCOMES], rows)


def _by_reader(case: Case) -> str:
    return f"{case.reader}, tiles out of place" if case.damage in MISPLACED else case.reader


@click.command(help=__doc__.split("\n\n")[0] if __doc__ else None)
@click.option("--cases", default=2000, show_default=True, help="How many damaged slides.")
@click.option("--seed", default=0, show_default=True)
@click.option("--generated", is_flag=True, help="Only slides made here, no real ones.")
@click.option("--only", help="Only slides whose name contains this.")
@click.option("--show", is_flag=True, help="List the cases that are neither right nor listed.")
@click.option("--json", "as_json", is_flag=True, help="Every case as JSON.")
def main(cases: int, seed: int, generated: bool, only: str | None, show: bool, as_json: bool) -> None:
    """Run the cases and print the tables."""
    sources = dict(GENERATED) if generated else {**GENERATED, **real_slides()}
    chosen = {name: make for name, make in sources.items() if only is None or only in name}
    kept = Path(tempfile.mkdtemp(prefix="fuzz-kept-"))
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        child = Child(kept / "stderr.txt")
        try:
            done = run(prepare(chosen, Path(folder), child), cases, seed, kept, child)
        finally:
            child.stop()
    _report(done, show, as_json)
    if any(case.outcome in BAD for case in done):
        print(f"Damaged files, and what the child printed: {kept}", file=sys.stderr)
        sys.exit(1)
    shutil.rmtree(kept)


def _report(done: Sequence[Case], show: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(case) for case in done], indent=1))
        return
    print(tables(done))
    console = Console(stderr=True)
    for case in done:
        if case.outcome in BAD or (show and case.outcome == "wrong"):
            console.print(
                f"{case.number} {case.source}, {case.damage}: {case.outcome} {case.reason}", markup=False
            )


if __name__ == "__main__":
    main()
