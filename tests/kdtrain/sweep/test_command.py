"""A whole sweep with a launcher that trains nothing: what is skipped, tried again, recorded and refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.commands import Run
from fixtures.locks import held_elsewhere
from fixtures.training_runs import kdtrain, write_training_set
from kdtrain.evaluation.calibration import Calibration, Fitted
from kdtrain.shards.index import read_index
from kdtrain.sweep import command
from kdtrain.sweep.estimate.cost import Speed
from kdtrain.sweep.jobs import Job
from kdtrain.sweep.runners.job import run_request
from kdtrain.sweep.runners.local import Ended
from kdtrain.sweep.state import progress_of

RECIPE: dict[str, Any] = {
    "title": "Small",
    "magnifications": [2.5],
    "teacher": {"seed": 0},
    "methods": {"Baseline": {"phase": "baseline"}, "KD": {"phase": "distill", "train_on": "aux1"}},
}
TEACHER, BASELINE, KD = "teacher-10x-seed0", "baseline-2.5x-seed0", "kd-2.5x-seed0"


class Pretend:
    """A launcher whose runs leave at once the files of a trained and measured run, or fail.

    Args:
        shards: The shard set.
        fails: Why a run fails, by name.
        keeps: Runs that fail after their training.
        forgets: Runs that end well and leave nothing.
        interrupts: Name of the run during which the user presses Ctrl-C.
        weights: What training finds; left out: something of each run's own.
    """

    def __init__(
        self,
        shards: Path,
        fails: dict[str, str] | None = None,
        keeps: tuple[str, ...] = (),
        forgets: tuple[str, ...] = (),
        interrupts: str = "",
        weights: bytes = b"",
    ) -> None:
        self.started: list[tuple[str, bool]] = []
        self.stopped = False
        self._shards, self._fails, self._keeps, self._interrupts = shards, fails or {}, keeps, interrupts
        self._forgets, self._weights = forgets, weights
        self._running: list[Job] = []

    def has_room(self) -> bool:
        return not self._running

    def start(self, job: Job, *, train: bool) -> None:
        self.started.append((job.name, train))
        self._running.append(job)

    def ended(self, timeout_s: float) -> list[Ended]:
        job = self._running.pop()
        if job.name == self._interrupts:
            raise KeyboardInterrupt
        fails = job.name in self._fails
        if job.name not in self._forgets and (not fails or job.name in self._keeps):
            leave_weights(job, self._weights)
            if not fails:
                leave_metrics(job.folder, self._shards)
        return [Ended(name=job.name, reason=self._fails.get(job.name, ""), seconds=61)]

    def stop(self) -> None:
        self.stopped = True


def leave_weights(job: Job, weights: bytes = b"") -> None:
    """What training leaves; the record of a run that was begun before stays."""
    job.folder.mkdir(parents=True, exist_ok=True)
    if job.config is not None and not (job.folder / "run.json").exists():
        content = {
            "settings": job.config.record,
            "shard_set": {"sha256": read_index(job.config.shards).sha256, "train_on": ["train"]},
            "network": job.network.record,
        }
        (job.folder / "run.json").write_text(json.dumps(content))
    (job.folder / "model.safetensors").write_bytes(weights or job.name.encode())


def leave_metrics(folder: Path, shards: Path, iterations: int = 10_000) -> None:
    """What measuring leaves."""
    metrics = {
        "weights_sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "shard_set_sha256": read_index(shards).sha256,
        "bootstrap": {"unit": "patient", "iterations": iterations},
        "levels": {"sample": {"balanced_accuracy": {"value": 0.625}}},
    }
    (folder / "evaluation-test").mkdir(exist_ok=True)
    (folder / "evaluation-test" / "metrics.json").write_text(json.dumps(metrics))


class Sweep:
    """A recipe, a set and a folder, and what happened to them."""

    def __init__(self, folder: Path, shards: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.shards, self.out = folder, shards, folder / "out"
        self._patch = patch
        self.launcher = Pretend(shards)

    def __call__(self, *options: object, recipe: dict[str, Any] = RECIPE, **launcher: Any) -> Run:
        path = self.folder / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe))
        self.launcher = Pretend(self.shards, **launcher)
        self._patch.setattr(command, "_launcher", lambda *_: nullcontext(self.launcher))
        return kdtrain("sweep", path, "--shards", self.shards, "--out", self.out, *options)

    @property
    def record(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.out / "sweep.json").read_text())
        return content

    def states(self) -> dict[str, tuple[str, str]]:
        """State and reason of every run, as sweep.json has them."""
        return {run["name"]: (run["state"], run["reason"]) for run in self.record["runs"]}


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """A set with every kind of split."""
    return write_training_set(tmp_path_factory.mktemp("sets") / "set")


@pytest.fixture
def sweep(shards, tmp_path, monkeypatch) -> Sweep:
    """Nothing has run yet."""
    return Sweep(tmp_path, shards, monkeypatch)


def test_every_run_is_trained_once_and_recorded(sweep):
    """Exit code 0; sweep.json holds every run with its place in the sweep's folder."""
    ended = sweep()
    assert ended.code == 0
    assert sweep.launcher.started == [(TEACHER, True), (BASELINE, True), (KD, True)]
    assert f"{KD}: done in 1 min 01 s, balanced accuracy 62.5 % (3 of 3)" in ended.said
    assert "next kdtrain report" in ended.said
    assert sweep.record["runs"][2] == {
        "name": KD,
        "folder": f"runs/{KD}",
        "phase": "distill",
        "method": "KD",
        "magnification": 2.5,
        "seed": 0,
        "depends_on": [TEACHER],
        "state": "finished",
        "reason": "",
    }
    assert (sweep.record["format"], sweep.record["version"]) == ("kdtrain-sweep", 1)
    assert (sweep.record["splits"], sweep.record["unit"]) == (["test"], "patient")
    assert sweep.record["shards"] == str(sweep.shards)


def test_the_same_command_again_starts_nothing(sweep):
    """Finished runs are skipped, by what is on disk."""
    sweep()
    assert sweep().code == 0
    assert sweep.launcher.started == []


def test_the_disk_decides_and_not_the_record(sweep):
    """Without sweep.json nothing is trained again; without its folder, a run is."""
    sweep()
    record = sweep.record
    (sweep.out / "sweep.json").write_text(json.dumps(record | {"runs": []}))
    sweep()
    assert (sweep.launcher.started, sweep.record) == ([], record)
    (sweep.out / "runs" / KD / "model.safetensors").unlink()
    sweep()
    assert sweep.launcher.started == [(KD, True)]


def test_a_trained_run_is_only_measured(sweep):
    """Where metrics are missing, of other weights, or made otherwise than the recipe says."""
    sweep()
    folder = sweep.out / "runs" / BASELINE
    (folder / "evaluation-test" / "metrics.json").unlink()
    sweep()
    assert sweep.launcher.started == [(BASELINE, False)]
    leave_metrics(folder, sweep.shards, iterations=5)
    sweep()
    assert sweep.launcher.started == [(BASELINE, False)]
    (folder / "model.safetensors").write_bytes(b"others")
    sweep()
    assert sweep.launcher.started == [(BASELINE, False)]


def test_a_failure_ends_one_run_and_those_that_need_it(sweep):
    """Exit code 3; the baseline completes, the student is skipped, both with reasons."""
    ended = sweep(fails={TEACHER: "no memory"})
    assert ended.code == 3
    assert sweep.launcher.started == [(TEACHER, True), (BASELINE, True)]
    assert sweep.states() == {
        TEACHER: ("failed", "no memory"),
        BASELINE: ("finished", ""),
        KD: ("skipped", f"needs {TEACHER}, which failed"),
    }
    assert f"{TEACHER}: failed: no memory" in ended.said
    assert f"{KD}: skipped: needs {TEACHER}, which failed" in ended.said


def test_failed_runs_are_tried_again(sweep):
    """The same command completes what failed, and only that."""
    sweep(fails={TEACHER: "no memory"})
    assert sweep().code == 0
    assert sweep.launcher.started == [(TEACHER, True), (KD, True)]
    assert {state for state, _ in sweep.states().values()} == {"finished"}


def test_measuring_that_fails_keeps_no_student_waiting(sweep):
    """The teacher's network is there, so its student is trained."""
    assert sweep(fails={TEACHER: "damaged"}, keeps=(TEACHER,)).code == 3
    assert sweep.states()[TEACHER] == ("failed", "damaged")
    assert sweep.states()[KD] == ("finished", "")


def test_a_run_that_leaves_nothing_has_failed(sweep):
    """Exit code 0 of a process is not enough: its files must be there."""
    ended = sweep(forgets=(TEACHER,))
    assert ended.code == 3
    assert "does not hold its network" in sweep.states()[TEACHER][1]


def test_only_a_pattern_and_what_it_needs(sweep):
    """--only brings the teacher along; the rest waits in the record."""
    assert sweep("--only", "kd-*").code == 0
    assert sweep.launcher.started == [(TEACHER, True), (KD, True)]
    assert sweep.states()[BASELINE] == ("waiting", "")


def test_a_student_of_a_teacher_that_was_made_anew_is_not_finished(sweep):
    """With other weights it fails, with what is built on it; with the same weights it is kept."""
    tuned = {"Tuned": {"phase": "finetune", "student": "KD"}}
    recipe = RECIPE | {"methods": RECIPE["methods"] | tuned}
    sweep(recipe=recipe)
    source = {"teacher": {"weights_sha256": hashlib.sha256(TEACHER.encode()).hexdigest()}}
    path = sweep.out / "runs" / KD / "run.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"shard_set": content["shard_set"] | source}))

    shutil.rmtree(sweep.out / "runs" / TEACHER)
    assert sweep(recipe=recipe).code == 0
    assert sweep.launcher.started == [(TEACHER, True), (KD, True), ("tuned-2.5x-seed0", True)]

    shutil.rmtree(sweep.out / "runs" / TEACHER)
    ended = sweep(recipe=recipe, weights=b"others")
    assert ended.code == 3
    assert sweep.launcher.started == [(TEACHER, True)]
    assert "was begun with other weights of teacher-10x-seed0" in sweep.states()[KD][1]
    assert sweep.states()["tuned-2.5x-seed0"] == ("skipped", f"needs {KD}, which failed")
    assert sweep(recipe=recipe).code == 2


def test_a_dry_run_of_a_pattern_shows_what_it_needs(sweep, monkeypatch):
    """The teacher that will be trained for a student's sake; not once it is there. Who only looks needs no lock."""
    line = ((0.0, 0.0), (1.0, 1.0))
    speed = Speed(device="cpu", training=line, forward=line)
    monkeypatch.setattr("kdtrain.sweep.estimate.dry_run.measure_speed", lambda *_, **__: speed)
    ended = sweep("--only", "kd-*", "--dry-run", "--json")
    shown = json.loads(ended.said[ended.said.index("[") :])
    assert [row["name"] for row in shown] == [TEACHER, KD]
    sweep("--only", "teacher*")
    with held_elsewhere(sweep.out / "sweep.lock", "kdtrain sweep", sweep.out):
        ended = sweep("--only", "kd-*", "--dry-run", "--json")
    assert [row["name"] for row in json.loads(ended.said[ended.said.index("[") :])] == [KD]


def test_a_pattern_that_fits_nothing_is_refused(sweep):
    """With the names that there are."""
    ended = sweep("--only", "kd")
    assert ended.code == 2
    assert KD in ended.said


def test_runs_of_other_seeds_stay_in_the_record(sweep):
    """--seeds 1 adds to a sweep of seed 0, and loses nothing of it."""
    sweep()
    ended = sweep("--seeds", "1")
    assert sweep.launcher.started == [("baseline-2.5x-seed1", True), ("kd-2.5x-seed1", True)]
    assert set(sweep.states()) == {TEACHER, BASELINE, KD, "baseline-2.5x-seed1", "kd-2.5x-seed1"}
    assert "2 more runs of earlier commands" in ended.said


def test_an_added_method_joins_the_sweep(sweep):
    """What is there already is not trained again."""
    sweep()
    methods = RECIPE["methods"] | {"KD+MP": {"phase": "distill", "resize": "maxpool"}}
    sweep(recipe=RECIPE | {"methods": methods})
    assert sweep.launcher.started == [("kd-mp-2.5x-seed0", True)]


def test_a_changed_setting_is_refused_before_anything_starts(sweep):
    """Exit code 2, and sweep.json is as it was."""
    sweep()
    before = sweep.record
    ended = sweep(recipe=RECIPE | {"settings": {"epochs": 3}})
    assert ended.code == 2
    assert TEACHER in ended.said
    assert "epochs: 100 there, 3 now" in ended.said
    assert (sweep.launcher.started, sweep.record) == ([], before)


def with_epochs(**epochs: int) -> dict[str, Any]:
    """The recipe with a number of epochs for single sections."""
    methods = {label: dict(method) for label, method in RECIPE["methods"].items()}
    for label in methods.keys() & epochs.keys():
        methods[label]["epochs"] = epochs[label]
    teacher = {"seed": 0} | ({"epochs": epochs["Teacher"]} if "Teacher" in epochs else {})
    return RECIPE | {"teacher": teacher, "methods": methods}


def test_raised_epochs_lengthen_the_runs_that_they_are_of(sweep):
    """The student is trained again from where it was, and measured; the others are as they were."""
    sweep(recipe=with_epochs(Teacher=3, Baseline=3, KD=3))
    ended = sweep(recipe=with_epochs(Teacher=3, Baseline=3, KD=5))
    assert ended.code == 0, ended.said
    assert sweep.launcher.started == [(KD, True)]


@pytest.mark.parametrize(
    ("epochs", "said"),
    [
        ({"Teacher": 3, "KD": 2}, "epochs: 3 there, 2 now; what was trained is not taken back"),
        ({"Teacher": 5, "KD": 3}, f"learnt from {TEACHER}, which 5 epochs would make another network"),
    ],
)
def test_epochs_that_would_undo_something_are_refused(sweep, epochs, said):
    """Fewer, and more of a teacher that students have learnt from: nothing is started, nothing is lost."""
    sweep(recipe=with_epochs(Teacher=3, Baseline=3, KD=3))
    before = sweep.record
    ended = sweep(recipe=with_epochs(Baseline=3, **epochs))
    assert ended.code == 2
    assert said in ended.said
    assert (sweep.launcher.started, sweep.record) == ([], before)


def test_an_interrupted_sweep_stops_its_runs_and_goes_on_later(sweep):
    """Ctrl-C: the runs are ended, the message says how to go on, and the run counts as waiting."""
    ended = sweep(interrupts=BASELINE)
    assert ended.code == 1
    assert "run the same command again" in ended.said
    assert sweep.launcher.stopped
    assert sweep.states()[BASELINE] == ("waiting", "")
    sweep()
    assert sweep.launcher.started == [(BASELINE, True), (KD, True)]


def test_a_second_sweep_in_one_folder_is_refused(sweep):
    """While another holds the lock, nothing is started."""
    with held_elsewhere(sweep.out / "sweep.lock", "kdtrain sweep", sweep.out):
        ended = sweep()
    assert ended.code == 2
    assert f"another 'kdtrain sweep' writes to {sweep.out} (process" in ended.said
    assert sweep.launcher.started == []


def test_a_folder_with_something_else_is_refused(sweep):
    """A sweep never moves in with strangers."""
    sweep.out.mkdir()
    (sweep.out / "thesis.tex").write_text("")
    ended = sweep()
    assert ended.code == 2
    assert "holds no sweep" in ended.said


@pytest.mark.parametrize("place", ["", "runs/mine"])
def test_a_sweep_does_not_write_into_its_shards(sweep, place):
    """Neither beside index.json nor below it."""
    sweep.out = sweep.shards / place
    ended = sweep()
    assert (ended.code, "lies in the shard set" in ended.said) == (2, True)
    assert not (sweep.shards / "runs").exists()


def test_a_file_is_no_place_for_a_sweep(sweep):
    """Neither as the folder nor as one above it; nothing is said of deleting it."""
    file = sweep.folder / "thesis.tex"
    file.write_text("")
    for sweep.out in (file, file / "out"):
        ended = sweep()
        assert (ended.code, "thesis.tex is a file" in ended.said) == (2, True)


@pytest.mark.parametrize("runs", [{}, {"runs": [{"name": "kd"}]}, {"runs": 5}])
def test_a_damaged_record_is_said(sweep, runs):
    """A sweep.json without its runs is refused with what to do, and not with a traceback."""
    sweep.out.mkdir()
    (sweep.out / "sweep.json").write_text(json.dumps({"format": "kdtrain-sweep", "version": 1} | runs))
    ended = sweep()
    assert (ended.code, "sweep.json is damaged" in ended.said) == (2, True)


def test_a_damaged_list_of_sessions_keeps_no_sweep_from_its_table(sweep):
    """The time of that run is not known; everything else is shown."""
    sweep()
    (sweep.out / "runs" / KD / "sessions.json").write_text("[{")
    ended = sweep()
    assert (ended.code, "next kdtrain report" in ended.said) == (0, True)


def test_json_tells_how_every_run_stands(sweep):
    """One object on standard output."""
    ended = sweep("--json", fails={KD: "why"})
    assert ended.code == 3
    shown = json.loads(ended.said[ended.said.index("{") :])
    assert [(run["name"], run["state"], run["balanced_accuracy"]) for run in shown["runs"]] == [
        (TEACHER, "finished", 0.625),
        (BASELINE, "finished", 0.625),
        (KD, "failed", None),
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        *(
            (("--seeds", seeds), f"--seeds {seeds}: write whole numbers from 0 to below 2^63")
            for seeds in ("-1", "1.5", "nan", str(2**63), ",", "1_0")
        ),
        (("--gpus-per-run", "nan"), "'--gpus-per-run': nan is not in the range"),
        (("--gpus-per-run", "inf"), "'--gpus-per-run': inf is not in the range"),
        (("--jobs", "0"), "'--jobs': 0 is not in the range"),
        (("--jobs", "100000"), "'--jobs': 100000 is not in the range"),
        (("--cpus-per-run", "0"), "'--cpus-per-run': 0 is not in the range"),
        (("--shards", "nowhere"), "--shards nowhere is no folder"),
    ],
)
def test_wrong_options_are_refused(sweep, options, said):
    """Exit code 2 and a sentence."""
    ended = sweep(*options)
    assert ended.code == 2
    assert said in ended.said


def test_shards_and_out_come_from_somewhere(tmp_path):
    """Without them in the recipe or on the command line, the option is named."""
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    ended = kdtrain("sweep", path)
    assert (ended.code, "--shards is missing" in ended.said) == (2, True)


def test_progress_is_new_begun_trained_finished(shards, tmp_path, sweep):
    """By what lies in the run's folder; training goes on at the newest checkpoint."""
    from kdtrain.sweep.recipe import EvaluateRecipe

    how = EvaluateRecipe()
    sha256 = read_index(shards).sha256
    folder = tmp_path / "run"
    assert progress_of(folder, how, sha256).stage == "new"
    (folder / "checkpoints" / "step-000012").mkdir(parents=True)
    (folder / "checkpoints" / "step-000008").mkdir()
    (folder / "run.json").write_text("{}")
    (folder / "checkpoints" / "step-000012 (copy)").mkdir()
    begun = progress_of(folder, how, sha256)
    assert (begun.stage, begun.step) == ("begun", 12)
    (folder / "model.safetensors").write_bytes(b"weights")
    assert progress_of(folder, how, sha256).stage == "trained"
    leave_metrics(folder, shards)
    assert progress_of(folder, how, sha256).stage == "finished"
    assert progress_of(folder, how, "0" * 64).stage == "trained"


def test_a_run_that_is_to_be_calibrated_is_finished_when_it_is(shards, tmp_path):
    """On the split that the recipe names, of the weights that are there, and measured with that temperature."""
    from kdtrain.sweep.recipe import EvaluateRecipe

    how = EvaluateRecipe(calibrate_on="val")
    sha256, folder = read_index(shards).sha256, tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    leave_metrics(folder, shards)
    assert progress_of(folder, how, sha256).stage == "trained"
    record = calibration(folder, sha256)
    (folder / "calibration.json").write_bytes(record.to_bytes())
    assert progress_of(folder, how, sha256).stage == "trained"
    path = folder / "evaluation-test" / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"calibration": {"temperature": 1.5}}))
    assert progress_of(folder, how, sha256).stage == "finished"
    # Whoever asks for none takes what is there, as long as it was measured so.
    assert progress_of(folder, EvaluateRecipe(), sha256).stage == "finished"
    assert progress_of(folder, EvaluateRecipe(calibrate_on="dev"), sha256).stage == "trained"
    (folder / "model.safetensors").write_bytes(b"other weights")
    assert progress_of(folder, how, sha256).stage == "trained"


def calibration(folder: Path, sha256: str) -> Calibration:
    """At 1.5 on val, of the weights that are there."""
    measured = Fitted(log_loss=0.5, ece=0.1, brier=0.4)
    return Calibration(
        temperature=1.5,
        split="val",
        samples=2,
        patients=2,
        class_counts={"gland": 1, "stroma": 1},
        before=measured,
        after=measured,
        weights_sha256=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        shard_set_sha256=sha256,
        trained_on_sha256=sha256,
    )


def test_a_job_calibrates_between_training_and_measuring(monkeypatch, tmp_path):
    """Where it is asked to, on the split that it is told."""
    done: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "kdtrain.evaluation.calibrate.calibrate", lambda *_, split, **__: done.append(("calibrate", split))
    )
    monkeypatch.setattr(
        "kdtrain.evaluation.evaluate.evaluate", lambda *, split, **_: done.append(("evaluate", split))
    )
    request = {
        "train": False,
        "folder": str(tmp_path),
        "shards": "shards",
        "splits": ["test"],
        "unit": "patient",
        "iterations": 10,
        "workers": 0,
        "cache": None,
    }
    run_request(request | {"calibrate_on": "val"})
    run_request(request | {"calibrate_on": None})
    assert done == [("calibrate", "val"), ("evaluate", "test"), ("evaluate", "test")]
