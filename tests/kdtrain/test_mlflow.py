"""What MLflow itself makes of a run that is logged to it, and of a bundle that is exported for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.training_runs import exported, kdtrain
from kdtrain import load_bundle
from kdtrain.bundle.entries import CalibrationEntry
from kdtrain.bundle.mlflow_model import mlflow_files
from kdtrain.evaluation.temperature import softmax
from kdtrain.training.loggers.kept_ids import kept_id
from kdtrain.training.loggers.logger import LoggedRun
from kdtrain.training.loggers.mlflow_run import _ENVIRONMENT, MlflowLogger

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
"""(batch, rows, columns, 3)"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a logger sets goes after the test; no address is set from outside."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, value in _ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def logged(folder: Path, steps: tuple[int, ...], *, failed: bool = False, **given: Any) -> None:
    """One start of a run."""
    logger = MlflowLogger(LoggedRun(folder=folder, **given))
    for step in steps:
        logger.log(step, {"step/loss": 1 / step, "step/lr": 0.1})
    logger.close(failed=failed)


def client(store: Path) -> Any:
    """MLflow's own reader."""
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=store.as_uri())


def points(store: Path, run_id: str, name: str) -> list[tuple[int, float]]:
    """(step, value) of a curve, as they are stored."""
    return [(point.step, point.value) for point in client(store).get_metric_history(run_id, name)]


def test_a_resumed_run_is_one_run_with_every_step_once(tmp_path: Path) -> None:
    """Steps 1 to 3, failed, and on from step 2: four points of each curve, finished, with its settings."""
    out = tmp_path / "student ü #1 %41"
    out.mkdir()
    logged(out, (1, 2, 3), failed=True, project="lungs", settings={"lr": 0.1, "train_on": ["train"]})
    run_id = kept_id(out, "mlflow")
    assert run_id is not None
    assert client(out / "mlruns").get_run(run_id).info.status == "FAILED"
    logged(out, (2, 3, 4))
    assert kept_id(out, "mlflow") == run_id
    run = client(out / "mlruns").get_run(run_id)
    assert (run.info.run_name, run.info.status) == (out.name, "FINISHED")
    assert run.data.params == {"lr": "0.1", "train_on": "['train']"}
    assert points(out / "mlruns", run_id, "step/loss") == [(step, 1 / step) for step in (1, 2, 3, 4)]
    assert client(out / "mlruns").get_experiment_by_name("lungs").experiment_id == run.info.experiment_id


def test_runs_share_a_store_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are under one experiment there, none has a folder of its own, and a run of another store begins anew."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    logged(tmp_path / "a", (1,))
    elsewhere = kept_id(tmp_path / "a", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    logged(tmp_path / "a", (1, 2))
    logged(tmp_path / "b", (1,))
    assert not (tmp_path / "b" / "mlruns").exists()
    experiment = client(tmp_path / "store").get_experiment_by_name("kdtrain")
    found = client(tmp_path / "store").search_runs([experiment.experiment_id])
    assert {run.info.run_name for run in found} == {"a", "b"}
    assert kept_id(tmp_path / "a", "mlflow") in {run.info.run_id for run in found}
    assert kept_id(tmp_path / "a", "mlflow") != elsewhere


@pytest.fixture(scope="module")
def model(evaluated_teacher: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the folder for MLflow; the graph is that of the same weights' other bundle."""
    graph = (bundle / "model.onnx").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kdtrain.bundle.export.onnx_bytes", lambda model, network: graph)
        return exported(evaluated_teacher, tmp_path_factory.mktemp("bundles") / "mlflow", "--mlflow")


def answers(folder: Path) -> dict[str, np.ndarray]:
    """Of the model of a folder about two images."""
    import mlflow.pyfunc

    said: dict[str, np.ndarray] = mlflow.pyfunc.load_model(str(folder)).predict(IMAGES.transpose(0, 3, 1, 2))
    return said


def test_mlflow_answers_as_the_bundle(model: Path, bundle: Path) -> None:
    """Probabilities and logits of two images; the rest of the bundle is as it is without, to the last byte."""
    ours = load_bundle(model).runtime(device="cpu", threads=1).infer(IMAGES)
    said = answers(model / "mlflow")
    assert list(said) == ["probabilities", "logits"]
    np.testing.assert_allclose(said["probabilities"], ours.probabilities_BK, atol=1e-6)
    np.testing.assert_allclose(said["logits"], ours.logits_BK, atol=1e-5)
    for path in bundle.iterdir():
        assert (model / path.name).read_bytes() == path.read_bytes()


def test_mlflow_knows_what_goes_in_and_what_comes_out(model: Path) -> None:
    """Pixels of any size as bytes, numbers of two classes; another type of number is refused; no code is named."""
    import mlflow.models
    from mlflow.exceptions import MlflowException

    info = mlflow.models.get_model_info(str(model / "mlflow"))
    assert info.signature.inputs.to_dict()[0]["tensor-spec"] == {"dtype": "uint8", "shape": (-1, 3, -1, -1)}
    assert [output.name for output in info.signature.outputs] == ["probabilities", "logits"]
    assert info.metadata["classes"] == list(load_bundle(model).document.classes)
    assert info.flavors["python_function"]["loader_module"] == "mlflow.onnx"
    assert not list(model.rglob("*.py"))
    with pytest.raises(MlflowException):
        mlflow.pyfunc.load_model(str(model / "mlflow")).predict(IMAGES.transpose(0, 3, 1, 2) / 255)


def test_a_calibrated_bundle_is_calibrated_in_mlflow_too(model: Path, tmp_path: Path) -> None:
    """Softmax of four times the logits, which stay."""
    loaded = load_bundle(model)
    entry = CalibrationEntry(
        method="temperature scaling",
        temperature=0.25,
        split="val",
        samples=2,
        patients=2,
        shard_set_sha256="0" * 64,
    )
    document = loaded.document.model_copy(update={"calibration": entry})
    for name, content in mlflow_files(document, (model / "model.onnx").read_bytes()).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    logits_BK = loaded.runtime(device="cpu", threads=1).infer(IMAGES).logits_BK
    said = answers(tmp_path / "mlflow")
    np.testing.assert_allclose(said["logits"], logits_BK, atol=1e-5)
    np.testing.assert_allclose(said["probabilities"], softmax(logits_BK.astype(np.float64) * 4), atol=1e-6)


def test_a_model_that_answers_otherwise_is_not_written(
    evaluated_teacher: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a temperature were forgotten on one side: the export ends with a sentence and leaves nothing."""
    from kdtrain.bundle import mlflow_model

    real = mlflow_model.answers_only
    monkeypatch.setattr(mlflow_model, "answers_only", lambda graph, temperature: real(graph, 0.1))
    graph = (bundle / "model.onnx").read_bytes()
    monkeypatch.setattr("kdtrain.bundle.export.onnx_bytes", lambda model, network: graph)
    done = kdtrain("export", evaluated_teacher, "--out", tmp_path / "out", "--mlflow")
    assert done.code == 1
    assert "the MLflow model is not the network" in done.said
    assert not (tmp_path / "out").exists()


def test_wsinfer_and_mlflow_are_two_exports(evaluated_teacher: Path, tmp_path: Path) -> None:
    """One makes no bundle, the other adds to one."""
    done = kdtrain("export", evaluated_teacher, "--out", tmp_path / "out", "--mlflow", "--wsinfer")
    assert done.code == 2
    assert "export twice" in done.said
