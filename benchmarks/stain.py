"""What a shift of stain costs a network, and what stain normalisation and augmentation win back.

    python benchmarks/stain.py SET [SET ...] --out FOLDER [--magnification 2.5] [--epochs 52] [--threads 1]

A SET is a finished shard set with train, val and test splits, such as the demo's of several seeds. On each, a baseline
(output stride 8, half width) is trained by every method below and measured on the test split: as it is, and recoloured
in optical density as if other laboratories had stained it. Nothing else of an image changes. The first set has seed 0,
the next seed 1, and so on; results are pooled over the samples of all. Runs stay in FOLDER, and the same command goes
on where it was stopped.

The second table compares the image that a teacher at the highest magnification sees, averaged down to the student's
pixels, with the one that the student sees, both normalised: with stains estimated at 1.25x as kdtrain does, and each
at its own magnification. Grey levels, mean over training images.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import Pixels, machine, machine_line, markdown_table
from numpy.typing import NDArray
from PIL import Image

from kdtrain import load_network
from kdtrain.data.stream import EvaluationStream
from kdtrain.model.stain.density import ESTIMATE_AT, exact_densities
from kdtrain.model.stain.normalise import normalise
from kdtrain.model.stain.target import STAIN_METHODS, stain_of, target_of
from kdtrain.shards.index import read_index

METHODS: dict[str, tuple[str, ...]] = {
    "neither": (),
    "augmentation 0.05": ("--stain-augmentation", "0.05"),
    "Macenko": ("--stain-normalization", "macenko"),
    "Reinhard": ("--stain-normalization", "reinhard"),
}
SETTINGS = (
    *("--output-stride", "8", "--width", "0.5", "--accumulate", "1", "--lr", "3e-4", "--schedule", "cosine"),
    *(
        "--jitter",
        "0.2,0.2,0.2,0",
        "--validate-on",
        "val",
        "--select-by",
        "loss",
        "--workers",
        "0",
        "--logger",
        "none",
    ),
)
"""The demo's."""
DYES = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
"""Haematoxylin and eosin in red, green and blue (Ruifrok and Johnston 2001)."""
_KDTRAIN = "from kdtrain.cli.main import main; main()"
_AGREEING_IMAGES = 40


def laboratory(blue: Sequence[float], pink: Sequence[float], strong: Sequence[float]) -> NDArray[np.float64]:
    """The matrix that rewrites densities of the usual dyes in others; what is of neither stays."""
    usual, other = (np.array([*dyes, np.cross(*dyes)]) for dyes in (DYES, np.array([blue, pink])))
    usual, other = (dyes / np.linalg.norm(dyes, axis=1, keepdims=True) for dyes in (usual, other))
    return np.linalg.inv(usual) @ np.diag([*strong, 1.0]) @ other


SHIFTS: dict[str, NDArray[np.float64]] = {
    "as it is": np.eye(3),
    "bluer, stronger": laboratory((0.75, 0.58, 0.32), (0.15, 0.95, 0.27), (1.4, 0.9)),
    "redder, paler": laboratory((0.55, 0.78, 0.30), (0.04, 0.97, 0.24), (0.7, 1.0)),
    "another scanner": np.diag([1.25, 1.0, 0.8]),
}


def main() -> None:
    """Train what is not trained yet, measure, print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", type=Path, metavar="SET")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--magnification", type=float, default=2.5)
    parser.add_argument("--epochs", type=int, default=52)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found: dict[str, dict[str, list[tuple[int, int]]]] = {name: {} for name in METHODS}
    for number, shards in enumerate(options.sets):
        for name in METHODS:
            answers = _answers(name, shards, options.out / f"set-{number}", number, options)
            for shift, pairs in answers.items():
                found[name].setdefault(shift, []).extend(map(tuple, pairs))
    n = len(next(iter(found["neither"].values())))
    print(f"accuracy / balanced accuracy, %, of {n} test images of {len(options.sets)} sets\n")
    rows = [[name, *(_scores(pairs) for pairs in answers.values())] for name, answers in found.items()]
    print(markdown_table(["trained with", *SHIFTS], rows))
    print()
    print(
        markdown_table(
            ["teacher's image against student's", *STAIN_METHODS], _agreement(options.sets[0], options)
        )
    )
    print(f"\n{machine_line(machine())}")


def _answers(name: str, shards: Path, folder: Path, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """(label, answer) of every test image, by shift; kept beside the run."""
    run = folder / name.replace(" ", "-").lower()
    kept = folder / f"{run.name}.json"
    if not kept.is_file():
        _train(run, shards, ("--seed", str(seed), *METHODS[name]), options)
        kept.write_text(json.dumps(_measured(run, shards, options.magnification)), encoding="utf-8")
    answers: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return answers


def _train(run: Path, shards: Path, method: tuple[str, ...], options: argparse.Namespace) -> None:
    given = (
        "--shards",
        shards,
        "--out",
        run,
        "--magnification",
        options.magnification,
        "--epochs",
        options.epochs,
    )
    command = [sys.executable, "-c", _KDTRAIN, "baseline", *map(str, given), *SETTINGS, *method]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    subprocess.run(command, check=True, env=environment, stdout=sys.stderr)


def _measured(run: Path, shards: Path, magnification: float) -> dict[str, list[tuple[int, int]]]:
    network = load_network(run)
    answers: dict[str, list[tuple[int, int]]] = {shift: [] for shift in SHIFTS}
    with torch.inference_mode():
        for label, image in _images(shards, "test", magnification):
            for shift, matrix in SHIFTS.items():
                shifted = torch.from_numpy(recoloured(image, matrix)).permute(2, 0, 1)
                logits = network.module(network.normalise([shifted])).logits_BK
                answers[shift].append((label, int(logits.argmax())))
    return answers


def recoloured(image: Pixels, matrix: NDArray[np.float64]) -> Pixels:
    """An image whose optical densities are another linear mixture."""
    moved = np.maximum(exact_densities(image) @ matrix, 0)
    return np.rint(255 * 10**-moved).astype(np.uint8)


def _images(shards: Path, split: str, *magnifications: float) -> Iterator[Any]:
    """(label, image at each magnification)."""
    stream = EvaluationStream(read_index(shards), split, magnifications)
    for sample in stream:
        pixels = [sample.images[m].permute(1, 2, 0).contiguous().numpy() for m in magnifications]
        yield (sample.label, *pixels)
    stream.close()


def _scores(pairs: Sequence[tuple[int, int]]) -> str:
    label, answer = np.array(pairs).T
    right = label == answer
    balanced = np.mean([right[label == one].mean() for one in np.unique(label)])
    return f"{100 * right.mean():.1f} / {100 * balanced:.1f}"


def _agreement(shards: Path, options: argparse.Namespace) -> list[list[str]]:
    high, low = max(read_index(shards).document.magnifications), options.magnification
    pairs = [
        images
        for _, (_, *images) in zip(range(_AGREEING_IMAGES), _images(shards, "train", high, low), strict=False)
    ]
    rows = []
    for title, own in (("estimated at 1.25x", False), ("each at its own magnification", True)):
        cells = []
        for method in STAIN_METHODS:
            at = (ESTIMATE_AT, ESTIMATE_AT) if own else (high, low)
            stains = [stain for large, _ in pairs if (stain := stain_of(large, method, at[0])) is not None]
            target = target_of(stains)
            apart = [
                _difference(
                    normalise(large, target, at[0]).image_HWC, normalise(small, target, at[1]).image_HWC
                )
                for large, small in pairs
            ]
            cells.append(f"{np.mean(apart):.2f}")
        rows.append([title, *cells])
    raw = f"{np.mean([_difference(large, small) for large, small in pairs]):.2f}"
    return [["not normalised", *[raw] * len(STAIN_METHODS)], *rows]


def _difference(large: Pixels, small: Pixels) -> float:
    """Mean |difference|, grey levels, of the larger image averaged down to the smaller one's pixels."""
    height, width, _ = small.shape
    averaged = np.asarray(Image.fromarray(large).resize((width, height), Image.Resampling.BOX))
    return float(np.abs(averaged.astype(float) - small).mean())


if __name__ == "__main__":
    main()
