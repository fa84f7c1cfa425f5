"""What a sweep refuses before its first run starts."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.shard_sets import write_set
from fixtures.teacher_caches import cached
from fixtures.training_runs import write_training_set
from kdtrain.errors import UsageError
from kdtrain.model.output_stride import Chosen
from kdtrain.shards.index import Index, read_index
from kdtrain.sweep.check import prepare
from kdtrain.sweep.graph import plan_runs
from kdtrain.sweep.jobs import Job, choices_of, existing_teacher, warnings_of
from kdtrain.sweep.recipe import EvaluateRecipe, Recipe
from kdtrain.sweep.runners.local import request_of


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Index:
    """A set at 10x and 2.5x with every kind of split."""
    return read_index(write_training_set(tmp_path_factory.mktemp("sets") / "set"))


def recipe(**more: Any) -> Recipe:
    """A teacher, a baseline and a student."""
    methods = {"Baseline": {"phase": "baseline"}, "KD": {"phase": "distill", "train_on": "aux1"}}
    return Recipe(
        **({"title": "t", "magnifications": [2.5], "teacher": {"seed": 0}, "methods": methods} | more)
    )


def jobs(given: Recipe, index: Index, out: Path) -> dict[str, Job]:
    """The recipe's jobs, by name."""
    found = prepare(
        plan_runs(given, existing_teacher(given)),
        index,
        shards=index.directory,
        out=out,
        evaluate=given.evaluate,
    )
    return {job.name: job for job in found}


def test_a_job_knows_its_network_before_it_is_trained(index, tmp_path):
    """A student has the teacher's model, its own magnification and colours, and a stride that fits its images."""
    found = jobs(recipe(teacher={"seed": 0, "model": "resnet18", "output_stride": 16}), index, tmp_path)
    student = found["kd-2.5x-seed0"]
    assert (student.network.model, student.network.output_stride) == ("resnet18", 4)
    assert student.network.magnification == 2.5
    assert student.network.mean == index.statistics_of(2.5).mean
    assert student.trained_on == ("aux1",)
    assert student.config is not None
    assert student.config.out == tmp_path / "runs" / "kd-2.5x-seed0"


def test_a_validation_split_without_a_class_is_said_once(tmp_path):
    """Teacher and baseline choose by the loss and say why; who names a metric, or reads no label, keeps theirs."""
    index = read_index(write_set(tmp_path / "set", {"train": [4], "val": [1], "test": [2]}))
    methods = {
        "Baseline": {"phase": "baseline"},
        "Asked": {"phase": "baseline", "select_by": "balanced_accuracy"},
        "KD": {"phase": "distill"},
    }
    found = jobs(recipe(methods=methods, **FITTING), index, tmp_path / "out")
    said = warnings_of(found.values())
    assert len(said) == 2
    assert "so its loss chooses the network" in said[0]
    assert said[0].endswith("(teacher-10x-seed0, baseline-2.5x-seed0)")
    assert "by which --select-by chooses the network, is of the other classes alone" in said[1]
    assert said[1].endswith("(asked-2.5x-seed0)")
    # A run is told only what the recipe says, so that in its process too nothing seems asked for that was not.
    request = request_of(
        found["baseline-2.5x-seed0"], train=True, shards=tmp_path, out=tmp_path, evaluate=EvaluateRecipe()
    )
    assert "select_by" not in request["config"]
    assert warnings_of(jobs(recipe(**FITTING), _whole(tmp_path), tmp_path / "other").values()) == []


def test_auto_says_what_it_chose_and_by_what(index, tmp_path):
    """Images of 32 px take a stride of 4, those of 128 px one of 16: 8 cells each; a stride that is given says none."""
    methods = {
        "Baseline": {"phase": "baseline", "output_stride": 4},
        "KD": {"phase": "distill", "train_on": "aux1"},
    }
    given = recipe(methods=methods, **FITTING)
    found = jobs(given, index, tmp_path)
    assert choices_of(found.values()) == [
        "auto: output stride 16 leaves 8 cells on the 128 px of the median training image's shorter side "
        "(teacher-10x-seed0)",
        "auto: output stride 4 leaves 8 cells on the 32 px of the median training image's shorter side (kd-2.5x-seed0)",
    ]
    student = found["kd-2.5x-seed0"]
    assert student.network.output_stride == 4
    assert student.stride_chosen == Chosen(stride=4, cells=8, median_shorter_side_px=32)


def test_a_stride_that_leaves_too_little_is_warned_of(index, tmp_path):
    """A cell of stride 32 on 32 px: the runs are named, with what to add; the teacher's four cells are few as well."""
    assert warnings_of(jobs(recipe(settings={"output_stride": 32}), index, tmp_path).values()) == [
        "output stride 32 leaves 4 cells on the 128 px of the median training image's shorter side, too few to learn a "
        "feature map from; set 'output_stride: auto' in the recipe (teacher-10x-seed0)",
        "output stride 32 leaves 1 cell on the 32 px of the median training image's shorter side, too few to learn a "
        "feature map from; set 'output_stride: auto' in the recipe (baseline-2.5x-seed0, kd-2.5x-seed0)",
    ]


def test_strides_that_are_compared_are_not_warned_of(index, tmp_path):
    """Whoever lists 32 and 4 wants to see what 32 does; the teacher is of one stride."""
    methods = {"Baseline": {"phase": "baseline", "output_stride": [32, 4]}}
    given = recipe(methods=methods, teacher={"seed": 0, "output_stride": 32})
    (said,) = warnings_of(jobs(given, index, tmp_path).values())
    assert said.endswith("(teacher-10x-seed0)")


def test_auto_has_no_images_to_choose_by(index, tmp_path):
    """A training set from which all slides were removed is refused in a sentence."""
    rest = tuple(shard for shard in index.document.shards if shard.split != "aux1")
    emptied = replace(index, document=index.document.model_copy(update={"shards": rest}))
    with pytest.raises(UsageError, match="chooses by the training images, and --train-on aux1 has none"):
        jobs(recipe(**FITTING), emptied, tmp_path / "out")


FITTING = {"settings": {"output_stride": "auto"}}
"""Strides with which even images of 32 px have cells enough."""


def _whole(folder: Path) -> Index:
    return read_index(write_training_set(folder / "whole"))


def test_nothing_is_written(index, tmp_path):
    """Checking leaves no folder behind."""
    jobs(recipe(), index, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def method(**settings: Any) -> dict[str, Any]:
    """A recipe's only method, a distillation."""
    return {"methods": {"KD": {"phase": "distill"} | settings}}


TUNED = {"T": {"phase": "finetune", "student": "KD"}}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"magnifications": [1.25]}, "methods.Baseline, run baseline-1.25x-seed0: "),
        ({"magnifications": [10]}, "methods.KD, run kd-10x-seed0: 10x is not below the teacher's 10x"),
        (method(train_on="aux9"), "no split or set 'aux9'"),
        (method(train_on="test"), "includes the test split"),
        (method(validate_on="test"), "validate-on test would choose"),
        (method(epochs="many"), "epochs: "),
        (method(lr=-1), "methods.KD, run kd-2.5x-seed0: lr: must be a number above 0 (given: -1)"),
        (
            {"settings": {"lr": "x"}},
            "teacher, run teacher-10x-seed0: settings.lr: must be a number above 0 (given: 'x')",
        ),
        (method(warmup_steps=999), "--warmup-steps (warmup_steps) is 999, beyond the "),
        (method(schedule="step"), "schedule: --step-every (step_every) is 0"),
        ({"settings": {"deepspeed": "none.json"}}, "deepspeed: there is no none.json"),
        ({"methods": {"B": {"phase": "baseline", "train_on": "aux1"}}}, "carries no labels"),
        ({"methods": {"KD": {"phase": "distill"}} | TUNED}, "section 3.4"),
        ({"evaluate": {"splits": ["tset"]}}, "evaluate.splits: "),
        ({"evaluate": {"splits": ["aux1"]}}, "'aux1', which holds no labelled samples"),
        ({"evaluate": {"calibrate_on": "vall"}}, "evaluate.calibrate_on: "),
        ({"evaluate": {"calibrate_on": "aux1"}}, "evaluate.calibrate_on: nothing can be measured on 'aux1'"),
        (
            {"evaluate": {"calibrate_on": "train"}},
            "run teacher-10x-seed0: evaluate.calibrate_on: train is what the network was trained on",
        ),
        ({"teacher": {"run": "nowhere"}}, "teacher.run nowhere is no run"),
    ],
)
def test_what_cannot_be_run_is_refused_by_key_and_run(index, tmp_path, given, said):
    """The message names the recipe's key, and the run where it is about one."""
    with pytest.raises(UsageError) as raised:
        jobs(recipe(**given), index, tmp_path / "out")
    assert said in str(raised.value)


def test_a_logger_that_is_not_installed_is_refused_before_the_first_run(index, tmp_path, monkeypatch):
    """With the run and the extra; a setting like any other may be a list."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    settings = {"logger": ["tensorboard", "wandb"]}
    with pytest.raises(UsageError, match=r"run teacher-10x-seed0: --logger wandb needs .*kdtrain\[wandb\]"):
        jobs(recipe(settings=settings), index, tmp_path)


def test_a_run_is_told_what_to_calibrate_on(index, tmp_path):
    """Nothing, where the recipe does not say so: no label is then read but to measure."""
    for given, asked in (({}, None), ({"evaluate": {"calibrate_on": "val"}}, "val")):
        wanted = recipe(**given)
        job = jobs(wanted, index, tmp_path / "out")["kd-2.5x-seed0"]
        request = request_of(job, train=True, shards=tmp_path, out=tmp_path, evaluate=wanted.evaluate)
        assert request["calibrate_on"] == asked


def test_fine_tuning_after_an_auxiliary_set_is_allowed(index, tmp_path):
    """And on the teacher's set where the recipe insists."""
    methods = {"KD": {"phase": "distill", "train_on": "aux1"}} | TUNED
    insisting = {"KD": {"phase": "distill"}, "T": TUNED["T"] | {"same_training_set": True}}
    assert "t-2.5x-seed0" in jobs(recipe(methods=methods), index, tmp_path)
    assert "t-2.5x-seed0" in jobs(recipe(methods=insisting), index, tmp_path)


def begun(found: dict[str, Job], index: Index, name: str, **source: Any) -> Path:
    """Leave the record of a run that was begun, as kdtrain.training.run_folder writes it."""
    job = found[name]
    assert job.config is not None
    content = {
        "settings": job.config.record,
        "shard_set": {"sha256": index.sha256} | source,
        "network": job.network.record,
    }
    job.folder.mkdir(parents=True)
    (job.folder / "run.json").write_text(json.dumps(content))
    return job.folder


def test_a_run_begun_with_the_same_settings_goes_on(index, tmp_path):
    """Settings that change no weight may differ."""
    begun(jobs(recipe(), index, tmp_path), index, "baseline-2.5x-seed0")
    assert jobs(recipe(settings={"workers": 0, "log_every": 9}), index, tmp_path)


def test_a_new_seed_has_the_stride_of_those_begun_before_auto(index, tmp_path):
    """Begun when 32 was the default: seed 1 has 32 too, also once it is begun itself; another method does not."""
    old = jobs(recipe(settings={"output_stride": 32}), index, tmp_path)
    for name in old:
        path = begun(old, index, name) / "run.json"
        content = json.loads(path.read_text())
        if name.startswith("kd"):
            content["settings"]["output_stride"] = None
        path.write_text(json.dumps(content))
    kd = {"phase": "distill", "train_on": "aux1"}
    given = recipe(methods={"Baseline": {"phase": "baseline"}, "KD": kd, "KD 2": kd}, seeds=(0, 1))
    strides = {"kd-2.5x-seed0": 32, "kd-2.5x-seed1": 32, "baseline-2.5x-seed1": 32, "kd-2-2.5x-seed1": 4}
    found = jobs(given, index, tmp_path)
    assert {name: found[name].network.output_stride for name in strides} == strides
    begun(found, index, "kd-2.5x-seed1")
    assert jobs(given, index, tmp_path)["kd-2.5x-seed1"].network.output_stride == 32


def test_a_changed_recipe_is_refused_with_run_and_setting(index, tmp_path):
    """Runs are never mixed; both values are shown."""
    begun(jobs(recipe(), index, tmp_path), index, "baseline-2.5x-seed0")
    with pytest.raises(UsageError) as raised:
        jobs(recipe(settings={"epochs": 7}), index, tmp_path)
    assert "baseline-2.5x-seed0" in str(raised.value)
    assert "epochs: 100 there, 7 now" in str(raised.value)


def test_another_shard_set_is_refused(index, tmp_path):
    """A run begun on other pixels is another run."""
    begun(jobs(recipe(), index, tmp_path), index, "baseline-2.5x-seed0", sha256="0" * 64)
    with pytest.raises(UsageError, match="shard set: '0000"):
        jobs(recipe(), index, tmp_path)


def test_a_student_of_another_teacher_is_refused(index, tmp_path):
    """Where the teacher's weights are not those that the student was begun with."""
    found = jobs(recipe(), index, tmp_path)
    begun(found, index, "kd-2.5x-seed0", teacher={"weights_sha256": "0" * 64})
    (begun(found, index, "teacher-10x-seed0") / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(UsageError, match="begun with other weights of teacher-10x-seed0"):
        jobs(recipe(), index, tmp_path)


def test_all_runs_in_the_way_are_named_at_once(index, tmp_path):
    """The first with what differs, so that nobody deletes seventeen folders one command after the other."""
    found = jobs(recipe(), index, tmp_path)
    for name in found:
        begun(found, index, name)
    with pytest.raises(UsageError) as raised:
        jobs(recipe(settings={"epochs": 7}), index, tmp_path)
    assert str(raised.value).count("epochs: 100 there, 7 now") == 1
    assert "2 more do not fit: baseline-2.5x-seed0, kd-2.5x-seed0" in str(raised.value)


def test_files_count_by_their_content(index, tmp_path):
    """Other first weights or DeepSpeed settings make another run; the same under another path do not."""
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / f"{name}.pth").write_text(text)
        (tmp_path / f"{name}.json").write_text(f'{{"steps_per_print": {text}}}')

    def planned(name: str) -> dict[str, Job]:
        files = {"init": tmp_path / f"{name}.pth", "deepspeed": tmp_path / f"{name}.json"}
        return jobs(recipe(methods={"B": {"phase": "baseline"} | files}), index, tmp_path / "out")

    sha256 = hashlib.sha256(b"1").hexdigest()
    begun(planned("a"), index, "b-2.5x-seed0", init={"sha256": sha256}, deepspeed={"steps_per_print": 1})
    assert planned("b")
    with pytest.raises(UsageError) as raised:
        planned("c")
    assert f"init: '{sha256}' there" in str(raised.value)
    assert "deepspeed: {'steps_per_print': 1} there, {'steps_per_print': 2} now" in str(raised.value)
    with pytest.raises(UsageError, match=r"init: '[0-9a-f]+' there, None now"):
        jobs(recipe(methods={"B": {"phase": "baseline"}}), index, tmp_path / "out")


def test_a_foreign_folder_is_refused(index, tmp_path):
    """A folder with something else in it is not written into."""
    folder = tmp_path / "runs" / "baseline-2.5x-seed0"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds no run"):
        jobs(recipe(), index, tmp_path)


def test_an_existing_teacher_is_taken_as_it_is(index, tmp_path):
    """Its network counts, not the recipe's settings; it has nothing to train."""
    found = jobs(recipe(), index, tmp_path / "first")
    folder = begun(found, index, "teacher-10x-seed0", train_on=["train"])
    (folder / "model.safetensors").write_bytes(b"weights")
    given = recipe(teacher={"run": folder}, settings={"epochs": 3})
    again = jobs(given, index, tmp_path / "second")
    assert again["teacher-10x-seed0"].config is None
    assert again["teacher-10x-seed0"].folder == folder.resolve()
    student = again["kd-2.5x-seed0"].config
    assert student is not None
    assert student.model_dump()["teacher"] == folder.resolve()


def test_an_unfinished_existing_teacher_is_refused(index, tmp_path):
    """Without weights there is nothing to distil from."""
    folder = begun(jobs(recipe(), index, tmp_path / "first"), index, "teacher-10x-seed0")
    with pytest.raises(UsageError, match="not finished"):
        jobs(recipe(teacher={"run": folder}), index, tmp_path / "second")


def test_evaluation_defaults_fit_the_set(index, tmp_path):
    """The test split of a set is what a recipe measures unless it says otherwise."""
    assert EvaluateRecipe().splits == ("test",)
    assert jobs(recipe(evaluate={"splits": ["test", "val"]}), index, tmp_path)


def test_a_student_is_planned_at_the_stride_of_its_cache(shards, teacher, tmp_path):
    """As it will be trained: a cache for stride 16 of a teacher of 32, and no stride in the recipe."""
    cache = cached(shards, teacher, tmp_path / "cache", "--output-stride", 16)
    method = {"phase": "distill", "train_on": "aux2", "teacher_cache": str(cache)}
    given = recipe(teacher={"run": str(teacher)}, methods={"KD": method})
    job = jobs(given, read_index(shards), tmp_path / "out")["kd-2.5x-seed0"]
    assert job.network.output_stride == 16


def test_one_stain_for_all_runs_is_a_setting_of_the_recipe(index, tmp_path):
    """Of a student it is its teacher's, whoever names it; a student alone cannot have one."""
    settings = {"stain_normalization": "macenko", "stain_augmentation": 0.05}
    found = jobs(recipe(settings=settings), index, tmp_path / "all")
    assert {job.stain for job in found.values()} == {"macenko"}
    assert {job.config.stain_augmentation for job in found.values()} == {0.05}
    teacher = {"seed": 0, "stain_normalization": "reinhard"}
    assert jobs(recipe(teacher=teacher), index, tmp_path)["kd-2.5x-seed0"].stain == "reinhard"
    alone = {"KD": {"phase": "distill", "train_on": "aux1", "stain_normalization": "macenko"}}
    with pytest.raises(
        UsageError, match=r"KD.*--stain-normalization macenko: .* has none, and both must see"
    ):
        jobs(recipe(methods=alone), index, tmp_path)
