"""What only a GPU can show, step by step: see ``gpu.sh``, which starts this.

    python benchmarks/gpu.py [--out FOLDER] [--device cuda] [--only STEP]... [--budget-s 470] [--tiny]

Every step is a process of its own with a time limit of its own. One that fails or is stopped leaves what it had
measured, and the others go on. gpu.json and gpu.md are written anew after every step, whole or not at all.
``--tiny --device cpu`` goes through all of it on a CPU with images of a few dozen pixels; its figures mean nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from _gpu_sizes import FULL, TINY, Sizes
from _gpu_table import report

CHILD = Path(__file__).with_name("_gpu_steps.py")
BUDGET_S = 470.0
"""Of all steps; ten seconds are left for starting."""
LEAST_S = 5.0
"""A step with less time than this is left out."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step.

    Attributes:
        name: Of the function in ``_gpu_steps``, with hyphens.
        what: For the table.
        limit_s: Wall seconds after which it is stopped.
    """

    name: str
    what: str
    limit_s: float


STEPS = (
    Step(name="machine", what="chip, driver, libraries", limit_s=15),
    Step(name="prepare", what="synthetic sets and a slide", limit_s=40),
    Step(name="throughput-fp32", what="the authors' loop and kdtrain's, fp32", limit_s=105),
    Step(name="throughput-bf16", what="kdtrain's loop, bf16", limit_s=60),
    Step(name="throughput-decode", what="kdtrain's loop, bf16, --decode device", limit_s=50),
    Step(name="engine", what="kdtrain's loop beside a bare one of the same arithmetic", limit_s=40),
    Step(name="memory", what="of a training step, predicted and measured", limit_s=30),
    Step(name="predict", what="a slide by --device cuda and by --device cpu", limit_s=55),
    Step(name="ranks", what="one process, and two that share the card", limit_s=35),
    Step(name="tests", what="the suite's tests of a GPU", limit_s=40),
)

Run = Callable[[Step, Sizes, Path, Path, float], str]
"""Does a step: (step, sizes, work folder, file for what it measures, seconds it may take); returns how it ended."""


def run_steps(
    steps: Sequence[Step], sizes: Sizes, *, work: Path, out: Path, budget_s: float, run: Run
) -> dict[str, Any]:
    """Do the steps in turn, and keep ``gpu.json`` and ``gpu.md`` in ``out`` up to date.

    Returns:
        The content of gpu.json: by step its state ("done", "failed: ...", "stopped ...", "left out ..."), seconds, and
        what it measured.
    """
    began = time.monotonic()
    found: dict[str, Any] = {"sizes": asdict(sizes), "steps": {}}
    for step in steps:
        left = budget_s - (time.monotonic() - began)
        found["steps"][step.name] = _done(step, sizes, work, min(step.limit_s, left), run)
        _write(out / "gpu.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
        _write(out / "gpu.md", report(found, {step.name: step.what for step in steps}))
        click.echo(f"{step.name}: {found['steps'][step.name]['state']}", err=True)
    return found


def _done(step: Step, sizes: Sizes, work: Path, limit_s: float, run: Run) -> dict[str, Any]:
    if limit_s < LEAST_S:
        return {"state": "left out: no time was left", "seconds": 0.0, "found": {}}
    result = work / f"{step.name}.json"
    began = time.monotonic()
    state = run(step, sizes, work, result, limit_s)
    seconds = round(time.monotonic() - began, 1)
    found = json.loads(result.read_text()) if result.exists() else {}
    return {"state": state, "seconds": seconds, "found": found}


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)


def in_a_process(step: Step, sizes: Sizes, work: Path, result: Path, limit_s: float) -> str:
    """Run a step as a process group of its own, so that nothing of it is left when its time is up."""
    command = [sys.executable, str(CHILD), step.name, json.dumps(asdict(sizes)), str(work), str(result)]
    return run_command(command, work / f"{step.name}.log", limit_s)


def run_command(
    command: Sequence[str], log: Path, limit_s: float, env: Mapping[str, str] | None = None
) -> str:
    """Run a command for at most so many seconds; returns how it ended. Both its streams go to the file ``log``."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True, env=env)
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return f"stopped after {limit_s:.0f} s"
        finally:
            _end(process)
    return "done" if code == 0 else f"failed: {_last_line(log) or f'exit code {code}'}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process, and whatever it started and left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def chosen(only: Sequence[str]) -> list[Step]:
    """The steps of these names, in their order; all where none is named.

    Raises:
        UsageError: No step has that name.
    """
    names = [step.name for step in STEPS]
    if unknown := sorted(set(only) - set(names)):
        raise click.UsageError(f"no step '{unknown[0]}'; steps are {', '.join(names)}")
    needed = {*only, "prepare"}  # nearly all read what it writes
    return [step for step in STEPS if not only or step.name in needed]


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option("--out", type=click.Path(path_type=Path), default=Path("gpu-results"), show_default=True)
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", show_default=True)
@click.option("--only", multiple=True, metavar="STEP", help="This step alone; may be repeated.")
@click.option("--budget-s", default=BUDGET_S, show_default=True, help="Seconds that all steps have.")
@click.option("--tiny", is_flag=True, help="Images of a few dozen pixels, to see that all of it runs.")
def main(out: Path, device: str, only: tuple[str, ...], budget_s: float, tiny: bool) -> None:
    """Run the steps; the exit code is 0 where all were done."""
    steps = chosen(only)
    out.mkdir(parents=True, exist_ok=True)
    sizes = (TINY if tiny else FULL).on(device)
    work = Path(tempfile.mkdtemp(prefix="gpu-"))
    try:
        found = run_steps(steps, sizes, work=work, out=out, budget_s=budget_s, run=in_a_process)
        for log in work.glob("*.log"):
            shutil.copy(log, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    click.echo((out / "gpu.md").read_text())
    sys.exit(0 if all(one["state"] == "done" for one in found["steps"].values()) else 1)


if __name__ == "__main__":
    main()
