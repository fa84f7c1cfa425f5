"""Evaluation of a run: every sample once, numbers that scikit-learn and a hand count agree with."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as reference

from fixtures.training_runs import kdtrain, trained, weights_sha256, write_training_set
from kdtrain.shards.index import read_index

pytest.importorskip("deepspeed", reason="needs DeepSpeed")

MACS_PER_PIXEL_10X = 5016
"""Of resnet10's convolutions, where sides are multiples of 32."""


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """A set with seven test samples of three sizes, each of its own patient."""
    from fixtures.shard_sets import write_set

    splits = {"train": [3, 2], "val": [2], "test": [4, 3], "aux1": [2]}
    return write_set(tmp_path_factory.mktemp("sets") / "set", splits, unlabelled=["aux1"])


@pytest.fixture(scope="module")
def run(shards, tmp_path_factory) -> Path:
    """A teacher of one epoch."""
    return trained("teacher", shards, tmp_path_factory.mktemp("runs") / "teacher", "--output-stride", 32)


@pytest.fixture(scope="module")
def said(shards, run) -> str:
    """The screen of its evaluation."""
    done = kdtrain("evaluate", run, "--shards", shards, "--workers", 0, "--iterations", 200)
    assert done.code == 0, done.said
    return done.said


@pytest.fixture(scope="module")
def record(said, run) -> dict:
    """metrics.json."""
    return json.loads((run / "evaluation-test" / "metrics.json").read_text())


@pytest.fixture(scope="module")
def rows(said, run) -> list[dict[str, str]]:
    """predictions.csv, without lines of provenance."""
    lines = (run / "evaluation-test" / "predictions.csv").read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def test_every_sample_is_predicted_once(rows, shards):
    """Seven rows with seven keys, the slides of the test split, probabilities that add up to 1."""
    assert len({row["key"] for row in rows}) == len(rows) == 7
    assert {row["slide"] for row in rows} == {f"test-{number}.svs" for number in range(7)}
    for row in rows:
        assert float(row["p_gland"]) + float(row["p_stroma"]) == pytest.approx(1, abs=1e-6)


def test_macro_numbers_are_scikit_learns(rows, record):
    """Balanced accuracy, F1, precision, recall and AUC of the samples, from the predictions file alone."""
    truth = [row["label"] for row in rows]
    predicted = [row["predicted"] for row in rows]
    level = record["levels"]["sample"]
    macro = {name: estimate["value"] for name, estimate in level["macro"].items()}
    settings = {"average": "macro", "zero_division": 0}
    assert macro["f1"] == pytest.approx(reference.f1_score(truth, predicted, **settings))
    assert macro["precision"] == pytest.approx(reference.precision_score(truth, predicted, **settings))
    assert macro["recall"] == pytest.approx(reference.recall_score(truth, predicted, **settings))
    assert level["plain_accuracy"]["value"] == pytest.approx(reference.accuracy_score(truth, predicted))
    assert level["balanced_accuracy"]["value"] == pytest.approx(
        reference.balanced_accuracy_score(truth, predicted)
    )
    scores = np.array([float(row["p_gland"]) for row in rows])
    assert macro["auc"] == pytest.approx(reference.roc_auc_score([t == "gland" for t in truth], scores))
    matrix = reference.confusion_matrix(truth, predicted, labels=["gland", "stroma"])
    assert level["confusion"] == matrix.tolist()


def test_the_record_says_what_was_measured(record, run, shards):
    """Split, phase, magnification, network, both hashes, the bootstrap, and counts per level."""
    assert (record["split"], record["phase"], record["magnification"]) == ("test", "teacher", 10)
    assert (record["model"], record["output_stride"]) == ("resnet10", 32)
    assert record["weights_sha256"] == weights_sha256(run)
    assert record["shard_set_sha256"] == read_index(shards).sha256
    assert record["classes"] == ["gland", "stroma"]
    assert record["bootstrap"]["iterations"] == 200
    assert record["bootstrap"]["unit"] == "patient"
    assert {name: level["n"] for name, level in record["levels"].items()} == {
        "sample": 7,
        "slide": 7,
        "patient": 7,
    }


def test_gflops_agree_with_a_hand_count(record):
    """resnet10 on the seven real sizes: 5 016 multiply-adds a pixel and 512 for the fully connected layer.

    Sizes in turn are 128 x 128, 160 x 128 and 128 x 192 px at 10x: three of the first, two of each other.
    """
    pixels = [128 * 128] * 3 + [160 * 128] * 2 + [128 * 192] * 2
    macs = [MACS_PER_PIXEL_10X * n + 256 * 2 for n in pixels]
    cost = record["cost"]
    assert cost["images"] == 7
    assert cost["gflops_total"] == pytest.approx(2 * sum(macs) / 1e9, rel=1e-9)
    assert cost["gflops_mean"] == pytest.approx(2 * sum(macs) / 7 / 1e9, rel=1e-9)
    assert cost["gmacs_mean"] == pytest.approx(sum(macs) / 7 / 1e9, rel=1e-9)
    assert cost["megapixels_mean"] == pytest.approx(sum(pixels) / 7 / 1e6)


def test_the_screen_shows_it(said):
    """A table by level, the cost with its convention, and where the files are."""
    assert "samples (7)" in said
    assert "Balanced accuracy" in said
    assert "GFLOPs a forward pass, on average over 7 images" in said
    assert "metrics.json and predictions.csv beside it" in said


def test_evaluation_is_repeatable_whatever_the_workers(shards, run, record, rows):
    """With two loader processes for two shards, predictions and intervals stay the same."""
    done = kdtrain("evaluate", run, "--shards", shards, "--workers", 2, "--iterations", 200)
    assert done.code == 0
    assert json.loads((run / "evaluation-test" / "metrics.json").read_text()) == record


def test_another_split_lies_beside_it(shards, run, record):
    """--split val has a folder of its own; the test split's stays."""
    arguments = ("--split", "val", "--unit", "sample", "--workers", 0, "--iterations", 50)
    assert kdtrain("evaluate", run, "--shards", shards, *arguments).code == 0
    other = json.loads((run / "evaluation-val" / "metrics.json").read_text())
    assert (other["split"], other["levels"]["sample"]["n"], other["bootstrap"]["unit"]) == (
        "val",
        2,
        "sample",
    )
    assert json.loads((run / "evaluation-test" / "metrics.json").read_text()) == record


def test_two_runs_are_compared_after_evaluation(shards, run, said, tmp_path):
    """A baseline and the teacher: refused before both are evaluated, a table afterwards."""
    baseline = trained("baseline", shards, tmp_path / "baseline", "--magnification", 2.5)
    unevaluated = kdtrain("compare", run, baseline)
    assert unevaluated.code == 2
    assert "kdtrain evaluate" in unevaluated.said
    assert kdtrain("evaluate", baseline, "--shards", shards, "--workers", 0, "--iterations", 200).code == 0
    compared = kdtrain("compare", run, baseline)
    assert compared.code == 0, compared.said
    assert "alanced accuracy" in compared.said


@pytest.mark.parametrize(
    ("split", "message"),
    [("aux1", "--split aux1 of"), ("absent", "no split or set 'absent'")],
)
def test_a_split_that_cannot_be_measured_is_refused(shards, run, split, message):
    """Without labels, or not there: exit code 2."""
    done = kdtrain("evaluate", run, "--shards", shards, "--split", split, "--workers", 0)
    assert done.code == 2
    assert message in done.said


def test_a_set_without_the_runs_magnification_is_refused(run, tmp_path):
    """A teacher at 10x cannot be measured on a set of 5x and 2.5x."""
    shards = write_training_set(tmp_path / "set", magnifications=[5, 2.5])
    done = kdtrain("evaluate", run, "--shards", shards, "--workers", 0)
    assert done.code == 2
    assert "no 10x here; there is 5x, 2.5x" in done.said


def test_an_unfinished_run_is_refused(shards, run, tmp_path):
    """A run folder without a network says that training must end first."""
    (tmp_path / "run.json").write_bytes((run / "run.json").read_bytes())
    done = kdtrain("evaluate", tmp_path, "--shards", shards)
    assert done.code == 2
    assert "its training is not finished" in done.said
