from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kdtrain.training import checkpoints
from kdtrain.training.checkpoints import CheckpointError, CheckpointStore, Record, superseded
from kdtrain.training.engine.state import TrainingState


def state_of(step: int) -> TrainingState:
    """A state of two weights, one of them a negative zero."""
    return TrainingState(
        weights={"fc.weight": torch.tensor([float(step), -0.0])},
        optimizer={"fc.weight/exp_avg": torch.ones(2), "fc.weight/step": torch.tensor(float(step))},
        step=step,
        loss_scale=(2.0**15, 7),
    )


def record_of(step: int, **changes: object) -> Record:
    """A record on one rank."""
    return Record(step=step, epoch=0, position=4 * step, world_size=1, **changes)


@pytest.fixture
def warnings() -> list[str]:
    """What the store said."""
    return []


@pytest.fixture
def store(tmp_path: Path, warnings: list[str]) -> CheckpointStore:
    """The checkpoints of a new run."""
    return CheckpointStore(tmp_path / "checkpoints", warn=warnings.append)


def saved(store: CheckpointStore, *steps: int) -> list[Path]:
    """Write checkpoints."""
    return [store.save(state_of(step), record_of(step)) for step in steps]


def names(store: CheckpointStore) -> list[str]:
    """What lies in the folder."""
    return sorted(path.name for path in store.folder.iterdir())


def test_what_is_read_is_what_was_written(store):
    """Weights, optimizer state, loss scale and record come back bit for bit."""
    record = record_of(3, best_step=2, best_metric=0.1 + 0.2, extra={"seconds": 1.5, "name": "Ä"})
    store.save(state_of(3), record)
    state, read = checkpoints.load(store.newest())
    assert read == record
    assert (state.step, state.loss_scale) == (3, (2.0**15, 7))
    for name, tensor in state_of(3).weights.items():
        assert torch.equal(state.weights[name].view(torch.int32), tensor.view(torch.int32))
    assert {n: t.tolist() for n, t in state.optimizer.items()} == {
        "fc.weight/exp_avg": [1, 1],
        "fc.weight/step": 3,
    }


def test_state_without_optimizer_entries(store):
    """A run with plain SGD has no optimizer state, and its checkpoint is a checkpoint."""
    store.save(dataclasses.replace(state_of(1), optimizer={}), record_of(1))
    assert checkpoints.load(store.newest())[0].optimizer == {}


def test_no_checkpoint_yet(store):
    """A run that never saved starts from the beginning."""
    assert store.newest() is None


def test_last_two_and_the_best_are_kept(store):
    """Of five checkpoints the last two stay, and the second, which was the best."""
    for step in range(1, 6):
        store.save(state_of(step), record_of(step, best_step=min(step, 2)))
    assert names(store) == ["step-000002", "step-000004", "step-000005"]


def test_superseded_is_by_number():
    """Steps are compared as numbers, past a million too, whatever their order."""
    assert superseded([1_000_000, 999_999, 5, 7], keep_last=2, best_step=7) == [5]
    assert superseded([3], keep_last=2, best_step=None) == []


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "record.json", "SHA256SUMS"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damaged_newest_falls_back_and_says_so(store, warnings, name, damage):
    """With one byte changed, the end cut off or a file gone, the checkpoint before is used, with a message."""
    before, newest = saved(store, 1, 2)
    file = newest / name
    data = file.read_bytes()
    changed = data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(changed if damage == "flip" else data[:-5])
    assert store.newest() == before
    (warning,) = warnings
    assert "step-000002 is damaged: " in warning
    assert name in warning
    assert "going on from step-000001" in warning


def test_all_damaged_is_an_error(store):
    """Where no checkpoint is whole the run does not start again by itself; the message says what to do."""
    for path in saved(store, 1, 2):
        (path / "record.json").write_text("{}")
    with pytest.raises(
        CheckpointError, match=r"step-000002 is damaged: .*step-000001 is damaged.*remove it to start"
    ):
        store.newest()


def test_damaged_checkpoint_is_replaced_when_its_step_comes_up(store, warnings):
    """A run that fell back writes the damaged step anew."""
    _, newest = saved(store, 1, 2)
    (newest / "record.json").unlink()
    saved(store, 2)
    assert store.newest() == newest
    assert warnings == []
    assert names(store) == ["step-000001", "step-000002"]


@pytest.mark.parametrize("moment", range(1, 10))
def test_a_kill_while_writing_leaves_the_one_before(store, warnings, monkeypatch, moment):
    """Interrupted at any flush, a save leaves the checkpoint before or the new one whole, and no rubbish stays."""
    saved(store, 1)
    flushes = []

    def dies(descriptor: int) -> None:
        flushes.append(descriptor)
        if len(flushes) == moment:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", dies)
    try:
        saved(store, 2)
    except KeyboardInterrupt:
        assert store.newest().name == ("step-000001" if moment < 6 else "step-000002")
    else:
        assert len(flushes) == 6
        assert moment > 6
    monkeypatch.undo()
    saved(store, 3)
    assert all(name.startswith("step-") for name in names(store))
    assert warnings == []


def test_sums_are_those_of_the_usual_tool(store):
    """SHA256SUMS has the lines of sha256sum: digest, two spaces, name."""
    (path,) = saved(store, 1)
    lines = (path / "SHA256SUMS").read_text().splitlines()
    digest = hashlib.sha256((path / "record.json").read_bytes()).hexdigest()
    assert f"{digest}  record.json" in lines


def test_another_format_is_refused(store):
    """A checkpoint of another format is refused by the format's name."""
    (path,) = saved(store, 1)
    document = json.loads((path / "record.json").read_text()) | {"format": "kdtrain-checkpoint-9"}
    (path / "record.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="is in format 'kdtrain-checkpoint-9'; this version reads"):
        checkpoints.load(path)


def test_a_weights_files_name_survives_a_power_cut(tmp_path, monkeypatch):
    """Content first, then the name, then the folder that holds it reach the disk."""
    steps = []
    rename = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (steps.append("rename"), rename(old, new)))
    monkeypatch.setattr(os, "fsync", lambda handle: steps.append(Path(f"/proc/self/fd/{handle}").readlink()))
    path = tmp_path / "model.safetensors"
    checkpoints.write_weights(path, {"w": torch.zeros(2)}, {"step": "1"})
    assert steps == [tmp_path / f"model.safetensors.{os.getpid()}.partial", "rename", tmp_path]


def test_weights_file_is_replaced_whole(tmp_path, monkeypatch):
    """The file of the best weights is the old one or the new one, never half of either."""
    path = tmp_path / "model.safetensors"
    checkpoints.write_weights(path, {"w": torch.zeros(2)}, {"step": "1"})

    def dies(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", dies)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.write_weights(path, {"w": torch.ones(2)}, {"step": "2"})
    assert load_file(path)["w"].tolist() == [0, 0]
    monkeypatch.undo()
    checkpoints.write_weights(path, {"w": torch.ones(2)}, {"step": "2"})
    assert load_file(path)["w"].tolist() == [1, 1]
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_keeping_none_is_refused(tmp_path):
    """A store that keeps no checkpoint could not resume."""
    with pytest.raises(ValueError, match="keep_last is 0"):
        CheckpointStore(tmp_path, keep_last=0, warn=print)


def test_a_disk_that_refuses_is_an_error_of_the_system(tmp_path):
    """As the command line reports it; safetensors raises an error of its own kind."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="file"):
        checkpoints.write_weights(tmp_path / "file" / "model.safetensors", {"a": torch.zeros(1)}, {})
