"""Students and baselines of their own shape: width, stem, stride, model; and the projector in training."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fixtures.teacher_caches import cache_options, cached, distil
from fixtures.training_runs import (
    QUICK,
    evaluated,
    exported,
    kdtrain,
    log_of,
    record_of,
    trained,
    weights,
    weights_sha256,
)
from kdtrain.bundle.load import open_bundle
from kdtrain.model.output_stride import median_shorter_side, stride_for
from kdtrain.model.projector import Projection, build_projected
from kdtrain.phases.distill import labelled_loss
from kdtrain.shards.index import read_index
from kdtrain.training.trained import load_trained

pytest.importorskip("deepspeed", reason="needs DeepSpeed")


def distilled(shards: Path, teacher: Path, out: Path, *options: object) -> Path:
    """Distil to 2.5x on aux2."""
    given = ("--teacher", teacher, "--magnification", 2.5, "--train-on", "aux2", *options)
    return trained("distill", shards, out, *given)


@pytest.fixture(scope="module")
def narrow(shards, teacher, tmp_path_factory) -> Path:
    """A student of half the width, at stride 8, with the small stem."""
    out = tmp_path_factory.mktemp("runs") / "narrow"
    return distilled(shards, teacher, out, *NARROW)


NARROW = ("--width", 0.5, "--output-stride", 8, "--stem", "small", "--epochs", 3)


def test_a_projector_is_trained_and_left_out(narrow):
    """It moves with its optimizer state in the checkpoint; the published network is 128 channels wide and has none."""
    newest = max((narrow / "checkpoints").iterdir())
    state = load_file(newest / "model.safetensors")
    assert state["projector.weight"].shape == (256, 128, 1, 1)
    first = build_projected(load_trained(narrow, what="run").network.spec, Projection(channels=256), seed=0)
    assert not torch.equal(state["projector.weight"], first.state_dict()["projector.weight"])
    assert "projector.weight/exp_avg" in load_file(newest / "optimizer.safetensors")
    assert "projector.weight" not in weights(narrow)
    network = record_of(narrow)["network"]
    assert (network["width"], network["stem"], network["output_stride"]) == (0.5, "small", 8)
    assert weights(narrow)["fc.weight"].shape[1] == 128


def test_a_run_with_a_projector_resumes_to_the_same_bytes(shards, teacher, narrow, tmp_path):
    """Set back by an epoch, it ends with the weights, projector included, and the log that it had."""
    again = tmp_path / "again"
    shutil.copytree(narrow, again)
    newest = max((again / "checkpoints").iterdir())
    digest = (newest / "SHA256SUMS").read_bytes()
    shutil.rmtree(newest)
    distilled(shards, teacher, again, *NARROW)
    assert (newest / "SHA256SUMS").read_bytes() == digest
    assert weights_sha256(again) == weights_sha256(narrow)
    assert [line["loss"] for line in log_of(again)] == [line["loss"] for line in log_of(narrow)]


def test_a_students_shape_goes_with_it(shards, narrow, tmp_path):
    """Fine-tuning, evaluation and export take the narrow network as it is."""
    tuned = trained("finetune", shards, tmp_path / "tuned", "--student", narrow)
    assert record_of(tuned)["network"] == record_of(narrow)["network"]
    bundle = open_bundle(exported(evaluated(tuned, shards), tmp_path / "bundle", "--shards", shards))
    assert (bundle.network.width, bundle.network.stem) == (0.5, "small")
    assert bundle.document.architecture.feature_channels == 128


def test_without_maps_to_compare_there_is_no_projector(shards, teacher, tmp_path):
    """With --resize none the loss reads logits alone."""
    run = distilled(shards, teacher, tmp_path / "run", "--width", 0.5, "--resize", "none")
    assert "projector.weight" not in load_file(max((run / "checkpoints").iterdir()) / "model.safetensors")


def test_a_student_may_be_another_model(shards, teacher, tmp_path):
    """A resnet18, whose 512 channels are projected to the teacher's 256."""
    run = distilled(shards, teacher, tmp_path / "run", "--model", "resnet18", "--epochs", 1)
    assert record_of(run)["network"]["model"] == "resnet18"
    assert weights(run)["fc.weight"].shape[1] == 512


def test_a_student_of_another_shape_cannot_start_from_the_teacher(shards, teacher, tmp_path):
    """The message names both shapes and the options."""
    options = ("--teacher", teacher, "--magnification", 2.5, "--start-from", "teacher", "--width", 0.5)
    refused = kdtrain("distill", "--shards", shards, "--out", tmp_path / "run", *QUICK, *options)
    assert refused.code == 2
    said = " ".join(refused.said.split())
    assert "the teacher is a resnet10 of width 1" in said
    assert "the student a resnet10 of width 0.5" in said


def test_auto_chooses_by_the_images_and_says_so(shards, tmp_path):
    """The stride of the record is the one that leaves 8 cells, and the run says what it was chosen by."""
    out = tmp_path / "run"
    options = ("--magnification", 2.5, "--output-stride", "auto", "--epochs", 1)
    run = kdtrain("baseline", "--shards", shards, "--out", out, *QUICK, *options)
    assert run.code == 0, run.said
    record = record_of(out)
    index = read_index(shards)
    sizes = [size for shard in index.shards_of("train") for size in index.sizes_of(shard, 2.5)]
    assert record["network"]["output_stride"] == stride_for(median_shorter_side(sizes))
    assert record["settings"]["output_stride"] == "auto"
    assert "--output-stride auto: output stride 4 leaves 8 cells on the 32 px" in run.said
    assert record["output_stride_chosen"] == {"stride": 4, "cells": 8, "median_shorter_side_px": 32}


def test_a_run_whose_stride_was_given_has_the_record_that_it_ever_had(narrow):
    """No word of a choice that was none."""
    assert set(record_of(narrow)) == {"settings", "shard_set", "network", "other_settings", "versions"}


# Losses beside the paper's


def test_labels_are_learned_from_where_there_are_some(shards, teacher, tmp_path):
    """Of train and aux1, the labelled part adds its cross-entropy; without the weight no label is in the log."""
    options = ("--train-on", "train,aux1", "--label-weight", 0.5)
    run = trained("distill", shards, tmp_path / "a", "--teacher", teacher, "--magnification", 2.5, *options)
    steps = [line for line in log_of(run) if line["kind"] == "step"]
    assert all(
        line["loss"] == pytest.approx(line["loss_soft"] + line["loss_pixel"] + 0.5 * line["loss_label"])
        for line in steps
    )
    assert any(line["loss_label"] > 0 for line in steps)
    assert record_of(run)["settings"]["label_weight"] == 0.5


def test_a_label_counts_once_and_a_missing_one_nothing():
    """Of three samples the middle one has no label: -log of 3/4 and of 1/2, summed."""
    logits = torch.log(torch.tensor([[3.0, 1.0], [9.0, 1.0], [2.0, 2.0]]))
    expected = -math.log(3 / 4) - math.log(1 / 2)
    assert labelled_loss([0, None, 1], logits).item() == pytest.approx(expected, rel=1e-6)
    assert labelled_loss([None, None, None], logits).item() == 0


@pytest.mark.parametrize("hint", ["cosine", "attention"])
def test_other_hints_train(shards, teacher, tmp_path, hint):
    """Attention needs no projector for a narrow student, cosine does."""
    run = distilled(shards, teacher, tmp_path / "run", "--hint", hint, "--width", 0.25)
    assert all(line["loss_pixel"] > 0 for line in log_of(run) if line["kind"] == "step")
    names = load_file(max((run / "checkpoints").iterdir()) / "model.safetensors")
    assert ("projector.weight" in names) == (hint == "cosine")


def test_an_average_is_validated_published_and_resumed(shards, teacher, narrow, tmp_path):
    """With --ema the published network is the checkpoint's average; set back by an epoch it ends in the same bytes."""
    options = (*NARROW, "--ema", 0.9, "--validate-on", "none")
    run = distilled(shards, teacher, tmp_path / "run", *options)
    newest = max((run / "checkpoints").iterdir())
    average = load_file(newest / "average.safetensors")
    assert all(torch.equal(tensor, average[name]) for name, tensor in weights(run).items())
    plain = load_file(newest / "model.safetensors")
    assert not torch.equal(plain["fc.weight"], average["fc.weight"])
    digest, published = (newest / "SHA256SUMS").read_bytes(), weights_sha256(run)
    shutil.rmtree(newest)
    distilled(shards, teacher, run, *options)
    assert (newest / "SHA256SUMS").read_bytes() == digest
    assert weights_sha256(run) == published
    # What is trained is the same network as without an average.
    without = load_file(max((narrow / "checkpoints").iterdir()) / "model.safetensors")
    assert torch.equal(plain["conv1.weight"], without["conv1.weight"])


def as_before(run: Path) -> None:
    """Make a finished run one that was begun when the default was the paper's stride, or the teacher's."""
    record = record_of(run)
    record["settings"]["output_stride"] = 32 if record["settings"]["phase"] != "distill" else None
    record.pop("output_stride_chosen", None)
    (run / "run.json").write_text(json.dumps(record))


def test_runs_begun_before_auto_was_the_default_go_on(shards, teacher, tmp_path):
    """A baseline and a student of stride 32, begun without the option, end as they are and keep their stride."""
    baseline, student = tmp_path / "baseline", tmp_path / "student"
    at_32 = ("--output-stride", 32, "--epochs", 1)
    trained("baseline", shards, baseline, "--magnification", 2.5, *at_32)
    distilled(shards, teacher, student, *at_32)
    for run in (baseline, student):
        as_before(run)
    before = [weights_sha256(run) for run in (baseline, student)]
    trained("baseline", shards, baseline, "--magnification", 2.5, "--epochs", 1)
    distilled(shards, teacher, student, "--epochs", 1)
    assert [weights_sha256(run) for run in (baseline, student)] == before
    assert [record_of(run)["network"]["output_stride"] for run in (baseline, student)] == [32, 32]


def test_without_the_option_a_student_fits_its_images(shards, teacher, tmp_path):
    """The rule chooses, and the record says so; a student of a cache follows the cache, whatever that was made for."""
    student = distilled(shards, teacher, tmp_path / "student", "--epochs", 1)
    assert record_of(student)["output_stride_chosen"] == {
        "stride": 4,
        "cells": 8,
        "median_shorter_side_px": 32,
    }
    cache = cached(shards, teacher, tmp_path / "cache", "--output-stride", 16)
    followed = tmp_path / "followed"
    assert distil(shards, followed, "--teacher-cache", cache, "--epochs", 1).code == 0
    assert record_of(followed)["network"]["output_stride"] == 16
    assert "output_stride_chosen" not in record_of(followed)


def test_a_cache_goes_on_with_the_stride_it_was_begun_for(shards, teacher, tmp_path):
    """Begun for stride 16, the same command without the option writes nothing new and refuses nothing."""
    cache = cached(shards, teacher, tmp_path / "cache", "--output-stride", 16)
    before = (cache / "cache.json").read_bytes()
    options = cache_options(shards, teacher, cache)
    place = options.index("--output-stride")
    again = kdtrain("cache-teacher", *options[:place], *options[place + 2 :])
    assert again.code == 0, again.said
    assert (cache / "cache.json").read_bytes() == before
