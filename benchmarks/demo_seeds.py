"""The demo over several seeds: what teacher, baselines and student reach on each, and the spread.

    for seed in 0 1 2 3 4; do nox -s demo -- demo-$seed $seed; done
    python benchmarks/demo_seeds.py demo-0 demo-1 demo-2 demo-3 demo-4

A seed draws slides, splits, weights and order anew: every row is an experiment of its own, with its own test patients.
Prints a Markdown table: accuracy, balanced accuracy and AUC in percent with 95 % intervals over patients, and paired
differences.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from kdtrain.evaluation.compare import compare

METHODS = ("Teacher", "Baseline s32", "Baseline", "KD")
PAIRS = (("KD", "Baseline"), ("KD", "Baseline s32"), ("Baseline", "Baseline s32"))
METRICS = (("accuracy", "accuracy"), ("recall", "balanced accuracy"), ("auc", "AUC"))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("demos", nargs="+", type=Path, help="folders made by 'nox -s demo -- FOLDER SEED'")
    rows = [seed_row(folder) for folder in parser.parse_args().demos]
    heads = [f"{name}, {rows[0]['magnification'][name]:g}x" for name in METHODS]
    heads += [f"{one} - {other}" for one, other in PAIRS]
    print(f"| seed | {' | '.join(heads)} |")
    print("|---" * (1 + len(heads)) + "|")
    for metric, title in METRICS:
        print(f"| **{title}** |" + " |" * len(heads))
        for row in rows:
            print(f"| {row['seed']} | " + " | ".join(row[metric]["text"]) + " |")
        print("| mean ± SD | " + " | ".join(_spread(rows, metric)) + " |")


def seed_row(folder: Path) -> dict[str, Any]:
    """The numbers of one demo."""
    sweep = json.loads((folder / "runs" / "sweep.json").read_text(encoding="utf-8"))
    runs = {run["method"]: folder / "runs" / run["folder"] for run in sweep["runs"]}
    levels = {
        name: json.loads((runs[name] / "evaluation-test" / "metrics.json").read_text(encoding="utf-8"))[
            "levels"
        ]
        for name in METHODS
    }
    paired = [compare(runs[other], runs[one], "test").levels["sample"].metrics for one, other in PAIRS]
    row: dict[str, Any] = {
        "seed": sweep["runs"][0]["seed"],
        "magnification": {run["method"]: run["magnification"] for run in sweep["runs"]},
    }
    for metric, _ in METRICS:
        estimates = [levels[name]["sample"]["macro"][metric] for name in METHODS]
        differences = [metrics[f"macro_{metric}"] for metrics in paired]
        row[metric] = {
            "values": [
                *(100 * one["value"] for one in estimates),
                *(100 * (one.difference or 0) for one in differences),
            ],
            "text": [
                *(f"{100 * e['value']:.1f} ({100 * e['low']:.1f}-{100 * e['high']:.1f})" for e in estimates),
                *(
                    f"{100 * (d.difference or 0):+.1f} ({100 * (d.low or 0):+.1f} to {100 * (d.high or 0):+.1f})"
                    for d in differences
                ),
            ],
        }
    return row


def _spread(rows: list[dict[str, Any]], metric: str) -> list[str]:
    columns = list(zip(*(row[metric]["values"] for row in rows), strict=True))
    signs = [""] * len(METHODS) + ["+"] * len(PAIRS)
    return [
        f"{statistics.mean(column):{sign}.1f} ± {statistics.stdev(column) if len(column) > 1 else 0:.1f}"
        for column, sign in zip(columns, signs, strict=True)
    ]


if __name__ == "__main__":
    main()
