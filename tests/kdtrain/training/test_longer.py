"""More epochs than a run was begun with: the same run as if they had been asked for at first, or a reason why not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fixtures.locks import held_elsewhere
from fixtures.training_runs import QUICK, evaluated, kdtrain, log_of, record_of, trained
from kdtrain.training.longer import is_of_others, outdated_evaluations, why_not_longer

pytest.importorskip("deepspeed", reason="needs DeepSpeed")
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


def files_of(run: Path) -> dict[str, str]:
    """Digest of every file, but for what only clocks and folders decide."""
    return {
        path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in ("sessions.json", "log.jsonl", "run.json")
    }


def assert_the_same(run: Path, other: Path) -> None:
    """Two runs agree in every file."""
    assert files_of(run) == files_of(other)
    assert log_of(run) == log_of(other)
    records = [
        {k: v for k, v in record_of(folder).items() if k != "other_settings"} for folder in (run, other)
    ]
    assert records[0] == records[1]


@pytest.mark.parametrize(
    "options",
    [
        ("--warmup-steps", 2),
        ("--schedule", "step", "--step-every", 3, "--validate-on", "none", "--optimizer", "sgd", "--lr", 0.1),
    ],
)
def test_a_lengthened_run_is_the_longer_run(shards, tmp_path, options):
    """One epoch and then a second end with every byte of two at once: network, checkpoints, log and record."""
    whole = trained("teacher", shards, tmp_path / "whole", "--epochs", 2, *options)
    run = trained("teacher", shards, tmp_path / "run", "--epochs", 1, *options)
    longer = kdtrain("teacher", "--shards", shards, "--out", run, *QUICK, "--epochs", 2, *options)
    assert longer.code == 0
    assert "lengthened from 1 to 2 epochs: model.safetensors is away until they are over" in longer.said
    assert "going on from step 2, epoch 2" in longer.said
    assert_the_same(run, whole)


def test_a_student_of_a_cache_is_lengthened(shards, teacher_cache, tmp_path):
    """The views of a teacher cache come around as in a run of that length: three views, one and then four epochs."""
    options = ("--teacher-cache", teacher_cache, "--magnification", 2.5, "--train-on", "aux2")
    whole = trained("distill", shards, tmp_path / "whole", *options, "--epochs", 4)
    run = trained("distill", shards, tmp_path / "run", *options, "--epochs", 1)
    trained("distill", shards, run, *options, "--epochs", 4)
    assert_the_same(run, whole)


def test_measurements_of_the_shorter_run_are_told_from_those_of_the_longer(shards, tmp_path):
    """Their files stay; the run says that they are of another network, and falls silent when it is measured anew."""
    last = ("--validate-on", "none")
    run = evaluated(trained("teacher", shards, tmp_path / "run", *last), shards)
    metrics = (run / "evaluation-test" / "metrics.json").read_bytes()
    arguments = ("teacher", "--shards", shards, "--out", run, *QUICK, "--epochs", 2, *last)
    (run / "calibration.json").write_text('{"weights_sha256": "of the shorter run"}')
    said = kdtrain(*arguments).said
    assert "evaluation-test measured another network than this one" in said
    assert "calibration.json is of another network than this one; 'kdtrain calibrate' fits it anew" in said
    (run / "calibration.json").unlink()
    assert (run / "evaluation-test" / "metrics.json").read_bytes() == metrics
    evaluated(run, shards)
    assert "another network" not in kdtrain(*arguments).said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--epochs", 1),
            "epochs: 2 there, 1 now; what was trained is not taken back: give --epochs 2 or more",
        ),
        (("--epochs", 3, "--lr", 0.5), "other settings, and runs are never mixed"),
    ],
)
def test_what_is_no_longer_run_is_refused(shards, tmp_path, options, words):
    """Fewer epochs, and more together with another change: exit code 2, and the run is as it was."""
    run = trained("teacher", shards, tmp_path / "run", "--epochs", 2)
    before = files_of(run), record_of(run)
    refused = kdtrain("teacher", "--shards", shards, "--out", run, *QUICK, *options)
    assert refused.code == 2
    assert words in refused.said
    assert (files_of(run), record_of(run)) == before


@pytest.mark.parametrize(
    ("schedule", "possible"), [("constant", True), ("step", True), ("cosine", False), ("exponential", False)]
)
def test_the_schedule_decides(schedule, possible):
    """A rate that is a function of the step alone goes on; one that ends with the run would have been another."""
    reason = why_not_longer({"epochs": 2}, {"epochs": 5, "schedule": schedule})
    assert (reason is None) is possible
    if reason:
        rule = f"epochs: 2 there, 5 now; the learning rate of --schedule {schedule} ends with the run"
        assert reason.startswith(rule)
        assert "give --epochs 2, or a new --out" in reason


def test_a_run_that_another_command_trains_is_left_alone(shards, teacher):
    """Exit code 2, who it is, and not a file more or less."""
    before = files_of(teacher)
    with held_elsewhere(teacher / "kdtrain.lock", "kdtrain teacher", teacher) as other:
        refused = kdtrain("teacher", "--shards", shards, "--out", teacher, *QUICK)
    assert refused.code == 2
    assert f"another 'kdtrain teacher' writes to {teacher} (process {other.pid} on" in refused.said
    assert files_of(teacher) == before


def test_a_start_that_was_killed_at_its_first_file_is_in_no_ones_way(shards, tmp_path):
    """Half a run.json under its temporary name and a lock are no foreign folder, and are gone in the end."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json.4711.partial").write_text("{")
    (run / "kdtrain.lock").write_text("")
    trained("teacher", shards, run)
    names = sorted(path.name for path in run.iterdir())
    assert names == ["checkpoints", "log.jsonl", "model.safetensors", "run.json", "sessions.json"]


def test_what_measured_another_network_is_named(tmp_path):
    """A split's metrics and its probe each for itself, and not what measured the weights that are there."""
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"new")
    now, old = hashlib.sha256(b"new").hexdigest(), hashlib.sha256(b"old").hexdigest()
    for split, file, digest in (
        ("test", "metrics.json", now),
        ("test", "probe.json", old),
        ("val", "metrics.json", old),
        ("val", "probe.json", now),
    ):
        (tmp_path / f"evaluation-{split}").mkdir(exist_ok=True)
        (tmp_path / f"evaluation-{split}" / file).write_text(f'{{"weights_sha256": "{digest}"}}')
    assert outdated_evaluations(tmp_path, weights) == ["evaluation-test/probe.json", "evaluation-val"]
    for split, other in (("test", False), ("val", True)):
        assert is_of_others(tmp_path / f"evaluation-{split}" / "metrics.json", weights) == other
    assert not is_of_others(tmp_path / "calibration.json", weights)
