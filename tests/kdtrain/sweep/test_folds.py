"""Cross-validation by patient from a recipe to its runs: really trained, in this process, on images of 128 px."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.commands import Run
from fixtures.fold_sets import write_fold_set
from fixtures.shard_sets import write_set
from fixtures.training_runs import kdtrain, log_of, record_of, weights_sha256
from kdtrain.bundle.source import measure_training_data, read_source
from kdtrain.errors import TrainingError, UsageError
from kdtrain.evaluation.predictions import read_predictions_csv
from kdtrain.report.build import build_report
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import read_index
from kdtrain.sweep import command
from kdtrain.sweep.estimate.cost import Speed
from kdtrain.sweep.jobs import Job
from kdtrain.sweep.recipe import EvaluateRecipe
from kdtrain.sweep.runners.job import run_request
from kdtrain.sweep.runners.local import Ended, request_of

RECIPE: dict[str, Any] = {
    "title": "Small",
    "magnifications": [2.5],
    "settings": {"epochs": 1, "workers": 0, "accumulate": 4, "logger": "none", "device": "cpu"},
    "teacher": {"seed": 0},
    "methods": {"KD": {"phase": "distill", "train_on": ["train", "aux1"]}},
    "evaluate": {"iterations": 100},
}
TEACHER, KD = "teacher-10x-seed0-fold{}", "kd-2.5x-seed0-fold{}"


class InProcess:
    """A launcher that trains and measures here, one run after the other, and can lose its power before one."""

    def __init__(self, shards: Path, out: Path, evaluate: dict[str, Any], stops_at: str = "") -> None:
        self.started: list[str] = []
        self._where: dict[str, Any] = {"shards": shards, "out": out, "evaluate": EvaluateRecipe(**evaluate)}
        self._stops_at = stops_at
        self._running: list[tuple[Job, bool]] = []

    def has_room(self) -> bool:
        return not self._running

    def start(self, job: Job, *, train: bool) -> None:
        if job.name == self._stops_at:
            raise KeyboardInterrupt
        self.started.append(job.name)
        self._running.append((job, train))

    def ended(self, timeout_s: float) -> list[Ended]:
        job, train = self._running.pop()
        reason = ""
        try:
            run_request(request_of(job, train=train, **self._where))
        except (UsageError, TrainingError, ShardError) as error:
            reason = str(error)
        return [Ended(name=job.name, reason=reason, seconds=1)]

    def stop(self) -> None:
        pass


class Sweep:
    """A recipe, a set and a folder."""

    def __init__(self, folder: Path, shards: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.shards, self.out = folder, shards, folder / "out"
        self._patch = patch
        self.started: list[str] = []

    def __call__(self, *options: object, recipe: dict[str, Any] = RECIPE, stops_at: str = "") -> Run:
        path = self.folder / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe))
        launcher = InProcess(self.shards, self.out, recipe["evaluate"], stops_at)
        self.started = launcher.started
        self._patch.setattr(command, "_launcher", lambda *_: nullcontext(launcher))
        return kdtrain("sweep", path, "--shards", self.shards, "--out", self.out, *options)

    def run(self, name: str) -> Path:
        """Folder of a run."""
        return self.out / "runs" / name


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """Eleven patients."""
    return write_fold_set(tmp_path_factory.mktemp("sets") / "set")


@pytest.fixture(scope="module")
def done(shards, tmp_path_factory) -> Sweep:
    """Three folds, trained and measured: a teacher and a student each."""
    with pytest.MonkeyPatch.context() as patch:
        sweep = Sweep(tmp_path_factory.mktemp("sweep"), shards, patch)
        ended = sweep("--folds", 3)
    assert ended.code == 0, ended.said
    return sweep


@pytest.fixture
def sweep(shards, tmp_path, monkeypatch) -> Sweep:
    """Nothing has run yet."""
    return Sweep(tmp_path, shards, monkeypatch)


def patients_of(run: Path) -> set[str]:
    """Patients whose samples a run was measured on."""
    table = read_predictions_csv(run / "evaluation-test" / "predictions.csv")
    return {one.patient for one in table.predictions}


def test_every_patient_is_tested_once_by_networks_that_never_saw_them(done):
    """Three students and three teachers; a student's teacher is of its fold."""
    assert done.started == [TEACHER.format(i) for i in (1, 2, 3)] + [KD.format(i) for i in (1, 2, 3)]
    for name in (TEACHER, KD):
        folds = [patients_of(done.run(name.format(i))) for i in (1, 2, 3)]
        assert len(set.union(*folds)) == sum(map(len, folds)) == 11
    for i in (1, 2, 3):
        teacher, student = (record_of(done.run(name.format(i))) for name in (TEACHER, KD))
        own = teacher["shard_set"]["fold"]
        assert (own["number"], own["of"]) == (i, 3)
        assert set(own["tested"]) == patients_of(done.run(KD.format(i)))
        assert not set(own["tested"]) & set(own["validated"])
        assert student["shard_set"]["fold"] == own
        assert student["shard_set"]["teacher"]["weights_sha256"] == weights_sha256(
            done.run(TEACHER.format(i))
        )
        assert student["settings"]["fold"] == i
    means = {tuple(record_of(done.run(KD.format(i)))["network"]["mean"]) for i in (1, 2, 3)}
    assert len(means) == 3


def test_the_same_command_again_starts_nothing(done, shards, monkeypatch):
    """With the option, or with the number in the recipe."""
    again = Sweep(done.folder, shards, monkeypatch)
    assert again("--folds", 3).code == 0
    assert again(recipe=RECIPE | {"folds": 3}).code == 0
    assert again.started == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--folds", 2),
            "holds a sweep of 3 folds (seed 0), and runs that are tested on other patients are never",
        ),
        ((), "run it with --folds 3 as it was begun, or give another --out"),
    ],
)
def test_another_number_of_folds_is_refused(done, shards, monkeypatch, options, said):
    """Exit code 2, and nothing is started."""
    again = Sweep(done.folder, shards, monkeypatch)
    ended = again(*options)
    assert (ended.code, again.started) == (2, [])
    assert said in ended.said


def test_a_killed_sweep_goes_on_to_the_same_weights(done, sweep):
    """Stopped before the second teacher; then folds.json is lost as well, and made again from the set."""
    teachers = ("--folds", 3, "--only", "teacher*")
    sweep(*teachers, stops_at=TEACHER.format(2))
    assert sweep.started == [TEACHER.format(1)]
    (sweep.out / "folds.json").unlink()
    assert sweep(*teachers).code == 0
    assert sweep.started == [TEACHER.format(2), TEACHER.format(3)]
    for i in (1, 2, 3):
        assert weights_sha256(sweep.run(TEACHER.format(i))) == weights_sha256(done.run(TEACHER.format(i)))
    assert (sweep.out / "folds.json").read_bytes() == (done.out / "folds.json").read_bytes()


def test_a_run_is_measured_on_its_own_fold_alone(done, shards):
    """Its test is the fold's; other splits of the set hold patients that it learnt from, and are refused."""
    run = done.run(KD.format(2))
    before = patients_of(run)
    ended = kdtrain("evaluate", run, "--shards", shards, "--workers", 0, "--iterations", 100)
    assert ended.code == 0, ended.said
    assert patients_of(run) == before
    ended = kdtrain("evaluate", run, "--shards", shards, "--split", "train")
    assert ended.code == 2
    assert "trained in fold 2 of 3, on all patients of the set but that fold's" in ended.said
    assert "'train', hold what it learnt from; measure it on test, and calibrate it on val" in ended.said


def test_a_run_is_not_measured_on_another_set_with_its_patients(done, tmp_path):
    """The set as it was built anew has other bytes and the same patients; a set of others is measured."""
    run = tmp_path / "run"
    shutil.copytree(done.run(KD.format(1)), run)
    other = _of_other_bytes(tmp_path / "other")
    ended = kdtrain("evaluate", run, "--shards", other, "--split", "train", "--workers", 0)
    assert ended.code == 2
    assert "has patients that RUN" in ended.said
    assert "so it would measure memory" in ended.said
    strangers = write_set(tmp_path / "strangers", {"train": [2], "test": [2]}, edit_record=_renamed)
    ended = kdtrain("evaluate", run, "--shards", strangers, "--workers", 0, "--iterations", 100)
    assert ended.code == 0, ended.said


def _of_other_bytes(folder: Path) -> Path:
    return write_fold_set(folder, edit_index=lambda index: index["config"].update(seed=1))


def _renamed(record: dict[str, Any]) -> None:
    record["patient"] = f"X-{record['patient']}"


def test_a_run_of_a_fold_goes_on_by_itself(done, shards, tmp_path):
    """With the phase's own command and the fold; another fold's folder, teacher or none is refused."""
    folds, out = done.out / "folds.json", tmp_path / "kd"
    shutil.copytree(done.run(KD.format(1)), out)
    common = ["--shards", shards, "--magnification", 2.5, "--train-on", "train,aux1", "--epochs", 1]
    common += ["--workers", 0, "--accumulate", 4, "--logger", "none", "--out", out]
    of_fold = ["--teacher", done.run(TEACHER.format(1)), "--folds", folds, "--fold", 1]
    assert "finished already" in kdtrain("distill", *common, *of_fold).said
    for options, said in (
        (["--teacher", done.run(TEACHER.format(1))], "was trained in fold 1 of 3, and what learns from it"),
        (["--teacher", done.run(TEACHER.format(2)), *of_fold[2:]], "learnt from patients that fold 1 of"),
        ([*of_fold[:5], 7], "--fold 7: there are 3 folds; give 1 to 3"),
        (of_fold[:4], "--fold (which of them is tested) go together"),
    ):
        ended = kdtrain("distill", *common, *options)
        assert ended.code == 2
        assert said in ended.said
    ended = kdtrain(
        "cache-teacher", *common[:4], "--teacher", done.run(TEACHER.format(1)), "--out", tmp_path / "c"
    )
    assert ended.code == 2
    assert "was trained in fold 1 of 3" in ended.said


def test_a_run_of_a_fold_resumes_to_the_last_bit(done, shards, tmp_path):
    """Gone on with from its first epoch, it has the losses and the weights of a run of two that never stopped."""
    options = [
        "--shards",
        shards,
        "--folds",
        done.out / "folds.json",
        "--fold",
        2,
        "--epochs",
        2,
        "--workers",
        0,
    ]
    options += ["--accumulate", 4, "--logger", "none"]
    resumed, straight = tmp_path / "resumed", tmp_path / "straight"
    shutil.copytree(done.run(TEACHER.format(2)), resumed)
    for out in (resumed, straight):
        ended = kdtrain("teacher", *options, "--out", out)
        assert ended.code == 0, ended.said
    assert weights_sha256(resumed) == weights_sha256(straight)
    assert log_of(resumed) == log_of(straight)
    assert max(line["epoch"] for line in log_of(resumed)) == 1


def test_what_a_bundle_says_of_its_training_is_of_the_patients_that_trained(done, shards):
    """The fold's training patients are looked at and counted, not the set's training split."""
    run = done.run(TEACHER.format(1))
    source = read_source(run, shards=shards, split="test", unevaluated=False)
    own = record_of(run)["shard_set"]["fold"]
    assert source.index.document.splits["train"].patients == 11 - len(own["tested"]) - len(own["validated"])
    measured = measure_training_data(source.index, source.train_on, 10.0)
    assert measured.images == source.index.document.splits["train"].samples


def test_metrics_say_which_fold_they_are_of(done):
    """Beside the split, for whoever reads the file alone."""
    metrics = json.loads((done.run(KD.format(3)) / "evaluation-test" / "metrics.json").read_text())
    assert (metrics["split"], metrics["fold"]["number"], metrics["fold"]["of"]) == ("test", 3, 3)


def test_the_report_of_a_sweep_in_folds_is_of_all_patients(done):
    """Twelve images of eleven patients; each method's number is that of the folds' predictions put together."""
    report = build_report([str(done.out)], iterations=100)
    assert "on 12 tissue samples of 11 patients (3 folds), 1 seed" in report.subtitle
    table = next(table for table in report.tables() if table.name == "all-methods")
    cell = next(row for row in table.rows if row.heading == "Plain accuracy").cells[0]
    said = [
        one
        for i in (1, 2, 3)
        for one in read_predictions_csv(
            done.run(KD.format(i)) / "evaluation-test" / "predictions.csv"
        ).predictions
    ]
    assert cell.value == pytest.approx(100 * sum(one.label == one.predicted for one in said) / 12)


def test_a_dry_run_names_folds_and_cost(sweep, monkeypatch):
    """A line per fold with its patients by class, six runs, and nothing is written."""
    line = ((0.0, 0.0), (1.0, 1.0))
    speed = Speed(device="cpu", training=line, forward=line)
    monkeypatch.setattr("kdtrain.sweep.estimate.dry_run.measure_speed", lambda *_, **__: speed)
    # What a step's memory is has tests of its own, and takes most of the time.
    monkeypatch.setattr("kdtrain.sweep.estimate.cost.step_bytes", lambda *_, **__: 10**9)
    ended = sweep("--folds", 3, "--dry-run")
    assert ended.code == 0, ended.said
    assert (
        "3 folds of 11 patients (test, train, val; seed 0) fold patients gland stroma samples" in ended.said
    )
    assert "1 4 2 2 " in ended.said
    assert "to do: 6 of 6 runs" in ended.said
    assert "leaves out 1 sample of aux1, whose patients are tested or validated on" in ended.said
    assert not sweep.out.exists()
    rows = json.loads(sweep("--folds", 3, "--dry-run", "--json", "--only", "teacher*").said)
    assert [(row["name"], row["fold"]) for row in rows][:2] == [
        (TEACHER.format(1), 1),
        (TEACHER.format(2), 2),
    ]


@pytest.mark.parametrize(
    ("options", "changes", "said"),
    [
        (
            ("--folds", 6),
            {},
            "--folds 6: class 'gland' has 5 patients, and every fold needs one of each class",
        ),
        (("--folds", 2), {}, "of 2 folds, one is tested and the other would validate"),
        ((), {"folds": 1}, "folds.count: .*2"),
        ((), {"folds": {"count": 3, "spilts": ["train"]}}, "folds has count, seed, splits"),
        ((), {"folds": {"count": 3, "splits": ["aux1"]}}, "'aux1' is no labelled split"),
        (("--folds", 3), {"evaluate": {"splits": ["val"]}}, "whose split is 'test'; leave 'splits' out"),
        (("--folds", 3), {"settings": {"fold": 1}}, "'fold' cannot be set here"),
        (
            ("--folds", 3),
            {"evaluate": {"calibrate_on": "eval"}},
            "a fold has no 'eval', but aux1, dev, test, train, val",
        ),
        (("--folds", 3), {"evaluate": {"calibrate_on": "aux1"}}, "'aux1', which holds no labelled samples"),
        (
            ("--folds", 3),
            {"evaluate": {"calibrate_on": "val"}, "settings": {"validate_on": "none"}},
            "a fold has no 'val', but aux1, test, train; give val, the patients of the next fold",
        ),
        (
            ("--folds", 3),
            {"methods": {"KD": {"phase": "distill", "teacher_cache": "cache"}}},
            "each fold has a teacher of its own; leave the cache out",
        ),
    ],
)
def test_what_cannot_be_done_in_folds_is_refused(sweep, options, changes, said):
    """Before anything is written, with what to do."""
    ended = sweep(*options, recipe=RECIPE | changes)
    assert ended.code == 2
    assert not sweep.out.exists()
    assert re.search(said.replace("(", r"\("), ended.said), ended.said


def test_a_teacher_or_weights_that_exist_are_refused(done, sweep):
    """They may have seen any patient; so may the weights of any run."""
    run = done.run(TEACHER.format(1))
    ended = sweep("--folds", 3, recipe=RECIPE | {"teacher": {"run": str(run)}})
    assert ended.code == 2
    assert "each fold has a teacher of its own" in ended.said
    ended = sweep("--folds", 3, recipe=RECIPE | {"teacher": {"init": str(run / "model.safetensors")}})
    assert ended.code == 2
    assert "is of a run, which may have learnt from patients that fold 1 tests" in ended.said


def test_a_changed_set_is_refused(done, monkeypatch, tmp_path):
    """Folds are of the set as it stood."""
    other = _of_other_bytes(tmp_path / "other")
    again = Sweep(done.folder, other, monkeypatch)
    ended = again("--folds", 3)
    assert ended.code == 2
    assert "was begun with 3 folds of another set" in ended.said


def test_the_set_is_as_it_was(done, shards):
    """A sweep writes nothing into the shard set."""
    assert read_index(shards).sha256 == record_of(done.run(KD.format(1)))["shard_set"]["sha256"]
    assert {path.name for path in shards.iterdir()} == {"10x", "2.5x", "index.json"}
