"""A network as a run keeps it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kdtrain.errors import UsageError
from kdtrain.model.network import Network
from kdtrain.training.trained import load_trained

NETWORK = Network(
    model="resnet10",
    output_stride=16,
    classes=("a", "b", "c"),
    magnification=1.25,
    mean=(200.0, 150.0, 190.0),
    std=(20.0, 30.0, 25.0),
)


def write_run(folder: Path, seed: int = 3) -> Path:
    """A run folder with a network and a record, as a phase leaves it."""
    record = {
        "settings": {"phase": "teacher", "seed": 0, "train_on": ["train"]},
        "shard_set": {"sha256": "0" * 64, "train_on": ["train"], "chosen_by": "loss on val"},
        "network": NETWORK.record,
    }
    (folder / "run.json").write_text(json.dumps(record))
    save_file(NETWORK.build(seed=seed).state_dict(), folder / "model.safetensors")
    return folder


def test_a_record_is_read_back_as_it_was():
    """Through JSON and back, tuples included."""
    assert Network.of(json.loads(json.dumps(NETWORK.record))) == NETWORK


def test_a_seed_is_a_network():
    """The same seed gives the same weights, another seed others; the stride changes no shape."""
    first, again, other = (NETWORK.build(seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])
    assert first["fc.weight"].shape == (3, 256)


def test_a_run_is_loaded_as_it_was_written(tmp_path):
    """Weights, network, record and the file's hash; the model is in evaluation mode."""
    trained = load_trained(write_run(tmp_path), what="--teacher")
    expected = NETWORK.build(seed=3).state_dict()
    assert all(torch.equal(trained.model.state_dict()[name], tensor) for name, tensor in expected.items())
    assert trained.network == NETWORK
    assert trained.run["settings"]["phase"] == "teacher"
    assert not trained.model.training
    assert trained.sha256 == hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()


def test_weights_of_another_architecture_are_refused_in_one_line(tmp_path):
    """The message names option, file and architecture, and does not list every tensor."""
    write_run(tmp_path)
    save_file({"fc.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(
        UsageError, match=r"--teacher .*model\.safetensors cannot be used as the resnet10"
    ) as caught:
        load_trained(tmp_path, what="--teacher")
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)
