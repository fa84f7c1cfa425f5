"""Distillation from a cache of the teacher beside distillation with the teacher: accuracy, time, size, in one run.

    for seed in 0 1 2 3 4; do nox -s demo -- demo-$seed $seed; done
    python benchmarks/cached_teacher.py demo-0 demo-1 demo-2 demo-3 demo-4 [--views 1 4 8 16] [--epochs 24]

Each demo brings its shards and its trained teacher. For each, one student is trained with the teacher at work and
fresh draws in every epoch, and one from a cache of each number of views, with the same seed and for the same epochs,
each process on one thread. Prints Markdown tables: what students reach on the test split (mean and spread over demos,
and the paired difference to fresh draws), and what they cost: seconds of distilling and of making the cache, and its
size. With several processes at a time, or other work on the machine, take the CPU seconds. What was finished is not
repeated: a stopped benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from _common import machine, machine_line, markdown_table

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
DRAWS = ("--jitter", "0.2,0.2,0.2,0", "--train-on", "train,aux1", "--validate-on", "val", "--workers", "0")
TRAINING = (
    *("--accumulate", "1", "--lr", "0.0003", "--schedule", "cosine", "--logger", "none"),
    *("--output-stride", "16"),
)
METRICS = {"accuracy": "accuracy", "recall": "balanced accuracy", "auc": "AUC"}
FRESH = 0
"""Stands for fresh draws in every epoch, among numbers of views."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One demo's student.

    Attributes:
        demo: Folder that holds ``shards`` and the sweep's ``runs``.
        out: Where its runs and caches go.
        magnification: Of the student.
        views: Of the cache; FRESH for none.
        epochs: Of distillation.
    """

    demo: Path
    out: Path
    magnification: float
    views: int
    epochs: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a command took: CPU seconds (user and system) and seconds on the wall."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a student reached (percent, by metric) and cost.

    Attributes:
        metrics: Macro averages on the test split, by METRICS.
        distil: Cost of distillation.
        cache: Cost of making the cache.
        cache_bytes: Its size.
    """

    metrics: dict[str, float]
    distil: Cost
    cache: Cost
    cache_bytes: int


def main() -> None:
    """Train what is missing, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("demos", nargs="+", type=Path, help="folders made by 'nox -s demo -- FOLDER SEED'")
    parser.add_argument("--views", nargs="+", type=int, default=[1, 4, 8, 16])
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--magnification", type=float, default=2.5)
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time, of one thread each [2]")
    parser.add_argument("--out", type=Path, default=Path("cached-teacher"))
    options = parser.parse_args()
    tasks = [
        Task(
            demo=demo,
            out=options.out / demo.name,
            magnification=options.magnification,
            views=views,
            epochs=options.epochs,
        )
        for demo in options.demos
        for views in (FRESH, *options.views)
    ]
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = dict(zip(tasks, pool.map(outcome_of, tasks), strict=True))
    print(f"{len(options.demos)} demos, {options.epochs} epochs, student at {options.magnification:g}x. ")
    print(machine_line(machine()) + "\n")
    counts = (FRESH, *options.views)
    print(markdown_table(["views", *_metric_header()], [_reached(outcomes, tasks, n) for n in counts]) + "\n")
    header = ["views", "distilling, wall s", "CPU s", "fresh / it", "the cache, CPU s", "MB", "fresh / both"]
    print(markdown_table(header, [_cost(outcomes, tasks, n) for n in counts]))


def outcome_of(task: Task) -> Outcome:
    """Train and evaluate one student, or read what an earlier call found."""
    name = "fresh" if task.views == FRESH else f"views-{task.views}"
    found = task.out / f"{name}-{task.epochs}.json"
    if not found.exists():
        outcome = _train(task, task.out / f"{name}-{task.epochs}", task.out / f"cache-{task.views}")
        found.write_text(json.dumps(asdict(outcome), indent=1), encoding="utf-8")
    return _read(json.loads(found.read_text(encoding="utf-8")))


def _train(task: Task, run: Path, cache: Path) -> Outcome:
    sweep = json.loads((task.demo / "runs" / "sweep.json").read_text(encoding="utf-8"))
    first = next(one for one in sweep["runs"] if one["phase"] == "teacher")
    teacher, seed = task.demo / "runs" / first["folder"], str(first["seed"])
    common = ["--shards", str(task.demo / "shards"), "--teacher", str(teacher), "--seed", seed]
    common += ["--magnification", str(task.magnification), *DRAWS]
    made, extra = Cost(cpu_s=0, wall_s=0), []
    if task.views != FRESH:
        stride = TRAINING[-2:]
        made = _timed(["cache-teacher", *common, *stride, "--views", str(task.views), "--out", str(cache)])
        extra = ["--teacher-cache", str(cache)]
    spent = _timed(["distill", *common, *TRAINING, "--epochs", str(task.epochs), "--out", str(run), *extra])
    _timed(["evaluate", str(run), "--shards", str(task.demo / "shards"), "--split", "test", "--workers", "0"])
    measured = json.loads((run / "evaluation-test" / "metrics.json").read_text(encoding="utf-8"))
    macro = measured["levels"]["sample"]["macro"]
    return Outcome(
        metrics={metric: 100 * macro[metric]["value"] for metric in METRICS},
        distil=spent,
        cache=made,
        cache_bytes=sum(file.stat().st_size for file in cache.rglob("*") if file.is_file()),
    )


def _timed(arguments: list[str]) -> Cost:
    print("kdtrain " + " ".join(arguments), file=sys.stderr)
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "kdtrain", *arguments],
        stdout=subprocess.DEVNULL,
        env={**os.environ, **ONE_THREAD},
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"kdtrain {arguments[0]} failed with exit code {os.waitstatus_to_exitcode(status)}")
    return Cost(cpu_s=used.ru_utime + used.ru_stime, wall_s=time.monotonic() - began)


def _read(record: dict[str, Any]) -> Outcome:
    return Outcome(
        metrics=record["metrics"],
        distil=Cost(**record["distil"]),
        cache=Cost(**record["cache"]),
        cache_bytes=record["cache_bytes"],
    )


# Tables


def _metric_header() -> list[str]:
    return [column for name in METRICS.values() for column in (name, "to fresh")]


def _shown(views: int) -> str:
    return "fresh draws, no cache" if views == FRESH else str(views)


def _reached(outcomes: dict[Task, Outcome], tasks: list[Task], views: int) -> list[str]:
    """Mean ± SD over the demos, and the mean ± SD of the paired difference to fresh draws, by metric."""
    row = [_shown(views)]
    for metric in METRICS:
        values, fresh = (
            [outcomes[task].metrics[metric] for task in tasks if task.views == count]
            for count in (views, FRESH)
        )
        differences = [a - b for a, b in zip(values, fresh, strict=True)]
        row += [_spread(values), "" if views == FRESH else _spread(differences, sign="+")]
    return row


def _spread(values: list[float], *, sign: str = "") -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):{sign}.1f} ± {spread:.1f}"


def _cost(outcomes: dict[Task, Outcome], tasks: list[Task], views: int) -> list[str]:
    """Sums over the demos; ratios are of CPU seconds."""
    own = [outcomes[task] for task in tasks if task.views == views]
    fresh = sum(outcomes[task].distil.cpu_s for task in tasks if task.views == FRESH)
    distil, cache = sum(one.distil.cpu_s for one in own), sum(one.cache.cpu_s for one in own)
    megabytes = sum(one.cache_bytes for one in own) / 1e6
    return [
        _shown(views),
        f"{sum(one.distil.wall_s for one in own):.0f}",
        f"{distil:.0f}",
        f"{fresh / distil:.1f}",
        "" if views == FRESH else f"{cache:.0f}",
        "" if views == FRESH else f"{megabytes:.0f}",
        f"{fresh / (distil + cache):.1f}",
    ]


if __name__ == "__main__":
    main()
