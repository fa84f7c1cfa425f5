"""What a person sees of a run, and that its log goes to the loggers."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kdtrain.config.phases import TeacherConfig
from kdtrain.data.loader import LoadStats
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
    monitor = Monitor(console)
    with monitor.epoch(1, 5, 8) as bar:
        bar.skip(2)
        bar.step(2, 0.125, LoadStats(samples=2, pixels=3_000_000, wait_s=0.25, elapsed_s=1.0))
    for part in ("epoch 2/5", "4/8", "loss 0.1250", "2.0 samples/s 3.0 MP/s wait 25%", " GB", "left"):
        assert part in seen(console)


def test_speed_is_that_of_the_epoch_and_not_of_the_run(console, tmp_path):
    """What was read before the bar's first step does not count after it."""
    monitor = Monitor(console)
    with monitor.epoch(0, 1, 8) as bar:
        bar.step(4, 1.0, LoadStats(samples=100, pixels=0, wait_s=0, elapsed_s=1.0))
        bar.step(4, 1.0, LoadStats(samples=104, pixels=0, wait_s=1.0, elapsed_s=3.0))
    assert "2.0 samples/s 0.0 MP/s wait 50%" in seen(console)


def settings(out, **given) -> TeacherConfig:
    """Of a run."""
    return TeacherConfig(shards="set", out=out, **given)


def test_only_the_first_rank_speaks(console, tmp_path):
    """Elsewhere there is neither bar nor sentence nor file."""
    with Monitor(console, active=False, config=settings(tmp_path)) as monitor:
        with monitor.epoch(0, 1, 8) as bar:
            bar.step(8, 1.0, LoadStats())
        monitor.say("hello")
        monitor.validated(0, {"loss": 1.0})
        monitor.record({"kind": "step", "step": 1, "loss": 0.5})
    assert seen(console) == ""
    assert list(tmp_path.iterdir()) == []


def test_a_validation_is_shown(console, tmp_path):
    """Every metric with four digits, and epochs counted from 1."""
    Monitor(console).validated(0, {"loss": 0.5, "accuracy": 2 / 3})
    assert "epoch 1: validation loss 0.5000, accuracy 0.6667" in seen(console)


def test_the_first_rank_hands_its_log_on(console, tmp_path):
    """TensorBoard, which is asked for by default, has a file when the run is over; asked for nothing, nothing has."""
    for out, given in ((tmp_path / "default", {}), (tmp_path / "none", {"logger": "none"})):
        out.mkdir()
        with Monitor(console, config=settings(out, **given)) as monitor:
            monitor.record({"kind": "step", "step": 1, "loss": 0.5})
    assert [path.name.split(".")[0] for path in (tmp_path / "default").iterdir()] == ["events"]
    assert list((tmp_path / "none").iterdir()) == []


def test_memory_is_counted_in_gigabytes():
    """This process has imported torch: more than 50 MB, less than 100 GB."""
    assert 0.05 < memory_gb() < 100
