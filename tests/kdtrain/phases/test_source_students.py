"""Students of a teacher that is no run: what they learn, what is refused, and what becomes of a feature network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fixtures.sources import Means, source_cached
from fixtures.teacher_caches import distil
from fixtures.training_runs import kdtrain, log_of, record_of, trained, weights, weights_sha256
from kdtrain.model.resnet import build_from
from kdtrain.training.trained import load_trained

pytest.importorskip("deepspeed", reason="needs DeepSpeed")


@pytest.fixture(scope="module")
def caches(shards, tmp_path_factory) -> dict[str, Path]:
    """One without logits, one with, one of features that turn their maps; nobody changes them."""
    folder = tmp_path_factory.mktemp("caches")
    sources = {
        "features": Means(stride=16, blind=0.25),
        "logits": Means(stride=16, logits=True),
        "map": Means(stride=16, turns=True),
    }
    for name, source in sources.items():
        source_cached(shards, folder / name, source, output_stride=16)
    return {name: folder / name for name in sources}


@pytest.fixture(scope="module")
def feature_network(shards, caches, tmp_path_factory) -> Path:
    """A student of the cache without logits; nobody changes it."""
    out = tmp_path_factory.mktemp("runs") / "student"
    return student(shards, out, caches["features"])


def student(shards: Path, out: Path, cache: Path, *options: object) -> Path:
    """Distil to 2.5x for two epochs."""
    common = ("--magnification", 2.5, "--train-on", "aux2", "--width", 0.25, "--epochs", 2)
    return trained("distill", shards, out, "--teacher-cache", cache, *common, *options)


@pytest.mark.parametrize(("name", "hint"), [("features", "cosine"), ("logits", "mse"), ("map", "cosine")])
def test_a_student_learns_from_any_cache(shards, caches, tmp_path, name, hint):
    """It ends in files without the projector, with classes exactly where its teacher has some, and the same again."""
    run = student(shards, tmp_path / "one", caches[name], "--hint", hint)
    record, tensors = record_of(run), weights(run)
    assert not any(key.startswith("projector") for key in tensors)
    assert ("fc.weight" in tensors) == (name == "logits")
    assert record["network"]["classes"] == (record["shard_set"]["classes"] if name == "logits" else [])
    assert record["shard_set"]["teacher"]["name"] == "fixtures.sources:Means"
    assert record["shard_set"]["teacher_cache"]["augments"] == ("map" if name == "map" else "image")
    parts = {"soft", "pixel"} if name == "logits" else {"pixel"}
    steps = [line for line in log_of(run) if line["kind"] == "step"]
    validations = [line for line in log_of(run) if line["kind"] == "validation"]
    assert len(validations) == 2
    assert all(parts == {key[5:] for key in line if key.startswith("loss_")} for line in steps)
    assert all(parts == {"soft", "pixel"} & line.keys() for line in validations)
    again = student(shards, tmp_path / "two", caches[name], "--hint", hint)
    assert weights_sha256(again) == weights_sha256(run)


def test_micro_batches_change_rounding_alone(shards, caches, tmp_path):
    """Two samples at once, one of which its teacher saw three quarters of, give the losses of one after the other."""
    options = ("--optimizer", "sgd", "--lr", "1e-4")
    runs = [
        student(shards, tmp_path / str(batch), caches["features"], "--micro-batch", batch, *options)
        for batch in (1, 2)
    ]
    one, two = ([line["loss"] for line in log_of(run) if "loss" in line] for run in runs)
    assert two == pytest.approx(one, rel=1e-5)


def test_a_student_that_is_stopped_goes_on(shards, caches, feature_network, tmp_path):
    """After one epoch of two, the same command ends with the very network of a run that was not stopped."""
    out = tmp_path / "run"
    student(shards, out, caches["features"], "--epochs", 1, "--schedule", "constant")
    student(shards, out, caches["features"])
    assert weights_sha256(out) == weights_sha256(feature_network)


def test_labels_may_teach_beside_features(shards, caches, tmp_path):
    """With --label-weight the student has the set's classes, and its parts are the map's and the label's."""
    cache = tmp_path / "cache"
    source_cached(shards, cache, Means(stride=16), output_stride=16, train_on=("train",))
    run = student(shards, tmp_path / "run", cache, "--label-weight", 1, "--train-on", "train")
    assert "fc.weight" in weights(run)
    steps = [line for line in log_of(run) if line["kind"] == "step"]
    assert {key for key in steps[0] if key.startswith("loss_")} == {"loss_pixel", "loss_label"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--resize", "none"),
            "--resize none: the vectors of fixtures.sources:Means lie on the student's map already",
        ),
        (
            ("--hint", "attention"),
            "--hint attention: cells of fixtures.sources:Means may be without a vector",
        ),
        (
            ("--soft-weight", 2),
            "--soft-weight 2: fixtures.sources:Means gives no logits, so there is no soft loss",
        ),
        (("--temperature", 2), "--temperature 2: fixtures.sources:Means gives no logits"),
        (
            ("--pixel-weight", 0),
            "--pixel-weight 0: fixtures.sources:Means gives no logits, and without its map",
        ),
        (("--jitter", "0,0,0,0"), "this makes one that fits: kdtrain cache-teacher"),
        (("--output-stride", 32), "--output-stride: 16 there, 32 here"),
    ],
)
def test_what_has_no_meaning_is_refused(shards, caches, tmp_path, options, message):
    """Settings of eq. 2 and 3 that such a cache leaves nothing to do, and caches for something else: exit code 2."""
    run = distil(shards, tmp_path / "run", "--teacher-cache", caches["features"], *options)
    assert run.code == 2
    assert message in run.said
    assert not (tmp_path / "run").exists()


def test_a_run_is_another_teacher(shards, caches, teacher, tmp_path):
    """--teacher beside the cache of a source is refused: it is no run; the command that would fit names the source."""
    run = distil(shards, tmp_path / "run", "--teacher-cache", caches["features"], "--teacher", teacher)
    assert run.code == 2
    assert "fixtures.sources:Means, which is no run, there, and --teacher here (rule T17 teacher)" in run.said
    assert "kdtrain cache-teacher --shards" in run.said and "--from fixtures.sources:Means" in run.said
    assert run.said.endswith("with the options of its own that cache.json has under teacher.settings")


# What becomes of a feature network


def test_fine_tuning_makes_the_classifier(shards, feature_network, tmp_path):
    """Its body is the student's to the bit, its layer begins with the seed's weights, and the record says so."""
    run = trained("finetune", shards, tmp_path / "tuned", "--student", feature_network, "--seed", 3)
    body = {name: tensor for name, tensor in weights(run).items() if not name.startswith("fc.")}
    assert body.keys() == weights(feature_network).keys()
    assert all(torch.equal(tensor, body[name]) for name, tensor in weights(feature_network).items())
    first = build_from(load_trained(run, what="RUN").network.spec, seed=3).fc.weight
    assert (weights(run)["fc.weight"] - first).abs().max() < 0.01
    assert not torch.equal(weights(run)["fc.weight"], first)
    record = record_of(run)
    assert record["shard_set"]["student"]["feature_network"] is True
    assert record["network"]["classes"] == record["shard_set"]["classes"]
    assert "unfreeze" not in record["settings"]
    done = kdtrain("evaluate", run, "--shards", shards, "--workers", 0, "--iterations", 100)
    assert done.code == 0, done.said


def test_unfrozen_everything_moves(shards, feature_network, tmp_path):
    """With --unfreeze no weight of the body stays, the record has the setting, and the same command gives the same."""
    options = ("--student", feature_network, "--unfreeze")
    run = trained("finetune", shards, tmp_path / "one", *options)
    convolutions = [name for name in weights(run) if name.endswith("conv1.weight")]
    assert all(not torch.equal(weights(run)[name], weights(feature_network)[name]) for name in convolutions)
    assert record_of(run)["settings"]["unfreeze"] is True
    assert weights_sha256(trained("finetune", shards, tmp_path / "two", *options)) == weights_sha256(run)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ("evaluate", "{run}", "--shards", "{shards}"),
            "make a classifier of it by 'kdtrain finetune', or measure",
        ),
        (
            ("export", "{run}", "--out", "{out}"),
            "is a feature network, which knows no classes, and a bundle answers",
        ),
        (
            (
                "distill",
                "--teacher",
                "{run}",
                "--shards",
                "{shards}",
                "--magnification",
                2.5,
                "--out",
                "{out}",
            ),
            "is a feature network, which gives no logits; give the run of 'kdtrain finetune'",
        ),
    ],
)
def test_what_needs_classes_says_so(shards, feature_network, tmp_path, command, message):
    """Measured, exported or made a teacher before it has a classifier: exit code 2, and what to do."""
    places = {"{run}": feature_network, "{shards}": shards, "{out}": tmp_path / "out"}
    run = kdtrain(*(places.get(word, word) for word in command))
    assert run.code == 2
    assert message in run.said
    assert not (tmp_path / "out").exists()


def test_what_comes_next_is_said(shards, caches, feature_network):
    """A feature network's last lines are the probe and the fine-tuning, since it cannot be evaluated."""
    options = ("--teacher-cache", caches["features"], "--width", 0.25, "--epochs", 2)
    said = distil(shards, feature_network, *options).said
    assert f"next kdtrain evaluate {feature_network} --shards DIR --probe" in said
    assert f"or kdtrain finetune --student {feature_network} --shards DIR --out RUN" in said
