"""``benchmarks/gpu.py``: every step on a CPU, and what becomes of steps that fail, hang or have no time left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import pytest

from fixtures.commands import run_of
from fixtures.repository import ROOT

SCRIPTS = ROOT / "benchmarks"
sys.path.append(str(SCRIPTS))

import _gpu_steps  # noqa: E402
import gpu  # noqa: E402
from _gpu_sizes import FULL, TINY  # noqa: E402
from _gpu_table import report  # noqa: E402

ON_CPU = TINY.on("cpu")
TRIED = ("machine", "prepare", "throughput-fp32", "engine", "memory", "ranks")
"""Left out are pytest in pytest, further throughput steps, and predict, which the tests of predict try."""
TITLES = {step.name: step.what for step in gpu.STEPS}


def here(step, sizes, work, result, limit_s):
    """A step in this process, which has PyTorch loaded already; ranks by themselves, as they fork."""
    if step.name == "ranks":
        return gpu.in_a_process(step, sizes, work, result, 120)
    _gpu_steps.STEPS[step.name](sizes, work, partial(_gpu_steps.write_result, result))
    return "done"


def step_of(name, limit_s=60.0):
    """A step that is measured by nothing."""
    return gpu.Step(name=name, what="", limit_s=limit_s)


def run_with(tmp_path, run, *steps, budget_s=300.0):
    """Steps done by ``run``; what gpu.json holds of them."""
    gpu.run_steps(steps, ON_CPU, work=tmp_path, out=tmp_path, budget_s=budget_s, run=run)
    return json.loads((tmp_path / "gpu.json").read_text())["steps"]


def test_a_step_has_a_function_and_all_fit_into_eight_minutes():
    """Names agree, and the limits of all steps add up to no more than what the script may take."""
    assert [step.name for step in gpu.STEPS] == list(_gpu_steps.STEPS)
    assert sum(step.limit_s for step in gpu.STEPS) <= gpu.BUDGET_S <= 470
    assert FULL.students[0] == 1.25


@pytest.mark.slow
def test_all_of_it_runs_on_a_cpu(tmp_path):
    """Steps that train here, with tiny images, ranks in processes: each row has its figure, and no aim is judged."""
    work, out = tmp_path / "work", tmp_path / "out"
    work.mkdir()
    out.mkdir()
    steps = [step for step in gpu.STEPS if step.name in TRIED]
    found = gpu.run_steps(steps, ON_CPU, work=work, out=out, budget_s=600, run=here)
    assert json.loads((out / "gpu.json").read_text())["steps"] == found["steps"]
    rows = {name: step["found"].get("rows", []) for name, step in found["steps"].items()}
    kinds = [(row["what"], row["magnification"], row["loop"]) for row in rows["throughput-fp32"]]
    assert kinds == [
        ("teacher", 10, "bare"),
        ("teacher", 10, "kdtrain"),
        ("online", 1.25, "bare"),
        ("online", 1.25, "kdtrain"),
        ("cached", 1.25, "kdtrain"),
    ]
    speeds = [row["samples_per_s"] for some in rows.values() for row in some if "samples_per_s" in row]
    assert len(speeds) == 5 + 4 + 2
    assert min(speeds) > 0
    assert all(row["measured_bytes"] > 1e8 for row in rows["memory"])
    one, two = rows["ranks"]
    assert (one["joined_by"], two["joined_by"], two["processes"]) == ("gloo", "gloo", 2)
    assert one["losses"] == pytest.approx(two["losses"], rel=1e-4)
    table = (out / "gpu.md").read_text()
    assert "10 times" in table
    assert "reached" not in table
    assert "missed" not in table


def test_a_failing_step_ends_no_other(tmp_path):
    """One that raises after a figure keeps the figure; the next one is done, and both files say which failed."""

    def run(step, sizes, work, result, limit_s):
        result.write_text('{"rows": []}')
        return "failed: no memory" if step.name == "engine" else "done"

    steps = run_with(tmp_path, run, step_of("engine"), step_of("memory"))
    assert [step["state"] for step in steps.values()] == ["failed: no memory", "done"]
    assert steps["engine"]["found"] == {"rows": []}
    assert "failed: no memory" in (tmp_path / "gpu.md").read_text()


def test_steps_without_time_are_left_out(tmp_path):
    """Where the budget is spent, a step is not started, and says so."""
    steps = run_with(tmp_path, None, step_of("engine"), budget_s=gpu.LEAST_S - 1)
    assert steps["engine"]["state"] == "left out: no time was left"


def test_a_hanging_step_is_stopped_with_all_that_it_started(tmp_path):
    """After its limit the process and its own child are gone, and the state says after how long."""
    child = tmp_path / "child"
    script = f"sleep 60 & echo $! > {child}; wait"
    state = gpu.run_command(["bash", "-c", script], tmp_path / "log", 0.5)
    assert state == "stopped after 0 s"
    end = time.monotonic() + 10
    while _alive(int(child.read_text())) and time.monotonic() < end:
        time.sleep(0.02)
    assert not _alive(int(child.read_text()))


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_last_line_says_why_a_step_failed(tmp_path):
    """A process that ends with another code than 0: its last words."""
    command = [sys.executable, "-c", "import sys; print('before'); sys.exit('no card')"]
    assert gpu.run_command(command, tmp_path / "log", 30) == "failed: no card"


def test_aims_are_judged_on_a_gpu():
    """5 samples/s by the authors' loop, 50 online and 240 from a cache by ours: ten times is reached, fifty is not."""
    rows = [
        {"what": what, "magnification": 1.25, "loop": loop, "samples_per_s": rate, **REST}
        for what, loop, rate in (("online", "bare", 5), ("online", "kdtrain", 50), ("cached", "kdtrain", 240))
    ]
    engine = [
        {"precision": "fp32", "loop": loop, "samples_per_s": rate, **REST}
        for loop, rate in (("bare", 100.0), ("kdtrain", 98.0))
    ]
    steps = {
        "throughput-fp32": {"state": "done", "seconds": 1.0, "found": {"rows": rows}},
        "engine": {"state": "done", "seconds": 1.0, "found": {"rows": engine, "side_px": 512}},
    }
    sizes = {"device": "cuda", "samples": 2, "side_px": 1024, "accumulate": 1, "workers": 1}
    table = report({"steps": steps, "sizes": sizes}, TITLES)
    assert "10 times: reached" in table
    assert "50 times: missed" in table
    assert "1.020 x the bare loop's" in table
    assert "1.03 at most: reached" in table


REST = {"wait_share": 0.1, "peak_bytes": 2e9, "tflops": 1.0}


def test_the_shell_script_hands_its_options_on(tmp_path):
    """Its first word is the folder, what follows goes to gpu.py, and the exit code is gpu.py's."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\nexit 7\n')
    python.chmod(0o755)
    run = subprocess.run(
        [SCRIPTS / "gpu.sh", tmp_path / "out", "--tiny", "--only", "memory"],
        env={"PATH": os.environ["PATH"], "PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 7
    assert run.stdout.split()[1:] == ["--out", str(tmp_path / "out"), "--tiny", "--only", "memory"]


def test_an_unknown_step_is_refused():
    """--only with a name that is none: usage, and the names that there are."""
    run = run_of(gpu.main, "--only", "speed")
    assert run.code == 2
    assert "no step 'speed'; steps are machine, prepare" in run.said


def test_sizes_go_to_another_process_and_back():
    """What a step's process reads is what the script had: lists become the tuples that they were."""
    given = json.loads(json.dumps(gpu.asdict(ON_CPU)))
    back = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    assert replace(ON_CPU, **back) == ON_CPU
