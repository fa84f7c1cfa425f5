"""Students of a teacher that is no run: SHELL's tissue map at 10x, learnt at 5x and 2.5x without a label.

    python3 -m venv --system-site-packages shell && shell/bin/pip install lavlab-shell
    shell/bin/python benchmarks/any_teacher.py [--fields FOLDER] [--side-px 512] [--epochs 30] [--work FOLDER]

The fields are those of ``osteosarcoma-10x`` in the data folder, patients of the test split kept away from training.
The teacher's probabilities are laid on each student's grid (``kdtrain cache-teacher --from _shell_teacher:tissue``),
and a student is distilled by their mean squared error. Then both are compared on the cells of the held-out fields: a
linear map from the student's channels to the teacher's three is fitted to the training fields' cells. Beside it the
same of a network that was never trained. Prints a Markdown table: correlation of each channel over cells, share of
cells of the same class, mean difference of class shares of a field, with intervals over fields; GFLOPs and CPU
seconds a megapixel of tissue at 10x.

What is measured is agreement with the teacher, which was made for another organ: nothing is said of any disease.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import machine, machine_line, markdown_table
from _shell_teacher import logits_of, tissue
from numpy.typing import NDArray
from PIL import Image

from kdtrain.augment import IDENTITY
from kdtrain.cli.main import main as kdtrain
from kdtrain.data.inputs import drawn_batch
from kdtrain.data.plan import SampleRef
from kdtrain.data.samples import SampleReader
from kdtrain.model.flops import gflops_of_sizes
from kdtrain.shards.index import Index, read_index
from kdtrain.sources.laying import Laying
from kdtrain.training.trained import Trained, load_trained
from slideprep.cli.main import main as slideprep

Floats = NDArray[np.float64]
TEACHER_MAGNIFICATION = 10.0
STRIDE = 8
CHANNELS = ("lumen", "epithelium", "rest")
DRAWS = 2000
_RIDGE = 1e-2


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field's cells.

    Attributes:
        said: The teacher's probabilities, a row a cell.
        features: The student's map.
    """

    said: Floats
    features: Floats


def run(command: Any, *arguments: object) -> None:
    """A command in this process, which imports PyTorch once."""
    try:
        command(args=[str(argument) for argument in arguments], standalone_mode=False)
    except SystemExit as end:
        if end.code:
            sys.exit(f"{command.name} {' '.join(map(str, arguments))} ended with {end.code}")


def build_set(fields: Path, work: Path, side_px: int, magnifications: Sequence[float]) -> Path:
    """A set of the middles of all fields."""
    if (work / "set" / "index.json").is_file():
        return work / "set"
    (work / "slides").mkdir(parents=True, exist_ok=True)
    with (fields / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        image = Image.open(fields / row["slide"]).convert("RGB")
        left, top = ((side - side_px) // 2 if side_px else 0 for side in image.size)
        box = (left, top, left + side_px, top + side_px) if side_px else (0, 0, *image.size)
        row["slide"] = f"{Path(row['slide']).stem}.png"
        image.crop(box).save(work / "slides" / row["slide"])
    with (work / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    listed = ",".join(f"{m:g}" for m in (TEACHER_MAGNIFICATION, *magnifications))
    run(
        slideprep,
        *("build-shards", work / "slides", "--labels", work / "labels.csv", "--out", work / "set"),
        *("--magnifications", listed, "--objective", 10, "--tissue", "whole", "--workers", 0),
    )
    return work / "set"


def taught(shards: Path, work: Path, magnification: float, epochs: int) -> Path:
    """The run of a student that learnt from a cache of the teacher."""
    cache, student = (work / f"{name}-{magnification:g}x" for name in ("cache", "student"))
    run(
        kdtrain,
        *("cache-teacher", "--shards", shards, "--from", "_shell_teacher:tissue", "--out", cache),
        *("--teacher-magnification", TEACHER_MAGNIFICATION, "--magnification", magnification),
        *("--tile-px", "region", "--tile-mean", "0,0,0", "--tile-std", "1,1,1", "--output-stride", STRIDE),
        *("--train-on", "train", "--validate-on", "val", "--views", 1, "--no-augment", "--workers", 0),
    )
    run(
        kdtrain,
        *("distill", "--shards", shards, "--teacher-cache", cache, "--out", student),
        *("--magnification", magnification, "--train-on", "train", "--validate-on", "val", "--no-augment"),
        *("--model", "resnet10", "--output-stride", STRIDE, "--epochs", epochs, "--accumulate", 4),
        *("--schedule", "cosine", "--workers", 0, "--logger", "none", "--device", "cpu"),
    )
    return student


def cells(index: Index, split: str, student: Trained) -> Iterator[Field]:
    """Every field of a split: what the teacher says, on the student's grid, and the student's map."""
    magnification = student.network.magnification
    samples = SampleReader(index, split, [TEACHER_MAGNIFICATION, magnification])
    model = student.model.eval()
    for number, shard in enumerate(samples.shards):
        for position in range(shard.samples):
            images = samples.load(SampleRef(number, position)).images
            batch = drawn_batch([images[magnification]], [IDENTITY], student.network, torch.device("cpu"))
            with torch.inference_mode():
                feature_map, _ = model(batch)
            rows, columns = feature_map.shape[2:]
            laying = Laying(len(CHANNELS), (rows, columns), tuple(side / STRIDE for side in batch.shape[2:]))
            laying.add(tissue(images[TEACHER_MAGNIFICATION][None] / 255)[0], (0.0, 0.0, 1.0, 1.0))
            yield Field(
                said=laying.result()[0].double().flatten(1).T.numpy(),
                features=feature_map[0].double().flatten(1).T.numpy(),
            )


def fitted(fields: Sequence[Field]) -> Floats:
    """Ridge regression from the student's channels, and a constant, to the teacher's: (C + 1, 3)."""
    x = np.concatenate([_with_one(field.features) for field in fields])
    y = np.concatenate([field.said for field in fields])
    weights: Floats = np.linalg.solve(x.T @ x + _RIDGE * len(x) * np.eye(x.shape[1]) / 1e3, x.T @ y)
    return weights


def _with_one(features: Floats) -> Floats:
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)


def agreement(fields: Sequence[Field], weights: Floats) -> list[str]:
    """Correlations of the channels, cells of the same class, how far shares of classes are apart; with intervals."""
    pairs = [(field.said, _with_one(field.features) @ weights) for field in fields]

    def measures(chosen: Sequence[int]) -> Floats:
        said, ours = (np.concatenate([pairs[i][side] for i in chosen]) for side in (0, 1))
        correlations = [float(np.corrcoef(said[:, c], ours[:, c])[0, 1]) for c in range(len(CHANNELS))]
        same = float((said.argmax(1) == ours.argmax(1)).mean())
        apart = [np.abs(_shares(pairs[i][0]) - _shares(pairs[i][1])).mean() for i in chosen]
        return np.array([*correlations, same, float(np.mean(apart))])

    rng = np.random.Generator(np.random.PCG64(0))
    draws = np.stack([measures(rng.integers(len(pairs), size=len(pairs))) for _ in range(DRAWS)])
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    found = measures(range(len(pairs)))
    return [f"{value:.2f} ({a:.2f} to {b:.2f})" for value, a, b in zip(found, low, high, strict=True)]


def _shares(said: Floats) -> Floats:
    counts: NDArray[np.int64] = np.bincount(said.argmax(1), minlength=len(CHANNELS))
    return counts / len(said)


def cost(student: Trained, side_px: int) -> tuple[float, float]:
    """GFLOPs and CPU seconds of a forward pass a megapixel of tissue at 10x."""
    side = int(side_px * student.network.magnification / TEACHER_MAGNIFICATION)
    image = torch.rand(1, 3, side, side)
    with torch.inference_mode():
        student.model(image)
        began = time.process_time()
        student.model(image)
        seconds = time.process_time() - began
    megapixels = side_px**2 / 1e6
    return gflops_of_sizes(student.network.spec, [(side, side)])[0] / megapixels, seconds / megapixels


def teacher_seconds(shards: Path, side_px: int) -> float:
    """CPU seconds of SHELL a megapixel at 10x, its stain channels included."""
    index = read_index(shards)
    sample = SampleReader(index, "test", [TEACHER_MAGNIFICATION]).load(SampleRef(0, 0))
    rgb = np.ascontiguousarray(sample.images[TEACHER_MAGNIFICATION].permute(1, 2, 0).numpy())
    logits_of(rgb)
    began = time.process_time()
    logits_of(rgb)
    return (time.process_time() - began) / (side_px**2 / 1e6)


def main() -> None:
    """Build, teach, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = Path(os.environ.get("SLIDEPREP_DATA", Path(__file__).parents[2] / "shared" / "data"))
    parser.add_argument("--fields", type=Path, default=data / "osteosarcoma-10x")
    parser.add_argument("--side-px", type=int, default=0, help="of the middle of each field; 0 for all of it")
    parser.add_argument("--magnifications", type=float, nargs="+", default=[5.0, 2.5])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--work", type=Path, default=Path("any-teacher"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    sys.path.insert(0, str(Path(__file__).parent))
    work = options.work.resolve()
    shards = build_set(options.fields.resolve(), work, options.side_px, options.magnifications)
    side_px = int(
        np.sqrt(np.prod(read_index(shards).sizes_of(read_index(shards).document.shards[0], 10.0)[0]))
    )
    rows = []
    for magnification in options.magnifications:
        folder = taught(shards, work, magnification, options.epochs)
        index, student = read_index(shards), load_trained(folder, what="the student")
        gflops, seconds = cost(student, side_px)
        for name in ("distilled", "untrained"):
            if name == "untrained":
                student.model.load_state_dict(student.network.build(seed=1).state_dict())
            weights = fitted(list(cells(index, "train", student)))
            found = agreement(list(cells(index, "test", student)), weights)
            rows.append([f"{magnification:g}x, {name}", *found, f"{gflops:.3g}", f"{seconds:.2g}"])
    rows.append(["SHELL at 10x", *["1"] * 4, "0", "", f"{teacher_seconds(shards, side_px):.2g}"])
    heading = ["student", *(f"r of {name}" for name in CHANNELS), "same class", "shares apart"]
    print(f"{read_index(shards).document.splits['test'].samples} held-out fields of {side_px} px at 10x.\n")
    print(markdown_table([*heading, "GFLOPs / MP", "CPU s / MP"], rows))
    print(f"\n{machine_line(machine())}")


if __name__ == "__main__":
    main()
