"""What ``import kdtrain`` offers: its names, and that they do what the commands do."""

from __future__ import annotations

import ast
import csv
import inspect
import json
import shutil
from pathlib import Path

import pytest
import torch

import kdtrain

pytest.importorskip("deepspeed", reason="needs DeepSpeed")


def test_dir_shows_what_may_be_used():
    """Whatever was imported before: no module, nothing private."""
    assert dir(kdtrain) == sorted(kdtrain.__all__)
    assert {"Dataset", "evaluate", "load_bundle", "load_network", "read_index"} < set(dir(kdtrain))
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = kdtrain.nothing


def test_a_name_is_what_type_checkers_take_it_for():
    """It comes from the module that the imports under TYPE_CHECKING name, and these are all of them."""
    tree = ast.parse(inspect.getsource(kdtrain))
    (typed,) = (node for node in tree.body if isinstance(node, ast.If))
    homes = {alias.name: line.module for line in typed.body for alias in line.names}
    assert {*homes, "__version__"} == set(kdtrain.__all__)
    for name, home in homes.items():
        assert home.startswith(getattr(kdtrain, name).__module__), name


@pytest.fixture(scope="module")
def rows(evaluated_teacher: Path) -> dict[str, dict[str, str]]:
    """predictions.csv that the command wrote, by key."""
    text = (evaluated_teacher / "evaluation-test" / "predictions.csv").read_text()
    return {row["key"]: row for row in csv.DictReader(text.splitlines())}


def test_evaluate_is_the_command(teacher, evaluated_teacher, shards, tmp_path, capsys):
    """The same numbers, and the same two files to the last byte; nothing is printed."""
    run = shutil.copytree(teacher, tmp_path / "teacher")
    found = kdtrain.evaluate(str(run), shards, iterations=100, workers=0)
    folder = evaluated_teacher / "evaluation-test"
    assert found.metrics == json.loads((folder / "metrics.json").read_text())
    assert (found.run, found.split, found.folder) == (run, "test", run / "evaluation-test")
    for name in ("metrics.json", "predictions.csv"):
        assert (found.folder / name).read_bytes() == (folder / name).read_bytes()
    assert capsys.readouterr() == ("", "")


def test_evaluate_refuses_what_the_command_would(teacher, shards):
    """A unit that does not exist; a split without labels."""
    with pytest.raises(kdtrain.UsageError, match="unit 'slide': the bootstrap draws one of sample, patient"):
        kdtrain.evaluate(teacher, shards, unit="slide")
    with pytest.raises(kdtrain.UsageError, match=r"aux1 of .* carries no labels"):
        kdtrain.evaluate(teacher, shards, split="aux1")


def test_a_network_says_what_evaluation_wrote(evaluated_teacher, shards, rows):
    """Every probability of predictions.csv, to the last digit."""
    torch.set_num_threads(1)
    network = kdtrain.load_network(evaluated_teacher)
    dataset = kdtrain.Dataset(shards, magnifications=[network.magnification], split="test")
    assert network.classes == dataset.classes
    assert len(dataset) == len(rows) == 4
    for sample in dataset:
        with torch.no_grad():
            logits_BK = network.module(network.normalise([sample.images[network.magnification]])).logits_BK
        said = torch.softmax(logits_BK.double(), dim=1)[0].tolist()
        assert said == [float(rows[sample.key][f"p_{name}"]) for name in network.classes]


def test_a_network_takes_batches(evaluated_teacher, shards):
    """Two images of one size together, as a list or a tensor, have the logits of each alone, and its feature maps."""
    network = kdtrain.load_network(evaluated_teacher)
    dataset = kdtrain.Dataset(shards, magnifications=[10], split="test")
    images = [dataset[number].images[10] for number in (0, 3)]
    together = network.normalise(images)
    assert torch.equal(together, network.normalise(torch.stack(images)))
    assert (together.shape, together.dtype) == ((2, 3, 128, 128), torch.float32)
    assert not network.module.training
    feature_map_BCHW, logits_BK = network.module(together)
    assert feature_map_BCHW.shape == (2, 256, 4, 4)
    alone = torch.cat([network.module(network.normalise([image])).logits_BK for image in images])
    torch.testing.assert_close(logits_BK, alone)


def test_a_network_knows_its_colours(evaluated_teacher, shards):
    """Means and deviations are the training split's; normalised, they are 0 and 1."""
    network = kdtrain.load_network(evaluated_teacher)
    statistics = kdtrain.read_index(shards).statistics_of(10)
    assert (network.mean, network.std) == (statistics.mean, statistics.std)
    image_CHW = torch.tensor([200, 100, 50], dtype=torch.uint8)[:, None, None].expand(3, 5, 5)
    wanted = [
        (level - mean) / std
        for level, mean, std in zip((200, 100, 50), network.mean, network.std, strict=True)
    ]
    assert network.normalise([image_CHW])[0, :, 0, 0].tolist() == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(ValueError, match="uint8"):
        network.normalise([image_CHW.int()])


def test_a_folder_without_a_run_is_refused(tmp_path):
    """With what it should be."""
    with pytest.raises(kdtrain.UsageError, match=f"run {tmp_path}"):
        kdtrain.load_network(tmp_path)
