"""A network on slides from elsewhere: what a run, its bundle and ``predict --labels`` say of the same images.

    python benchmarks/outside.py RUN [--slides 18] [--seed 907] [--stain-shift 1] [--objective 40] [--keep FOLDER]

RUN is exported to a bundle. Slides of another seed, stain and scanner are drawn and built into a set at the network's
magnification, all in the split test. Then three commands measure: ``kdtrain evaluate RUN --shards SET`` on a copy of
the run, ``kdtrain evaluate BUNDLE --shards SET``, and ``kdtrain predict BUNDLE SLIDES --labels labels.csv`` by each
backend. Shown are the largest differences from the run's answers, of a probability and of a metric, image by image and
number by number, and what they say of the network: here, and on the test split it was evaluated on.

``predict`` reads the slides itself, so its images equal those of the set only if they are made and encoded alike.
PyTorch then computes the same as on the set; ONNX Runtime rounds otherwise.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from _common import machine, machine_line, markdown_table, print_found

_SLIDEPREP = "from slideprep.cli.main import main; main()"
CLOSE = 1e-6


def main() -> None:
    """Parse the command line, measure, print; exit with 1 where run and bundle disagree."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = options.keep or Path(name)
        work.mkdir(parents=True, exist_ok=True)
        if any(work.iterdir()):
            sys.exit(f"--keep {work} is not empty; give a new folder")
        found = {"machine": machine(), **measured(options, work)}
    print_found(found, report, as_json=options.json)
    if any(row["probability"] > CLOSE or row["metric"] > CLOSE for row in found["rows"] if row["exact"]):
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a trained and evaluated run")
    parser.add_argument("--slides", type=int, default=18, help="slides to draw (18)")
    parser.add_argument("--seed", type=int, default=907, help="of the slides (907)")
    parser.add_argument("--stain-shift", type=float, default=1.0, help="as of slideprep synthesize (1)")
    parser.add_argument("--objective", choices=["20", "40"], default="40", help="of the scanner (40)")
    parser.add_argument("--piece-px", nargs=2, default=["560", "680"], help="as of slideprep synthesize")
    parser.add_argument("--keep", type=Path, help="new folder for slides, set, bundle and what was measured")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


def measured(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Make slides and set, ask all commands, and compare what they wrote."""
    slides, shards, bundle, run = (work / name for name in ("slides", "set", "bundle", "run"))
    shutil.copytree(options.run, run, symlinks=True)
    _kdtrain("export", run, "--out", bundle)
    document = json.loads((bundle / "bundle.json").read_text())
    labels = _drawn(options, slides)
    at = f"{document['input']['magnification']:g}"
    _slideprep(
        "build-shards", slides, "--out", shards, "--labels", labels, "--magnifications", at, "--workers", "0"
    )
    _kdtrain("evaluate", run, "--shards", shards)
    _kdtrain("evaluate", bundle, "--shards", shards, "--out", work / "evaluated")
    truth = run / "evaluation-test"
    folders = {"evaluate BUNDLE": work / "evaluated"}
    for backend in ("pytorch", "onnx"):
        out = work / f"predicted-{backend}"
        asked = ("--labels", labels, "--backend", backend, "--device", "cpu", "--workers", "0", "--out", out)
        _kdtrain("predict", bundle, slides, *asked)
        folders[f"predict --labels, {backend}"] = out / "evaluation"
    rows = [
        {"what": what, "exact": "onnx" not in what, **compared(truth, folder)}
        for what, folder in folders.items()
    ]
    return {"rows": rows, "network": _network(document, work / "evaluated")}


def _drawn(options: argparse.Namespace, slides: Path) -> Path:
    """Slides from elsewhere; their labels.csv, with all of them in the split test."""
    origin = ("--objective", options.objective, "--stain-shift", str(options.stain_shift))
    drawn = ("--slides", str(options.slides), "--seed", str(options.seed), "--piece-px", *options.piece_px)
    _slideprep("synthesize", slides, *drawn, *origin)
    rows = _rows(slides / "labels.csv")
    labels = slides.parent / "labels.csv"
    with labels.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0], "split"])
        writer.writeheader()
        writer.writerows({**row, "split": "test"} for row in rows)
    return labels


def compared(truth: Path, folder: Path) -> dict[str, Any]:
    """The images of two evaluations, and the largest differences between them."""
    ours, theirs = ({row["key"]: row for row in _rows(one / "predictions.csv")} for one in (truth, folder))
    columns = [name for name in next(iter(ours.values())) if name.startswith("p_")]
    both = sorted(set(ours) & set(theirs))
    levels = [
        dict(_numbers(json.loads((one / "metrics.json").read_text())["levels"])) for one in (truth, folder)
    ]
    return {
        "images": len(both),
        "not in both": len(set(ours) ^ set(theirs)),
        "probability": max(abs(float(ours[k][c]) - float(theirs[k][c])) for k in both for c in columns),
        "numbers": len(levels[0]),
        "metric": max(_apart(value, levels[1].get(name)) for name, value in levels[0].items()),
    }


def _numbers(content: Any, name: str = "") -> Iterator[tuple[str, float | None]]:
    """Every number of a JSON document under the names that lead to it."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from _numbers(value, f"{name}/{key}")
    elif isinstance(content, list):
        for place, value in enumerate(content):
            yield from _numbers(value, f"{name}/{place}")
    elif content is None or isinstance(content, int | float):
        yield name, content


def _apart(first: float | None, second: float | None) -> float:
    if first is None or second is None:
        return 0.0 if first is second else float("inf")
    return abs(first - second)


def _network(document: Mapping[str, Any], evaluated: Path) -> dict[str, Any]:
    """What the network reaches, here and at home, and how far the images are from those of training."""
    metrics = json.loads((evaluated / "metrics.json").read_text())
    home = None if document["metrics"] is None else document["metrics"]["levels"]["slide"]
    return {
        "classes": metrics["classes"],
        "here": metrics["levels"]["slide"]["balanced_accuracy"],
        "home": None if home is None else home["balanced_accuracy"],
        "outside": metrics["shift"]["outside"],
        "images": metrics["shift"]["images"],
        "stain": {name: one["shift"] for name, one in metrics["shift"]["stain"].items()},
        "objectives": metrics["shift"]["level0_objectives"],
    }


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _slideprep(*arguments: object) -> None:
    _called([sys.executable, "-c", _SLIDEPREP, *map(str, arguments)])


def _kdtrain(*arguments: object) -> None:
    _called([sys.executable, "-m", "kdtrain", *map(str, arguments)])


def _called(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[2:])}\n{done.stdout}{done.stderr}")


def report(found: dict[str, Any]) -> str:
    """The tables as Markdown."""
    lines = [
        [
            row["what"],
            f"{row['images']}",
            f"{row['not in both']}",
            f"{row['probability']:.1e}",
            f"{row['numbers']}",
            f"{row['metric']:.1e}",
        ]
        for row in found["rows"]
    ]
    header = [
        "against evaluate RUN",
        "images",
        "in one alone",
        "probability",
        "numbers",
        "largest difference",
    ]
    network = found["network"]
    stain = [
        [name, f"{moved:+.1f}" if moved is not None else "-"] for name, moved in network["stain"].items()
    ]
    return "\n\n".join(
        [
            machine_line(found["machine"]),
            markdown_table(header, lines),
            f"Balanced accuracy by slide: {_words(network['here'])} here, {_words(network['home'])} at home. "
            f"{network['outside']} of {network['images']} images lie outside the training data; objectives "
            f"{network['objectives']}.",
            markdown_table(["stain", "standard deviations from training"], stain),
        ]
    )


def _words(estimate: Mapping[str, float | None] | None) -> str:
    if estimate is None or estimate["value"] is None:
        return "unknown"
    if estimate["low"] is None or estimate["high"] is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


if __name__ == "__main__":
    main()
