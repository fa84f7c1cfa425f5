"""One stain from training to prediction: estimated once, kept in the record, the same for whatever learns from it."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fixtures.slides import picture
from fixtures.teacher_caches import VIEWS, cached, distil, edit_json
from fixtures.training_runs import (
    QUICK,
    evaluated,
    kdtrain,
    log_of,
    record_of,
    trained,
    weights_sha256,
    write_training_set,
)
from kdtrain import load_bundle, load_network
from kdtrain.bundle.card import card
from kdtrain.bundle.describe import describe
from kdtrain.bundle.onnx import metadata_of
from kdtrain.bundle.runtime import Inference
from kdtrain.bundle.source import read_source
from kdtrain.config.phases import TeacherConfig
from kdtrain.data.stream import EvaluationStream
from kdtrain.data.teacher_cache import view
from kdtrain.errors import UsageError
from kdtrain.model.network import Network
from kdtrain.model.stain.normalise import normalise
from kdtrain.model.stain.target import StainTarget, stain_of
from kdtrain.phases import stain
from kdtrain.predict.answers.classify import classify_region
from kdtrain.predict.answers.slide_images import ReadRegion
from kdtrain.predict.vectors.encoder import open_encoder
from kdtrain.shards.index import read_index

pytest.importorskip("deepspeed", reason="needs DeepSpeed")

REINHARD = ("--stain-normalization", "reinhard")
LOW = ("--magnification", 2.5, "--output-stride", 32)


@pytest.fixture(scope="module")
def stained(shards, tmp_path_factory) -> Path:
    """A teacher at 10x of normalised stain."""
    out = tmp_path_factory.mktemp("runs") / "teacher"
    return trained("teacher", shards, out, "--output-stride", 32, *REINHARD)


@pytest.fixture(scope="module")
def stained_bundle(stained, teacher, bundle, tmp_path_factory) -> Path:
    """A bundle that says the stain of that run, of other weights, and beside it the run of these weights."""
    folder = tmp_path_factory.mktemp("bundles")
    shutil.copytree(teacher, folder / "run")
    shutil.copytree(bundle, folder / "bundle")
    record = record_of(stained)["network"]["stain"]
    edit_json(folder / "run" / "run.json", lambda run: run["network"].update(stain=record))
    edit_json(folder / "bundle" / "bundle.json", lambda content: content["input"].update(stain=record))
    edit_json(folder / "bundle" / "bundle.json", lambda content: content.update(version=[2, 0]))
    return folder / "bundle"


def target_of_run(run: Path) -> StainTarget:
    """The stain in a run's record."""
    target = Network.of(record_of(run)["network"]).stain
    assert target is not None
    return target


def refusal(*arguments: object) -> str:
    """What a command says that is refused before any work."""
    run = kdtrain(*arguments)
    assert run.code == 2, run.said
    return run.said


def test_the_target_is_the_median_of_the_training_images(shards, stained):
    """Of all five of them, number by number; it is in run.json and in the settings."""
    index = read_index(shards)
    stream = EvaluationStream(index, "train", [10.0])
    stains = [stain_of(s.images[10.0].permute(1, 2, 0).numpy(), "reinhard", 10.0) for s in stream]
    found = target_of_run(stained)
    assert (found.images, found.left) == (5, 0)
    assert found.stain.mean == pytest.approx(np.median([one.mean for one in stains], axis=0), rel=1e-5)
    assert record_of(stained)["settings"]["stain_normalization"] == "reinhard"


def test_of_many_images_evenly_spaced_ones_are_looked_at(shards, monkeypatch):
    """Three of five: the first, the second and the fourth."""
    monkeypatch.setattr(stain, "MOST_ESTIMATED", 3)
    seen = []
    monkeypatch.setattr(stain, "stain_of", lambda image, *_: seen.append(image.shape) or None)
    with pytest.raises(UsageError, match=r"none of 3 training images .* leave it out"):
        stain._estimated(read_index(shards), _config(shards), 10.0, "macenko")
    sizes = read_index(shards).sizes_of(read_index(shards).shards_of("train")[0], 10.0)
    assert seen[:2] == [(height, width, 3) for width, height in sizes[:2]]
    assert len(seen) == 3


def _config(shards: Path) -> TeacherConfig:
    """A teacher's, by Macenko's method."""
    return TeacherConfig(shards=shards, out=Path("run"), stain_normalization="macenko")


def test_a_run_goes_on_with_the_stain_that_it_was_begun_with(shards, stained, tmp_path, monkeypatch):
    """No image is looked at again, and a lengthened run ends with the weights of one of that length."""
    run = Path(shutil.copytree(stained, tmp_path / "run"))
    monkeypatch.setattr(stain, "_estimated", lambda *_: pytest.fail("estimated again"))
    longer = ("--epochs", 2)
    trained("teacher", shards, run, "--output-stride", 32, *REINHARD, *longer)
    monkeypatch.undo()
    whole = trained("teacher", shards, tmp_path / "whole", "--output-stride", 32, *REINHARD, *longer)
    assert weights_sha256(run) == weights_sha256(whole)
    assert record_of(run)["network"] == record_of(stained)["network"]


def test_a_run_without_it_is_as_it_always_was(shards, teacher, tmp_path):
    """Said or left out: the same weights, and nothing of it in the record."""
    run = trained(
        "teacher", shards, tmp_path / "run", "--output-stride", 32, "--stain-normalization", "none",
        "--stain-augmentation", 0,
    )  # fmt: skip
    assert weights_sha256(run) == weights_sha256(teacher)
    assert record_of(run)["settings"] == record_of(teacher)["settings"]
    assert "stain" not in json.dumps(record_of(teacher))


def test_training_evaluation_and_prediction_see_the_same_pixels(shards, stained_bundle):
    """A run's answers, a program's, a bundle's of either library, and vectors: all of the image in the run's stain."""
    run = evaluated(stained_bundle.with_name("run"), shards)
    network, bundle = load_network(run), load_bundle(stained_bundle)
    runtimes = [bundle.runtime(backend=name, device="cpu") for name in ("onnx", "pytorch")]
    rows = answers_of(run)
    encoders = [open_encoder(folder, "auto", "cpu") for folder in (run, stained_bundle)]
    for sample in EvaluationStream(read_index(shards), "test", [10.0]):
        image = sample.images[10.0]
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        seen, wanted = bundle.restained(pixels), rows[sample.key]
        assert not seen.left
        assert (seen.image_HWC == normalise(pixels, target_of_run(run), 10.0).image_HWC).all()
        assert (seen.image_HWC != pixels).any()
        logits = network.module(network.normalise([image])).logits_BK.double()
        assert logits.softmax(1)[0].tolist() == pytest.approx(wanted, abs=1e-6)
        for runtime in runtimes:
            assert runtime.infer(seen.image_HWC[None]).probabilities_BK[0] == pytest.approx(wanted, abs=1e-4)
        of_run, of_bundle = (encoder.feature_map(pixels) for encoder in encoders)
        assert of_bundle == pytest.approx(of_run, abs=1e-3)


def answers_of(run: Path) -> dict[str, list[float]]:
    """Probabilities by key, in the order of the classes."""
    text = (run / "evaluation-test" / "predictions.csv").read_text()
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    names = record_of(run)["network"]["classes"]
    return {row["key"]: [float(row[f"p_{name}"]) for name in names] for row in rows}


def test_a_slides_regions_are_answered_in_the_bundles_stain(stained_bundle):
    """The network sees the image restained; one without tissue it sees as it is, and that is said of it."""
    bundle = load_bundle(stained_bundle)
    glass = np.full((64, 64, 3), 255, np.uint8)
    for pixels, said in ((picture(64, 64), 0), (glass, 1)):
        runtime = Asked()
        found = classify_region(region(pixels), runtime, lambda *_: (), bundle.restained)
        assert (runtime.image_HWC == bundle.restained(pixels).image_HWC).all()
        assert len(found.outside) == said
        assert all("too little tissue" in sentence for sentence in found.outside)


class Asked:
    """A runtime that keeps what it was asked, and answers the first of two classes."""

    name = "none"

    def infer(self, images_BHWC: np.ndarray) -> Inference:
        """Of one image."""
        self.image_HWC = images_BHWC[0]
        zeros = np.zeros((1, 2), np.float32)
        return Inference(zeros, zeros, np.zeros((1, 1, 1, 1), np.float32))


def region(pixels: np.ndarray) -> ReadRegion:
    """A region of these pixels."""
    height, width, _ = pixels.shape
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return ReadRegion(
        index=0,
        key="a-r0",
        x=0,
        y=0,
        width=width,
        height=height,
        image_width=width,
        image_height=height,
        image=buffer.getvalue(),
        image_format="png",
        display=None,
    )


def test_a_bundle_says_that_and_how_its_images_are_restained(stained, shards, bundle):
    """Version 2, which older readers refuse, the numbers of the run, a word in the card; other bundles as before."""
    source = read_source(stained, shards=shards, split="test", unevaluated=True)
    known = load_bundle(bundle).document
    files = dict.fromkeys(known.files, b"")
    document = describe(
        source, name="x", data=known.training_data, opset=18, agreement=known.onnx.agreement, files=files
    )
    content = json.loads(document.to_bytes())
    assert content["version"] == [2, 0]
    assert content["input"]["stain"] == record_of(stained)["network"]["stain"]
    assert "input.stain" in content["onnx"]["input"]["meaning"]
    assert "the method of Reinhard" in card(document, license_id=None, notes=None)
    before = json.loads((bundle / "bundle.json").read_text())
    assert before["version"] == [1, 2]
    assert "stain" not in before["input"]
    assert "normalised first" not in (bundle / "README.md").read_text()


def test_a_graph_without_its_bundle_says_its_stain(stained, teacher):
    """The metadata of model.onnx have the record of the run; of a network without one, no such key."""
    graphs = [metadata_of(Network.of(record_of(run)["network"])) for run in (stained, teacher)]
    assert StainTarget.of(json.loads(graphs[0]["stain"])) == target_of_run(stained)
    assert sorted(graphs[1]) == ["classes", "magnification", "mean", "std"]


def test_a_bundles_version_and_its_stain_go_together(stained_bundle, tmp_path):
    """A stain in version 1, none in version 2, or a damaged one, is refused."""
    copy = Path(shutil.copytree(stained_bundle, tmp_path / "copy"))
    whole = json.loads((copy / "bundle.json").read_text())
    for version, record, message in (
        ([1, 2], whole["input"]["stain"], r"version \[1, 2\]"),
        ([2, 0], None, r"version \[2, 0\]"),
        ([2, 0], {"method": "reinhard"}, "is damaged .*stain"),
    ):
        content = whole | {"version": version, "input": whole["input"] | {"stain": record}}
        (copy / "bundle.json").write_text(json.dumps(content))
        with pytest.raises(UsageError, match=message):
            load_bundle(copy)


def test_a_student_has_its_teachers_stain(shards, stained, tmp_path):
    """Left out or named: one run. Another is refused, and so is a decoder that normalises nothing."""
    common = ("--teacher", stained, "--output-stride", 32)
    out = tmp_path / "student"
    assert distil(shards, out, *common).code == 0
    assert target_of_run(out) == target_of_run(stained)
    again = distil(shards, out, *common, *REINHARD)
    assert again.code == 0, again.said
    assert "finished already" in again.said
    other = ("--shards", shards, "--out", tmp_path / "no", "--train-on", "aux2", *LOW, "--teacher", stained)
    said = refusal("distill", *other, *QUICK, "--stain-normalization", "none")
    assert f"--teacher {stained} has reinhard, and both must see a slide in one stain" in said
    assert "use --decode cpu" in refusal("distill", *other, *QUICK, "--decode", "device")
    assert not (tmp_path / "no").exists()
    tuned = trained("finetune", shards, tmp_path / "tuned", "--student", out)
    assert target_of_run(tuned) == target_of_run(stained)
    said = refusal(
        "finetune", "--shards", shards, "--out", tmp_path / "no", "--student", out, *QUICK,
        "--stain-normalization", "macenko",
    )  # fmt: skip
    assert "has reinhard" in said


def test_device_decoding_is_refused_before_any_work(shards, tmp_path):
    """The reason and what to give."""
    out = tmp_path / "run"
    said = refusal("teacher", "--shards", shards, "--out", out, *QUICK, *REINHARD, "--decode", "device")
    assert "--decode: leaves the loader's processes" in said
    assert "give cpu" in said


@pytest.mark.parametrize(("option", "who"), [("--wsinfer", "WSInfer"), ("--mlflow", "MLflow")])
def test_what_normalises_nothing_is_refused(shards, stained, tmp_path, option, who):
    """QuPath and an MLflow server would show the network an image's own stain."""
    said = refusal("export", stained, option, "--out", tmp_path / "x", "--shards", shards, "--unevaluated")
    assert f"was trained with --stain-normalization, and {who} shows" in said
    assert f"leave {option} out" in said


def test_a_cache_of_both_is_the_online_run(shards, stained, tmp_path, monkeypatch):
    """Normalised and with stain draws, maps kept as float32: log and weights of the run to the bit."""
    monkeypatch.setattr(view, "MAP_TYPE", torch.float32)
    draws = ("--stain-augmentation", 0.1)
    cache = cached(shards, stained, tmp_path / "cache", *draws)
    content = json.loads((cache / "cache.json").read_text())
    assert content["version"] == [3, 0]
    assert content["augmentation"]["stain"] == 0.1
    common = ("--output-stride", 32, "--micro-batch", 1, *draws)
    runs = [tmp_path / "online", tmp_path / "cached"]
    for run, options in zip(
        runs, (("--teacher", stained, "--views", VIEWS), ("--teacher-cache", cache)), strict=True
    ):
        assert distil(shards, run, *common, *options).code == 0
    assert log_of(runs[0]) == log_of(runs[1])
    assert weights_sha256(runs[0]) == weights_sha256(runs[1])
    other = ("--shards", shards, "--out", tmp_path / "no", "--train-on", "aux2", *LOW, *QUICK)
    said = refusal("distill", *other, "--teacher-cache", cache)
    assert "stain 0.1 there" in said
    assert "--stain-augmentation" in said


def test_a_cache_without_stain_draws_does_not_fit_a_run_with_them(shards, teacher_cache, tmp_path):
    """The message has the command that makes one that fits."""
    said = refusal(
        "distill", "--shards", shards, "--out", tmp_path / "no", "--train-on", "aux2", *LOW, *QUICK,
        "--teacher-cache", teacher_cache, "--stain-augmentation", 0.1,
    )  # fmt: skip
    assert "rule T19" in said
    assert "--jitter 0.5,0.5,0.5,0.2 --stain-augmentation 0.1" in said


def blanked(path: str, members: list) -> list:
    """The first training shard with images of bare glass, of the same sizes."""

    def glass(data: bytes) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", Image.open(io.BytesIO(data)).size, "white").save(buffer, "JPEG")
        return buffer.getvalue()

    if not path.endswith("train-000000.tar"):
        return members
    return [replace(one, data=glass(one.data)) if one.name.endswith(".jpg") else one for one in members]


def test_an_image_without_tissue_is_left_and_counted(tmp_path):
    """Of five training images three are glass: the stain is that of two, both commands and metrics.json say so."""
    shards = write_training_set(tmp_path / "set", edit_members=blanked)
    run = kdtrain("teacher", "--shards", shards, "--out", tmp_path / "run", *QUICK, *REINHARD)
    assert run.code == 0, run.said
    assert "the stain of 2 training images; 3 of 5 looked at have too little tissue" in run.said
    target = target_of_run(tmp_path / "run")
    assert (target.images, target.left) == (2, 3)
    said = kdtrain("evaluate", tmp_path / "run", "--shards", shards, "--split", "train", "--workers", 0).said
    assert "3 of 5 images of train have too little tissue" in " ".join(said.split())
    measured = tmp_path / "run" / "evaluation-train" / "metrics.json"
    assert json.loads(measured.read_text())["stain_left"] == 3
