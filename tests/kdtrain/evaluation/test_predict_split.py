"""Predictions of a split, and the three numbers that an epoch is judged by."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, log_loss

from fixtures.training_runs import write_training_set
from kdtrain.evaluation.predict_split import predict_split, quick_metrics, run_name, sizes_of_split
from kdtrain.evaluation.predictions import Prediction
from kdtrain.model.network import Network
from kdtrain.shards.index import Index, read_index

NETWORK = Network(
    model="resnet10",
    output_stride=32,
    classes=("gland", "stroma"),
    magnification=2.5,
    mean=(200.0, 150.0, 190.0),
    std=(20.0, 20.0, 20.0),
)


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Index:
    """A set with four test samples."""
    return read_index(write_training_set(tmp_path_factory.mktemp("sets") / "set"))


def prediction(number: int, label: int, *probabilities: float) -> Prediction:
    """One of a sample of its own slide."""
    name = f"s{number}"
    return Prediction(key=name, slide=name, patient=name, label=label, probabilities=probabilities)


def test_ranks_share_a_split_without_overlap(index):
    """Three ranks over four samples: each sample once, with the prediction of a single process."""
    model = NETWORK.build(seed=1).eval()
    cpu = torch.device("cpu")
    alone = predict_split(model, NETWORK, index, "test", device=cpu)
    shared = [
        predict_split(model, NETWORK, index, "test", device=cpu, rank=rank, world_size=3) for rank in range(3)
    ]
    assert sorted((p for part in shared for p in part), key=lambda p: p.key) == sorted(
        alone, key=lambda p: p.key
    )
    assert [p.label for p in sorted(alone, key=lambda p: p.slide)] == [0, 1, 0, 1]
    assert all(math.isclose(sum(p.probabilities), 1) for p in alone)


def test_an_epoch_is_judged_as_scikit_learn_would():
    """Cross-entropy, accuracy and balanced accuracy of five predictions: 3 of 5, and (2/3 + 1/2) / 2."""
    predictions = [
        prediction(0, 0, 0.9, 0.1),
        prediction(1, 0, 0.6, 0.4),
        prediction(2, 0, 0.2, 0.8),
        prediction(3, 1, 0.3, 0.7),
        prediction(4, 1, 0.7, 0.3),
    ]
    truth = [p.label for p in predictions]
    found = quick_metrics(predictions)
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["balanced_accuracy"] == balanced_accuracy_score(truth, [p.predicted for p in predictions])
    assert found["loss"] == pytest.approx(log_loss(truth, [p.probabilities for p in predictions]))


def test_a_class_that_the_split_lacks_is_left_out():
    """With samples of one class alone, balanced accuracy is that class's recall, not half of it."""
    found = quick_metrics([prediction(0, 1, 0.1, 0.8, 0.1), prediction(1, 1, 0.7, 0.2, 0.1)])
    assert found["balanced_accuracy"] == 0.5


def test_a_probability_of_zero_is_a_large_loss_and_no_error():
    """A wrong answer with certainty counts as finite."""
    assert 600 < quick_metrics([prediction(0, 0, 0.0, 1.0)])["loss"] < 700


def test_sizes_are_those_of_the_images(index):
    """(height, width) at 2.5x: cells of one pixel, 32 x 32, 40 x 32 and 32 x 48 in turn."""
    assert sizes_of_split(index, "test", 2.5) == [(32, 32), (32, 40), (48, 32), (32, 32)]
    assert sizes_of_split(index, "test", 10) == [(128, 128), (128, 160), (192, 128), (128, 128)]


def test_a_run_is_called_by_its_folder(tmp_path, monkeypatch):
    """Also when it is the working folder."""
    monkeypatch.chdir(tmp_path)
    assert run_name(Path()) == tmp_path.name
