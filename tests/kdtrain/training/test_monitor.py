"""What a person sees of a run, and what TensorBoard and Weights & Biases get."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kdtrain.data.loader import LoadStats
from kdtrain.errors import UsageError
from kdtrain.training.monitor import Monitor, memory_gb


@pytest.fixture
def console() -> Console:
    """A terminal of 200 columns whose screen can be read."""
    return Console(file=io.StringIO(), force_terminal=True, width=200)


def seen(console: Console) -> str:
    """All that was on the screen."""
    return console.file.getvalue()


def test_a_bar_shows_loss_speed_waiting_and_memory(console, tmp_path):
    """Four of eight samples, 2 samples and 3 megapixels a second, a quarter of the time waiting."""
    monitor = Monitor(console, tmp_path, tensorboard=False)
    with monitor.epoch(1, 5, 8) as bar:
        bar.skip(2)
        bar.step(2, 0.125, LoadStats(samples=2, pixels=3_000_000, wait_s=0.25, elapsed_s=1.0))
    for part in ("epoch 2/5", "4/8", "loss 0.1250", "2.0 samples/s 3.0 MP/s wait 25%", " GB", "left"):
        assert part in seen(console)


def test_speed_is_that_of_the_epoch_and_not_of_the_run(console, tmp_path):
    """What was read before the bar's first step does not count after it."""
    monitor = Monitor(console, tmp_path, tensorboard=False)
    with monitor.epoch(0, 1, 8) as bar:
        bar.step(4, 1.0, LoadStats(samples=100, pixels=0, wait_s=0, elapsed_s=1.0))
        bar.step(4, 1.0, LoadStats(samples=104, pixels=0, wait_s=1.0, elapsed_s=3.0))
    assert "2.0 samples/s 0.0 MP/s wait 50%" in seen(console)


def test_only_the_first_rank_speaks(console, tmp_path):
    """Elsewhere there is neither bar nor sentence nor file."""
    monitor = Monitor(console, tmp_path, active=False)
    with monitor.epoch(0, 1, 8) as bar:
        bar.step(8, 1.0, LoadStats())
    monitor.say("hello")
    monitor.validated(0, {"loss": 1.0})
    monitor.close()
    assert seen(console) == ""
    assert list(tmp_path.iterdir()) == []


def test_a_validation_is_shown(console, tmp_path):
    """Every metric with four digits, and epochs counted from 1."""
    Monitor(console, tmp_path, tensorboard=False).validated(0, {"loss": 0.5, "accuracy": 2 / 3})
    assert "epoch 1: validation loss 0.5000, accuracy 0.6667" in seen(console)


def test_tensorboard_gets_every_number_at_its_step(console, tmp_path):
    """Two entries of the log are two points of each curve; text and truth values are left out."""
    monitor = Monitor(console, tmp_path)
    for step, loss in ((1, 0.5), (2, 0.25)):
        monitor.record({"kind": "step", "step": step, "loss": loss, "skipped": False, "split": "val"})
    monitor.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Tags()["scalars"] == ["step/loss"]
    assert [(point.step, point.value) for point in events.Scalars("step/loss")] == [(1, 0.5), (2, 0.25)]


def test_weights_and_biases_gets_the_same(console, tmp_path, monkeypatch):
    """Asked for and installed, it is begun with project and run, logged to, and ended."""
    calls: list[tuple] = []
    run = SimpleNamespace(
        log=lambda numbers, step: calls.append((numbers, step)), finish=lambda: calls.append(("finish",))
    )

    def init(**options):
        calls.append((options["project"], options["name"]))
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    out = tmp_path / "run"
    monitor = Monitor(console, out, tensorboard=False, wandb="project")
    monitor.record({"kind": "step", "step": 3, "loss": 0.5})
    monitor.close()
    assert calls == [("project", "run"), ({"step/loss": 0.5}, 3), ("finish",)]


def test_weights_and_biases_that_is_not_installed_is_wrong_usage(console, tmp_path, monkeypatch):
    """The message says how to install it."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match="--wandb project needs Weights & Biases: pip install wandb"):
        Monitor(console, tmp_path, wandb="project")


def test_memory_is_counted_in_gigabytes():
    """This process has imported torch: more than 50 MB, less than 100 GB."""
    assert 0.05 < memory_gb() < 100
