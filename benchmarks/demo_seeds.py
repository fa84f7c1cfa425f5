"""The demo over several seeds: what teacher, baseline and student reach on each, and the spread.

    for seed in 0 1 2 3 4; do nox -s demo -- demo-$seed $seed; done
    python benchmarks/demo_seeds.py demo-0 demo-1 demo-2 demo-3 demo-4

A seed draws slides, splits, weights and order anew: every row is an experiment of its own, with its own test patients.
Prints a Markdown table: accuracy and balanced accuracy in percent with 95 % intervals over patients, and the paired
difference of student and baseline.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from kdtrain.evaluation.compare import compare

PHASES = ("teacher", "baseline", "distill")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("demos", nargs="+", type=Path, help="folders made by 'nox -s demo -- FOLDER SEED'")
    rows = [seed_row(folder) for folder in parser.parse_args().demos]
    teacher, baseline, student = (f"{rows[0]['magnification'][phase]:g}x" for phase in PHASES)
    print(f"| seed | teacher, {teacher} | baseline, {baseline} | student, {student} | student - baseline |")
    print("|---|---|---|---|---|")
    for metric, title in (("accuracy", "accuracy"), ("recall", "balanced accuracy"), ("auc", "AUC")):
        print(f"| **{title}** | | | | |")
        for row in rows:
            print(f"| {row['seed']} | " + " | ".join(row[metric]["text"]) + " |")
        print("| mean ± SD | " + " | ".join(_spread(rows, metric)) + " |")


def seed_row(folder: Path) -> dict[str, Any]:
    """The numbers of one demo."""
    sweep = json.loads((folder / "runs" / "sweep.json").read_text(encoding="utf-8"))
    runs = {run["phase"]: folder / "runs" / run["folder"] for run in sweep["runs"]}
    levels = {
        phase: json.loads((runs[phase] / "evaluation-test" / "metrics.json").read_text(encoding="utf-8"))[
            "levels"
        ]
        for phase in PHASES
    }
    paired = compare(runs["baseline"], runs["distill"], "test").levels["sample"].metrics
    row: dict[str, Any] = {
        "seed": sweep["runs"][0]["seed"],
        "magnification": {run["phase"]: run["magnification"] for run in sweep["runs"]},
    }
    for metric in ("accuracy", "recall", "auc"):
        estimates = [levels[phase]["sample"]["macro"][metric] for phase in PHASES]
        difference = paired[f"macro_{metric}"]
        row[metric] = {
            "values": [*(100 * one["value"] for one in estimates), 100 * (difference.difference or 0)],
            "text": [
                *(f"{100 * e['value']:.1f} ({100 * e['low']:.1f}-{100 * e['high']:.1f})" for e in estimates),
                f"{100 * (difference.difference or 0):+.1f} ({100 * (difference.low or 0):+.1f} to "
                f"{100 * (difference.high or 0):+.1f})",
            ],
        }
    return row


def _spread(rows: list[dict[str, Any]], metric: str) -> list[str]:
    columns = list(zip(*(row[metric]["values"] for row in rows), strict=True))
    signs = ["", "", "", "+"]
    return [
        f"{statistics.mean(column):{sign}.1f} ± {statistics.stdev(column) if len(column) > 1 else 0:.1f}"
        for column, sign in zip(columns, signs, strict=True)
    ]


if __name__ == "__main__":
    main()
