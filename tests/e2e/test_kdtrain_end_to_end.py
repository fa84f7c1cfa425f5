"""Every phase on 60 real fields of osteosarcoma: shards, the four phases, evaluation, comparison.

60 fields of 4 patients show that the way is open from end to end; they are too few to measure accuracy with.
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from fixtures.commands import run_of
from fixtures.real_data import real
from fixtures.training_runs import kdtrain, log_of, record_of, weights

pytest.importorskip("deepspeed", reason="needs DeepSpeed")

CLASSES = "Non-Tumor,Non-Viable-Tumor,Viable"
QUICK = ("--epochs", 1, "--workers", 0, "--accumulate", 8)


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """The fields at 2.5x and 0.625x (256 and 64 px), by their own split of patients: train 37, val 8, test 15."""
    fields = real("osteosarcoma-10x")
    builds = pytest.importorskip("slideprep.cli.main", reason="needs slideprep to build the shards")
    out = tmp_path_factory.mktemp("osteosarcoma") / "shards"
    images = sorted(path for path in fields.rglob("*") if path.suffix in {".png", ".jpg", ".jpeg", ".tif"})
    assert len(images) == 60
    arguments = ["build-shards", *images, "--labels", fields / "labels.csv", "--out", out, "--workers", 0]
    arguments += ["--tissue", "whole", "--magnifications", "2.5,0.625", "--objective", 10]
    built = run_of(builds.main, *arguments)
    assert built.code == 0, built.said
    return out


@pytest.fixture(scope="module")
def runs(shards, tmp_path_factory) -> dict[str, Path]:
    """One run of every phase, by name."""
    folder = tmp_path_factory.mktemp("runs")
    found: dict[str, Path] = {}

    def run(name: str, phase: str, *options: object) -> None:
        done = kdtrain(phase, "--shards", shards, "--out", folder / name, *QUICK, *options)
        assert done.code == 0, done.said
        found[name] = folder / name

    run("teacher", "teacher", "--magnification", 2.5)
    run("baseline", "baseline", "--magnification", 0.625, "--output-stride", 16)
    run("student", "distill", "--teacher", found["teacher"], "--magnification", 0.625, "--output-stride", 16)
    run("tuned", "finetune", "--student", found["student"], "--same-training-set")
    return found


def test_every_phase_leaves_its_files(runs):
    """Record, log, TensorBoard events, checkpoints and a network of three classes, every number finite."""
    for name, run in runs.items():
        assert record_of(run)["shard_set"]["classes"] == CLASSES.split(",")
        assert weights(run)["fc.weight"].shape == (3, 256)
        assert all(tensor.isfinite().all() for tensor in weights(run).values())
        assert list(run.glob("events.*")), name
        steps = [line for line in log_of(run) if line["kind"] == "step"]
        assert len(steps) == 5  # 37 samples, eight a step
        assert all(math.isfinite(line["loss"]) and math.isfinite(line["grad_norm"]) for line in steps)
        assert [line["split"] for line in log_of(run) if line["kind"] == "validation"] == ["val"]


def test_every_network_is_measured_on_the_same_15_fields(runs, shards):
    """metrics.json is finite where it is defined, and predictions.csv has each field of the test split once."""
    keys = set()
    for run in runs.values():
        arguments = ("--shards", shards, "--workers", 0, "--iterations", 200)
        done = kdtrain("evaluate", run, *arguments)
        assert done.code == 0, done.said
        folder = run / "evaluation-test"
        record = json.loads((folder / "metrics.json").read_text())
        assert record["levels"]["sample"]["n"] == 15
        assert 0 <= record["levels"]["sample"]["balanced_accuracy"]["value"] <= 1
        assert record["cost"]["gflops_mean"] > 0
        lines = (folder / "predictions.csv").read_text().splitlines()
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
        assert len(rows) == len({row["key"] for row in rows}) == 15
        keys.add(frozenset(row["key"] for row in rows))
    assert len(keys) == 1


def test_student_and_baseline_are_compared(runs, shards):
    """The paired comparison of two evaluated runs is a table."""
    for name in ("baseline", "student"):
        assert kdtrain("evaluate", runs[name], "--shards", shards, "--workers", 0).code == 0
    compared = kdtrain("compare", runs["baseline"], runs["student"])
    assert compared.code == 0, compared.said
    assert "alanced accuracy" in compared.said


def test_a_student_of_a_sixteenth_of_the_pixels_costs_a_fraction(runs):
    """64 px instead of 256 px: at the same stride a sixteenth of the operations; at stride 16, less than a fifth."""
    from kdtrain.model.flops import count
    from kdtrain.training.trained import load_trained

    teacher, student = (load_trained(runs[name], what="RUN").model for name in ("teacher", "student"))
    full = count(teacher, 256, 256).gflops
    assert count(teacher, 64, 64).gflops == pytest.approx(full / 16, rel=1e-3)
    assert full / 16 < count(student, 64, 64).gflops < full / 5
