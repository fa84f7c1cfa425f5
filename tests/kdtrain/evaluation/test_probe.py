"""The linear probe: features that tell classes apart do so for patients that were not seen, and only then."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fixtures.shard_sets import write_set
from fixtures.sources import Means, source_cached
from fixtures.training_runs import kdtrain, trained
from kdtrain.errors import UsageError
from kdtrain.evaluation import probe
from kdtrain.evaluation.probe import Features, cross_validate, folds_of

CLASSES = ("gland", "stroma")


def features(labels: list[int], values: np.ndarray, *, per_patient: int = 2) -> Features:
    """Samples of patients that have so many each, of one slide a patient."""
    patients = tuple(f"p{i // per_patient:02d}" for i in range(len(labels)))
    keys = tuple(f"s{i:03d}" for i in range(len(labels)))
    return Features(keys=keys, slides=patients, patients=patients, labels=np.array(labels), values=values)


def accuracy(given: Features) -> float:
    """Of the probe."""
    probed = cross_validate(given, CLASSES, seed=0)
    return float(np.mean([one.predicted == one.label for one in probed.predictions]))


def test_features_that_tell_classes_apart_do() -> None:
    """One channel that is the class, among three of noise: every sample right."""
    labels = [i // 2 % 2 for i in range(80)]
    noise = np.random.default_rng(0).normal(size=(80, 4)) * 0.1
    noise[:, 2] += labels
    assert accuracy(features(labels, noise)) == 1


def test_a_patient_cannot_be_told_by_heart() -> None:
    """Twin samples of each patient, and classes by chance: half are right, where a split by sample finds the twin."""
    generator = np.random.default_rng(0)
    values = np.repeat(generator.normal(size=(40, 60)), 2, axis=0)
    labels = np.repeat(generator.permutation([0, 1] * 20), 2)
    given = features(labels.tolist(), values)
    assert 0.3 < accuracy(given) < 0.7
    alone = features(labels.tolist(), values, per_patient=1)
    assert accuracy(alone) > 0.9


def test_probabilities_are_scikit_learns() -> None:
    """Every sample's are those of a standardised logistic regression over the same folds, in the samples' order."""
    labels = [0, 0, 1, 1, 1, 1] * 6
    values = np.random.default_rng(1).normal(size=(36, 5)) + np.array(labels)[:, None]
    given = features(labels, values)
    probed = cross_validate(given, CLASSES, seed=3)
    expected = cross_val_predict(
        make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=10_000)),
        values,
        labels,
        groups=given.patients,
        cv=StratifiedGroupKFold(n_splits=5, shuffle=True, random_state=3),
        method="predict_proba",
    )
    assert [one.key for one in probed.predictions] == list(given.keys)
    np.testing.assert_allclose([one.probabilities for one in probed.predictions], expected, atol=1e-12)
    assert (probed.folds, probed.unconverged) == (5, 0)


def test_folds_are_as_many_as_a_class_has_patients() -> None:
    """Three patients of one class and seven of the other give three folds, and never more than five."""
    values = np.zeros((20, 1))
    assert folds_of(features([0] * 6 + [1] * 14, values), CLASSES) == 3
    assert folds_of(features([0] * 10 + [1] * 10, values), CLASSES) == 5


def test_what_no_fold_can_tell_is_refused() -> None:
    """A class of one patient, and one class alone, name the class and what to do."""
    values = np.zeros((8, 1))
    with pytest.raises(UsageError, match=r"stroma has samples of one patient alone.* --split train,test"):
        folds_of(features([0] * 6 + [1] * 2, values), CLASSES)
    with pytest.raises(UsageError, match="all samples are of gland, so there is nothing to tell apart"):
        folds_of(features([0] * 8, values), CLASSES)


def test_a_class_that_no_seen_sample_has_gets_no_probability() -> None:
    """Patients of both classes, where folds cannot be even: the probabilities add up to 1 all the same."""
    given = features([0, 1, 0, 1, 0, 0, 0, 0], np.arange(8.0)[:, None])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        probed = cross_validate(given, ("gland", "stroma", "fat"), seed=0)
    assert all(sum(one.probabilities) == pytest.approx(1) for one in probed.predictions)
    assert all(one.probabilities[2] == 0 for one in probed.predictions)


def test_a_regression_that_is_stopped_is_counted(monkeypatch) -> None:
    """After two steps of many: every fold is counted, and the record says so."""
    monkeypatch.setattr(probe, "MAX_STEPS", 2)
    labels = [i // 2 % 2 for i in range(40)]
    values = np.random.default_rng(0).normal(size=(40, 30))
    probed = cross_validate(features(labels, values), CLASSES, seed=0)
    assert probed.record["unconverged_folds"] == probed.folds == 5


# The command


@pytest.fixture(scope="module")
def student(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A feature network."""
    folder = tmp_path_factory.mktemp("runs")
    source_cached(shards, folder / "cache", Means())
    options = (
        "--teacher-cache",
        folder / "cache",
        "--magnification",
        2.5,
        "--train-on",
        "aux2",
        "--width",
        0.25,
    )
    return trained("distill", shards, folder / "student", *options)


def probed_by(run: Path, shards: Path, split: str) -> dict:
    """probe.json, and the screen under "said"."""
    options = ("--probe", "--workers", 0, "--iterations", 50, "--split", split)
    done = kdtrain("evaluate", run, "--shards", shards, *options)
    assert done.code == 0, done.said
    folder = run / f"evaluation-{split.replace(',', '+')}"
    return json.loads((folder / "probe.json").read_text()) | {"said": done.said}


def test_a_feature_network_is_measured(shards, student):
    """Its file and predictions are beside the evaluation, of all samples once, and the same at another time."""
    record = probed_by(student, shards, "train,test")
    folder = student / "evaluation-train+test"
    assert {path.name for path in folder.iterdir() if path.suffix in (".csv", ".json")} == {
        "probe.json",
        "probe.csv",
    }
    assert record["probe"]["folds"] == 4 and record["probe"]["folds_by"] == "patient"
    assert record["levels"]["sample"]["n"] == record["levels"]["patient"]["n"] == 9
    assert record["split"] == "train+test" and record["phase"] == "distill"
    rows = list(csv.DictReader((folder / "probe.csv").read_text().splitlines()))
    assert len({row["key"] for row in rows}) == 9
    assert "linear probe of student, cross-validated by patient in 4 folds, on train+test" in record["said"]
    before = [(folder / name).read_bytes() for name in ("probe.json", "probe.csv")]
    probed_by(student, shards, "train,test")
    assert [(folder / name).read_bytes() for name in ("probe.json", "probe.csv")] == before


def test_a_classifier_is_measured_beside_its_answers(shards, evaluated_teacher):
    """Of a teacher too, at its own magnification; what it answered itself stays as it was."""
    metrics = evaluated_teacher / "evaluation-test" / "metrics.json"
    before = metrics.read_bytes()
    record = probed_by(evaluated_teacher, shards, "test")
    assert metrics.read_bytes() == before
    assert (record["magnification"], record["probe"]["folds"]) == (10, 2)


def test_an_empty_split_is_named(tmp_path, student):
    """Exit code 2, and no trace."""
    empty = write_set(tmp_path / "set", {"train": [2], "test": [0]})
    done = kdtrain("evaluate", student, "--shards", empty, "--probe", "--workers", 0)
    assert done.code == 2
    assert "--split test" in done.said and "holds no samples" in done.said


def test_unlabelled_splits_cannot_be_probed(shards, student):
    """Exit code 2, with what was asked for."""
    done = kdtrain("evaluate", student, "--shards", shards, "--probe", "--split", "train,aux1")
    assert done.code == 2
    assert "--split train+aux1" in done.said and "carries no labels" in done.said
