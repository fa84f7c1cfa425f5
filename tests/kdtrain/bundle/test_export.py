"""kdtrain export: a bundle whole or not at all, of every kind of run, and nothing in it that should not be."""

from __future__ import annotations

import csv
import json
import os
import shutil
from errno import ENOSPC
from pathlib import Path

import numpy as np
import pytest

from fixtures.locks import held_elsewhere
from fixtures.shard_reader import read_shard
from fixtures.training_runs import exported, kdtrain, record_of, trained, weights_sha256
from kdtrain import load_bundle
from kdtrain.bundle.card import card
from kdtrain.bundle.describe import default_name, describe
from kdtrain.bundle.document import BundleDocument
from kdtrain.bundle.entries import AgreementEntry
from kdtrain.bundle.export import _remove_leftovers, _write
from kdtrain.bundle.source import measure_training_data, read_source
from kdtrain.shards.index import read_index

FILES = ["README.md", "bundle.json", "model.onnx", "model.safetensors"]


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file's content."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refusal(*arguments: object) -> str:
    """What an export says that is refused before any work."""
    run = kdtrain("export", *arguments)
    assert run.code == 2, run.said
    return run.said


@pytest.fixture
def copy(evaluated_teacher, tmp_path):
    """A run that a test may change."""
    return shutil.copytree(evaluated_teacher, tmp_path / "run")


def test_a_bundle_is_four_files(bundle, evaluated_teacher):
    """The weights are the run's to the last byte."""
    assert sorted(bytes_of(bundle)) == FILES
    assert (bundle / "model.safetensors").read_bytes() == (
        evaluated_teacher / "model.safetensors"
    ).read_bytes()


def test_the_same_run_gives_the_same_bytes(bundle, evaluated_teacher, tmp_path):
    """Without --shards: the set is found where it was. An empty folder may be there; nothing else is left beside it."""
    (tmp_path / "again").mkdir()
    exported(evaluated_teacher, tmp_path / "again")
    assert bytes_of(tmp_path / "again") == bytes_of(bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_a_disk_that_is_full_leaves_nothing(tmp_path, monkeypatch):
    """The folder is there whole or not at all."""

    def full(descriptor):
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr("kdtrain.bundle.export.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        _write(tmp_path / "bundle", {"a": b"a"})
    assert list(tmp_path.iterdir()) == []


def test_others_can_read_it_and_a_killed_export_is_in_no_ones_way(bundle, tmp_path):
    """The folder has the rights of any new folder; what lies beside it, under whatever name, does not matter."""
    (tmp_path / "new").mkdir()
    assert bundle.stat().st_mode == (tmp_path / "new").stat().st_mode
    (tmp_path / f".bundle.{os.getpid()}.kdtrain-export").mkdir()
    _write(tmp_path / "bundle", {"a": b"a"})
    assert bytes_of(tmp_path / "bundle") == {"a": b"a"}


def test_two_exports_to_one_folder_are_never_at_work_together(evaluated_teacher, tmp_path):
    """The second is refused, naming the first; nothing of either is left beside the folder."""
    out = tmp_path / "bundle"
    with held_elsewhere(tmp_path / ".bundle.kdtrain-export.lock", "kdtrain export", out) as other:
        said = refusal(evaluated_teacher, "--out", out)
    assert f"another 'kdtrain export' writes to {out} (process {other.pid} on" in said
    assert list(tmp_path.iterdir()) == []


def test_what_killed_exports_left_is_removed(tmp_path):
    """Folders of exports to this name alone, as the temporary ones are called; others' and a person's stay."""
    kept = [
        ".bundle2.abcdefgh.kdtrain-export",
        ".bundle.x.abcdefgh.kdtrain-export",
        ".bundle.mine.kdtrain-export",
    ]
    for name in (*kept, ".bundle.abcd_f9h.kdtrain-export"):
        (tmp_path / name / "bundle").mkdir(parents=True)
    _remove_leftovers(tmp_path / "bundle")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_the_folder_one_is_in_cannot_be_the_bundle(evaluated_teacher, tmp_path, monkeypatch):
    """It would be another one afterwards than the one the shell is in."""
    monkeypatch.chdir(tmp_path)
    assert "is the folder you are in" in refusal(evaluated_teacher, "--out", ".")


def test_the_document_says_where_it_comes_from(bundle, evaluated_teacher, shards):
    """Identity of set, weights and metrics; settings of set and run; counts of the split trained on."""
    document = load_bundle(bundle).document
    index, run = read_index(shards), record_of(evaluated_teacher)
    assert document.training.shard_set_sha256 == index.sha256
    assert document.slides == index.document.config == {"seed": 0}
    assert document.training.settings == run["settings"]
    assert document.training.train_on == ("train",)
    assert document.training.splits["train"].samples == 5
    assert document.training_data.images == 5
    assert document.files["model.safetensors"].sha256 == weights_sha256(evaluated_teacher)
    metrics = json.loads((evaluated_teacher / "evaluation-test" / "metrics.json").read_text())
    assert document.metrics is not None
    slide = document.metrics.levels["slide"]
    assert slide.plain_accuracy.value == metrics["levels"]["slide"]["plain_accuracy"]["value"]
    assert [list(row) for row in slide.confusion] == metrics["levels"]["slide"]["confusion"]
    assert list(document.metrics.levels) == ["sample", "slide", "patient"]


def test_the_graph_says_what_evaluation_said(bundle, evaluated_teacher, shards):
    """Of every image of the test split, within 1e-5: the numbers on the card are those of this file."""
    loaded, index = load_bundle(bundle), read_index(shards)
    runtime = loaded.runtime(backend="onnx", device="cpu")
    lines = (evaluated_teacher / "evaluation-test" / "predictions.csv").read_text().splitlines()
    rows = {row["key"]: row for row in csv.DictReader(line for line in lines if not line.startswith("#"))}
    for sample in (
        s for shard in index.shards_of("test") for s in read_shard(index, shard, magnification=10)
    ):
        row = rows.pop(sample.key)
        said = [float(row[f"p_{name}"]) for name in loaded.classes]
        np.testing.assert_allclose(runtime.infer(sample.image[None]).probabilities_BK[0], said, atol=1e-5)
    assert rows == {}


def test_no_file_says_who_or_where(bundle, evaluated_teacher, shards):
    """No slide, no patient, no path, no pickle; the weights are raw tensors and the graph is protobuf."""
    names = {
        "train-0",
        "test-0",
        "P-train",
        "P-test",
        "0.svs",
        str(evaluated_teacher),
        str(shards),
        str(bundle),
    }
    for name, data in bytes_of(bundle).items():
        found = [text for text in names if text.encode() in data]
        assert found == [], name
        assert b"torch.storage" not in data
        assert not data.startswith((b"\x80\x02", b"\x80\x04", b"PK"))


def described(run: Path) -> BundleDocument:
    """What a bundle of an unevaluated run would say, without its graph."""
    source = read_source(run, shards=None, split="test", unevaluated=True)
    network = source.trained.network
    return describe(
        source,
        name=default_name(source.trained),
        data=measure_training_data(source.index, source.train_on, network.magnification),
        opset=20,
        agreement=AgreementEntry(images=((1, 5, 5),), probabilities=0, logits=0, feature_map=0),
        files={"model.safetensors": b"weights"},
    )


@pytest.fixture(scope="module")
def student(shards, teacher, tmp_path_factory) -> Path:
    """Distilled on labelled and unlabelled images."""
    sets = ("--magnification", 2.5, "--train-on", "train,aux1")
    return trained(
        "distill", shards, tmp_path_factory.mktemp("runs") / "student", "--teacher", teacher, *sets
    )


def test_a_student_names_its_teacher(student, teacher):
    """By its weights; both sets that it was distilled on are measured and counted."""
    document = described(student)
    assert (document.name, document.training.role) == ("student-2.5x-resnet10", "student")
    assert document.training.teacher is not None
    assert document.training.teacher.weights_sha256 == weights_sha256(teacher)
    assert document.training.teacher.magnification == 10
    assert document.training.train_on == ("train", "aux1")
    assert document.training.splits["aux1"].per_class is None
    assert (document.training_data.images, document.input.magnification) == (8, 2.5)
    assert "learned from the answers of a teacher at 10x" in card(document, license_id=None, notes=None)


def test_a_tuned_student_names_the_student(student, shards, tmp_path):
    """By its weights, and the card says that what those were trained on is not known."""
    document = described(trained("finetune", shards, tmp_path / "tuned", "--student", student))
    assert document.name == "fine-tuned-student-2.5x-resnet10"
    assert document.training.started_from == weights_sha256(student)
    assert document.training.teacher is None
    text = card(document, license_id=None, notes=None)
    assert f"went on from the weights `{weights_sha256(student)}`" in text


def test_a_baseline_is_called_one(shards, tmp_path):
    """It had no teacher."""
    document = described(trained("baseline", shards, tmp_path / "run", "--magnification", 2.5))
    assert (document.training.role, document.training.teacher) == ("baseline", None)


def test_a_run_that_was_not_evaluated_is_refused(teacher, shards, bundle, tmp_path, monkeypatch):
    """With the command to run; --unevaluated exports it, and the card says so first."""
    # Of the same weights, and it takes seconds to make; that it is the network is checked all the same.
    graph = (bundle / "model.onnx").read_bytes()
    monkeypatch.setattr("kdtrain.bundle.export.onnx_bytes", lambda model, network: graph)
    said = refusal(teacher, "--out", tmp_path / "bundle")
    assert f"run 'kdtrain evaluate {teacher} --shards {shards} --split test'" in said
    folder = exported(teacher, tmp_path / "bundle", "--unevaluated")
    assert load_bundle(folder).document.metrics is None
    card = (folder / "README.md").read_text()
    assert card.index("**Not evaluated.**") < card.index("## How to use it")


def test_metrics_of_other_weights_are_refused(copy, tmp_path):
    """A run that was trained further was not measured as it is."""
    path = copy / "evaluation-test" / "metrics.json"
    path.write_text(path.read_text().replace(weights_sha256(copy), "0" * 64))
    assert "measured other weights" in refusal(copy, "--out", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("part", [None, "levels", "cost", "weights_sha256"])
def test_damaged_metrics_are_refused_before_any_work(copy, tmp_path, part):
    """No JSON, or a part is missing or of another kind: evaluating again is the way out."""
    path = copy / "evaluation-test" / "metrics.json"
    whole = json.loads(path.read_text())
    for text in (
        ("{",) if part is None else (json.dumps({**whole, part: 1}), json.dumps(whole).replace(part, "x"))
    ):
        path.write_text(text)
        said = refusal(copy, "--out", tmp_path / "bundle")
        assert "metrics.json is damaged" in said
        assert "run 'kdtrain evaluate" in said


def test_a_set_that_has_changed_is_refused(evaluated_teacher, shards, tmp_path):
    """Its images may not be those of training; so is a folder that holds no set."""
    changed = shutil.copytree(shards, tmp_path / "set")
    index = json.loads((changed / "index.json").read_text())
    (changed / "index.json").write_text(json.dumps({**index, "config": {"seed": 1}}))
    said = refusal(evaluated_teacher, "--shards", changed, "--out", tmp_path / "bundle")
    assert "is not the set that RUN" in said
    assert "is no shard set" in refusal(evaluated_teacher, "--shards", tmp_path, "--out", tmp_path / "bundle")


def test_a_set_that_was_moved_must_be_named(copy, tmp_path):
    """Where the run's record points to nothing."""
    record = record_of(copy)
    record["other_settings"]["shards"] = str(tmp_path / "gone")
    (copy / "run.json").write_text(json.dumps(record))
    assert "pass its present place by --shards DIR" in refusal(copy, "--out", tmp_path / "bundle")


def test_nothing_is_overwritten(evaluated_teacher, tmp_path):
    """A folder with anything in it stays as it is."""
    (tmp_path / "precious.txt").write_text("mine")
    assert "is not empty" in refusal(evaluated_teacher, "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_the_same_command_again_finds_its_bundle(evaluated_teacher, bundle, tmp_path):
    """As after a kill at the last moment: nothing is written anew. Another bundle is refused by what differs."""
    out = shutil.copytree(bundle, tmp_path / "bundle")
    written = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    exported(evaluated_teacher, out)
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == written
    said = " ".join(refusal(evaluated_teacher, "--out", out, "--name", "other").split())
    assert "holds another bundle (of which bundle.json, README.md would differ)" in said
    (out / "model.safetensors").write_bytes(b"another network")
    said = " ".join(refusal(evaluated_teacher, "--out", out).split())
    assert "holds another bundle (of which model.safetensors would differ)" in said
    assert (out / "model.safetensors").read_bytes() == b"another network"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--name", "a b"), "--name 'a b'"),
        (("--license", "do what you want"), "no SPDX identifier"),
        (("--notes", "none.md"), "--notes none.md cannot be read"),
        (("--split", "val"), "was not evaluated on 'val'"),
    ],
)
def test_wrong_options_are_refused_at_once(evaluated_teacher, tmp_path, options, words):
    """Before any work."""
    assert words in refusal(evaluated_teacher, "--out", tmp_path / "bundle", *options)
    assert not (tmp_path / "bundle").exists()


def test_a_folder_that_is_no_run_is_refused(shards, tmp_path):
    """With what to give instead."""
    assert "is no run" in refusal(shards, "--out", tmp_path / "bundle")
