"""A bundle of a calibrated run: its probabilities are calibrated wherever they are asked for, its logits are not."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fixtures.predictions import images
from fixtures.training_runs import evaluated, exported, kdtrain
from kdtrain import load_bundle
from kdtrain.bundle.document import read_document
from kdtrain.evaluation.temperature import softmax
from kdtrain.predict.answers.classify import slide_prediction
from kdtrain.predict.task import SlideTask
from kdtrain.shards.index import read_index

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
"""(rows, columns, 3)"""


@pytest.fixture(scope="module")
def run(teacher: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calibrated, with a temperature that shows, and then measured."""
    run = shutil.copytree(teacher, tmp_path_factory.mktemp("calibrated") / "run")
    assert kdtrain("calibrate", run, "--shards", shards, "--workers", 0).code == 0
    record = json.loads((run / "calibration.json").read_text()) | {"temperature": 0.25}
    (run / "calibration.json").write_text(json.dumps(record))
    return evaluated(run, shards)


@pytest.fixture(scope="module")
def calibrated(run: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Its bundle; the graph is that of the same weights' other bundle, which takes seconds to make."""
    graph = (bundle / "model.onnx").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kdtrain.bundle.export.onnx_bytes", lambda model, network: graph)
        yield exported(run, tmp_path_factory.mktemp("bundles") / "calibrated")


def test_the_document_says_how(calibrated: Path, bundle: Path, shards: Path) -> None:
    """Temperature, split and set, since 1.2; of a bundle without a calibration the field is null."""
    document = load_bundle(calibrated).document
    assert document.version == (1, 2)
    assert document.calibration is not None
    assert document.calibration.model_dump() == {
        "method": "temperature scaling",
        "temperature": 0.25,
        "split": "val",
        "samples": 2,
        "patients": 2,
        "shard_set_sha256": read_index(shards).sha256,
    }
    assert document.metrics is not None
    assert document.metrics.levels["slide"].before_calibration is not None
    assert load_bundle(bundle).document.calibration is None


def test_a_bundle_from_before_is_not_calibrated(bundle: Path) -> None:
    """Of version 1.1, without the field and the measures: it loads as T = 1."""
    raw = json.loads((bundle / "bundle.json").read_text())
    del raw["calibration"]
    for level in raw["metrics"]["levels"].values():
        del level["probabilities"], level["before_calibration"]
    document = read_document(json.dumps({**raw, "version": [1, 1]}).encode(), "here")
    assert document.calibration is None
    assert load_bundle(bundle).temperature == 1


@pytest.mark.parametrize("temperature", [0, -1, 1e9, "2", None])
def test_a_temperature_that_is_none_is_refused(calibrated: Path, temperature: object) -> None:
    """A stranger's may be anything."""
    raw = json.loads((calibrated / "bundle.json").read_text())
    raw["calibration"]["temperature"] = temperature
    with pytest.raises(Exception, match=r"here is damaged \(calibration\.temperature"):
        read_document(json.dumps(raw).encode(), "here")


@pytest.mark.parametrize("backend", ["onnx", "pytorch"])
def test_probabilities_are_calibrated_and_logits_are_not(
    calibrated: Path, bundle: Path, backend: str
) -> None:
    """Softmax of four times the logits, which are those of the bundle without a temperature to the last bit."""
    said, plain = (
        load_bundle(path).runtime(backend=backend, device="cpu", threads=1).infer(IMAGE[None])
        for path in (calibrated, bundle)
    )
    np.testing.assert_array_equal(said.logits_BK, plain.logits_BK)
    np.testing.assert_allclose(
        said.probabilities_BK, softmax(plain.logits_BK.astype(np.float64) * 4), atol=1e-6
    )
    assert np.abs(said.probabilities_BK - plain.probabilities_BK).max() > 1e-3


def test_the_card_says_so_and_its_example_computes_them(
    calibrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In Python without kdtrain, from the graph's logits: what the runtime gives."""
    card = (calibrated / "README.md").read_text()
    assert "divided by the temperature 0.25, fitted on 2 images" in card
    assert "not calibrated" not in card
    (example,) = re.findall(r"```python\n(import numpy.*?)```", card, re.S)
    Image.fromarray(IMAGE).save(tmp_path / "image.png")
    (tmp_path / "model.onnx").symlink_to(calibrated / "model.onnx")
    (tmp_path / "example.py").write_text(example)
    monkeypatch.chdir(tmp_path)
    runpy.run_path("example.py")
    expected = load_bundle(calibrated).runtime(device="cpu").infer(IMAGE[None]).probabilities_BK[0]
    said = json.loads(capsys.readouterr().out.replace("'", '"'))
    assert list(said.values()) == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_slide_is_the_mean_of_calibrated_regions(calibrated: Path) -> None:
    """As in evaluation: every region's softmax at the temperature, then their mean."""
    loaded = load_bundle(calibrated)
    runtime = loaded.runtime(device="cpu", threads=1)
    said = SlideTask(loaded, runtime, outside="warn", explain=None).predicted(images())
    assert (said.temperature, loaded.probability_words) == (0.25, "calibrated on val, T = 0.25")
    grey = np.full((1, 64, 64, 3), (220, 120, 180), np.uint8)
    expected = softmax(runtime.infer(grey).logits_BK[0].astype(np.float64) / 0.25)
    for region in said.regions:
        assert region.probabilities == pytest.approx(expected.tolist(), abs=1e-6)
    assert said.probabilities == pytest.approx(expected.tolist(), abs=1e-6)
    assert slide_prediction(images(), said.regions, None, ("a", "b"), 10.0, ()).temperature == 1


def test_metrics_of_other_probabilities_are_refused(run: Path, tmp_path: Path) -> None:
    """Calibrated after it was measured, or otherwise: by slide its numbers are of other answers."""
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "calibration.json").unlink()
    done = kdtrain("export", copy, "--out", tmp_path / "bundle")
    assert done.code == 2
    assert "at the temperature 0.25, and those of the run are now without a temperature" in done.said
    assert "run 'kdtrain evaluate" in done.said


def test_an_uncalibrated_export_says_how_to_calibrate(evaluated_teacher: Path, bundle: Path) -> None:
    """In one line; the same command again finds its bundle and says it once more."""
    with pytest.MonkeyPatch.context() as patch:
        graph = (bundle / "model.onnx").read_bytes()
        patch.setattr("kdtrain.bundle.export.onnx_bytes", lambda model, network: graph)
        done = kdtrain("export", evaluated_teacher, "--out", bundle)
    assert done.code == 0, done.said
    assert "its probabilities are not calibrated; 'kdtrain calibrate' on a labelled split" in done.said
