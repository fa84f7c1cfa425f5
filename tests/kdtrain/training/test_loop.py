"""The loop's rules: what is trained and validated on, when a run goes on, and that it always ends the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from fixtures.shard_sets import write_set
from fixtures.training_runs import (
    QUICK,
    kdtrain,
    log_of,
    record_of,
    trained,
    weights,
    weights_sha256,
    write_training_set,
)
from kdtrain.config.phases import DistillConfig, TeacherConfig
from kdtrain.data.sets import check_phase, choice_of, samples_of, validation_split
from kdtrain.errors import UsageError
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import Index, read_index, union_of
from kdtrain.training.engine.settings import deepspeed_json, engine_settings
from kdtrain.training.run_folder import RunFolder

pytest.importorskip("deepspeed", reason="needs DeepSpeed")
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """A set with every kind of split."""
    return write_training_set(tmp_path_factory.mktemp("sets") / "set")


@pytest.fixture(scope="module")
def index(shards) -> Index:
    """The same, opened."""
    return read_index(shards)


@pytest.fixture(scope="module")
def teacher(shards, tmp_path_factory) -> Path:
    """A finished run of one epoch."""
    return trained("teacher", shards, tmp_path_factory.mktemp("runs") / "teacher")


def config_of(train_on: str = "train", validate_on: str | None = None, **more: object) -> TeacherConfig:
    """A teacher's settings."""
    return TeacherConfig(shards="set", out="run", train_on=train_on, validate_on=validate_on, **more)


def test_a_union_holds_each_stored_split_once(index):
    """train,aux1,aux2 is 5 + 3 + 2 samples: aux1 is inside aux2 and is not counted twice."""
    union, name = union_of(index, ["train", "aux1", "aux2"])
    assert union.document.sets[name] == ("train", "aux1", "added")
    assert samples_of(union, name) == 10
    assert union_of(index, ["train"]) == (index, "train")


def test_a_union_of_an_unknown_split_is_refused(index):
    """The message names the split and those that there are."""
    with pytest.raises(ShardError, match=r"no .*aux9.*aux1"):
        union_of(index, ["train", "aux9"])


@pytest.mark.parametrize(
    ("train_on", "validate_on", "labelled", "expected"),
    [
        ("train", None, True, "val"),
        ("aux1", None, False, "dev"),
        ("aux2", None, False, "dev"),
        ("train,aux1", None, False, "dev"),
        ("train,val", None, True, None),
        ("train", "dev", True, "dev"),
        ("aux1", "val", False, "val"),
        ("train", "none", True, None),
        ("train", "aux1", False, "aux1"),
    ],
)
def test_the_validation_split_is_the_papers(index, train_on, validate_on, labelled, expected):
    """Left out it is val for labelled sets and dev where an auxiliary one is among them, unless trained on."""
    assert validation_split(config_of(train_on, validate_on), index, labelled=labelled) == expected


def test_without_val_and_dev_the_last_epoch_is_kept(tmp_path):
    """A set of train and test alone, the lung protocol, validates on nothing."""
    index = read_index(write_set(tmp_path / "set", {"train": [3], "test": [2]}))
    assert validation_split(config_of(), index, labelled=True) is None


@pytest.mark.parametrize(
    ("train_on", "validate_on", "labelled", "message"),
    [
        ("train", "train", True, "shares train with --train-on, so validation would measure memory"),
        ("aux2", "aux1", False, "shares aux1 with --train-on"),
        ("train", "test", True, "would choose the network by the very samples that are there to measure it"),
        ("train", "aux1", True, "carries no labels, and this phase validates with them"),
    ],
)
def test_a_split_that_cannot_choose_is_refused(index, train_on, validate_on, labelled, message):
    """Overlap, the test split and missing labels are refused before any work, naming the option."""
    with pytest.raises(UsageError, match=f"--validate-on {validate_on} {message}.*or 'none'"):
        validation_split(config_of(train_on, validate_on), index, labelled=labelled)


@pytest.mark.parametrize(
    ("train_on", "magnification", "error", "message"),
    [
        ("test", 10, UsageError, "includes the test split, which is there to measure with"),
        ("train,test", 10, UsageError, "includes the test split"),
        ("aux1", 10, ShardError, "'aux1' carries no labels, and this phase learns from them"),
        ("train", 20, ShardError, "no .*20"),
        ("absent", 10, ShardError, "no .*absent"),
    ],
)
def test_a_phase_that_could_only_fail_later_is_refused_at_once(
    index, train_on, magnification, error, message
):
    """Test split, missing labels, missing magnification and missing split end in a sentence."""
    with pytest.raises(error, match=message):
        check_phase(config_of(train_on), index, [magnification], labelled=True)


def test_a_training_set_of_one_class_is_refused(tmp_path):
    """With a single class there is nothing to learn, and the message says so."""
    index = read_index(write_set(tmp_path / "set", {"train": [3]}, classes=["gland"]))
    with pytest.raises(ShardError, match="single class 'gland'"):
        check_phase(config_of(), index, [10], labelled=True)


def test_schedules_end_where_the_run_ends():
    """Three epochs of four steps make a cosine schedule of 12 steps; warm-up as long as that is refused."""
    settings = engine_settings(config_of(epochs=3, schedule="cosine"), steps_per_epoch=4)
    assert settings.schedule.total_steps == 12
    with pytest.raises(UsageError, match=r"--schedule cosine: .*--warmup-steps \(warmup_steps\) is 12"):
        engine_settings(config_of(epochs=3, schedule="cosine", warmup_steps=12), steps_per_epoch=4)


@pytest.mark.parametrize(("text", "message"), [("{", "no JSON file"), ("[1]", "must hold an object")])
def test_a_deepspeed_file_that_is_no_object_is_refused(tmp_path, text, message):
    """The message names the option and the file."""
    path = tmp_path / "ds.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"--deepspeed .*ds.json {'is ' if text == '{' else ''}{message}"):
        deepspeed_json(path)


def test_the_deepspeed_file_is_kept_in_the_record_by_its_content(shards, tmp_path):
    """Moving the file does not forbid going on; changing it does, naming the key."""
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text('{"prescale_gradients": false}')
    run = trained("teacher", shards, tmp_path / "run", "--deepspeed", first)
    assert record_of(run)["shard_set"]["deepspeed"] == {"prescale_gradients": False}
    first.rename(second)
    trained("teacher", shards, run, "--deepspeed", second)
    second.write_text('{"prescale_gradients": true}')
    refused = kdtrain("teacher", "--shards", shards, "--out", run, *QUICK, "--deepspeed", second)
    assert refused.code == 2
    assert "shard_set.deepspeed.prescale_gradients: false there, true now" in refused.said


def test_the_same_command_makes_the_same_file(shards, teacher, tmp_path):
    """Two runs of one command agree in every byte of model.safetensors and in the log."""
    again = trained("teacher", shards, tmp_path / "again")
    assert weights_sha256(again) == weights_sha256(teacher)
    assert log_of(again) == log_of(teacher)


def test_loader_processes_and_checkpoints_change_no_weight(shards, teacher, tmp_path):
    """More workers than shards, a checkpoint a step and a rare log end with the same network."""
    options = ("--workers", 4, "--checkpoint-every", 1, "--log-every", 2, "--keep", 5)
    again = trained("teacher", shards, tmp_path / "again", *options)
    assert weights_sha256(again) == weights_sha256(teacher)
    assert [line["step"] for line in log_of(again) if line["kind"] == "step"] == [2]


def test_another_seed_is_another_network(shards, teacher, tmp_path):
    """The seed decides the first weights and the order."""
    other = trained("teacher", shards, tmp_path / "other", "--seed", 1)
    assert weights_sha256(other) != weights_sha256(teacher)


def test_a_finished_run_is_not_trained_again(shards, teacher):
    """The same command says that all is done, and leaves log, checkpoints and network as they are."""
    before = (weights_sha256(teacher), log_of(teacher), sorted((teacher / "checkpoints").iterdir()))
    again = kdtrain("teacher", "--shards", shards, "--out", teacher, *QUICK)
    assert again.code == 0
    assert "finished already, at step 2; nothing is trained" in again.said
    assert "samples/s" not in again.said
    assert (weights_sha256(teacher), log_of(teacher), sorted((teacher / "checkpoints").iterdir())) == before


def test_the_cost_of_every_start_is_kept(shards, tmp_path):
    """A run that is started again adds an entry that begins where it went on; a finished one adds nothing."""
    run = trained("teacher", shards, tmp_path / "run", "--checkpoint-every", 1)
    (first,) = RunFolder(run).sessions()
    assert (first.from_step, first.to_step, first.processes, first.threads) == (0, 2, 1, 1)
    assert first.device == "cpu"
    assert 0 < first.seconds < 60
    (max((run / "checkpoints").iterdir()) / "model.safetensors").write_bytes(b"damaged")
    trained("teacher", shards, run, "--checkpoint-every", 1)
    kept, second = RunFolder(run).sessions()
    assert kept == first
    assert (second.from_step, second.to_step) == (1, 2)
    trained("teacher", shards, run, "--checkpoint-every", 1)
    assert RunFolder(run).sessions() == [first, second]


def test_time_spent_before_a_failure_is_counted(shards, tmp_path):
    """A run that ends in an error after its first epoch has cost what it has cost."""
    options = (*QUICK, "--epochs", 9, "--lr", "1e30")
    assert kdtrain("teacher", "--shards", shards, "--out", tmp_path / "run", *options).code == 1
    (session,) = RunFolder(tmp_path / "run").sessions()
    assert session.seconds > 0
    assert session.from_step == 0


def test_a_killed_run_has_paid_until_its_last_checkpoint(shards, tmp_path, monkeypatch):
    """The session is on disk with every checkpoint, not only when all is over."""
    steps: list[list[int]] = []
    original = RunFolder.write_sessions

    def spy(self, sessions):
        original(self, sessions)
        steps.append([session.to_step for session in self.sessions()])

    monkeypatch.setattr(RunFolder, "write_sessions", spy)
    trained("teacher", shards, tmp_path / "run", "--epochs", 2, "--checkpoint-every", 1)
    # Two steps an epoch; the last one's end and the run's end are written as well.
    assert steps == [[1], [2], [3], [4], [4]]


def test_a_run_may_be_moved(shards, teacher, tmp_path):
    """Run and shards under other names are the same run, not one with other settings."""
    run, moved = tmp_path / "moved", tmp_path / "set"
    shutil.copytree(teacher, run)
    shutil.copytree(shards, moved)
    assert "finished already" in kdtrain("teacher", "--shards", moved, "--out", run, *QUICK).said


def test_a_lost_network_is_written_again_from_the_checkpoints(shards, teacher, tmp_path):
    """A run that was killed between its last checkpoint and model.safetensors ends with the same file."""
    run = tmp_path / "run"
    shutil.copytree(teacher, run)
    (run / "model.safetensors").unlink()
    assert kdtrain("teacher", "--shards", shards, "--out", run, *QUICK).code == 0
    assert weights_sha256(run) == weights_sha256(teacher)


def test_a_log_without_a_checkpoint_is_begun_again(shards, teacher, tmp_path):
    """Killed before its first checkpoint, a run starts afresh and logs each step once."""
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(teacher / "run.json", run)
    (run / "log.jsonl").write_text('{"kind": "step", "step": 1, "loss": 9}\n{"kind": "st')
    assert kdtrain("teacher", "--shards", shards, "--out", run, *QUICK).code == 0
    assert log_of(run) == log_of(teacher)


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(shards, teacher, tmp_path):
    """It is named, the run goes on from the one before, and ends with the same weights."""
    run = trained("teacher", shards, tmp_path / "run", "--checkpoint-every", 1)
    newest = max((run / "checkpoints").iterdir())
    (newest / "model.safetensors").write_bytes(b"damaged")
    again = kdtrain("teacher", "--shards", shards, "--out", run, *QUICK, "--checkpoint-every", 1)
    assert again.code == 0
    assert "step-000002 is damaged" in again.said
    assert "going on from step 1, epoch 1" in again.said
    assert weights_sha256(run) == weights_sha256(teacher)
    assert log_of(run) == log_of(teacher)


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (("--lr", "0.5"), ["settings.lr: 0.001 there, 0.5 now"]),
        (
            ("--seed", "3", "--model", "resnet18"),
            [
                'network.model: "resnet10" there, "resnet18" now',
                "settings.seed: 0 there, 3 now",
                'settings.model: "resnet10" there, "resnet18" now',
            ],
        ),
        (("--validate-on", "none"), ['shard_set.validate_on: "val" there, null now']),
    ],
)
def test_another_configuration_is_refused_with_the_fields_that_differ(shards, teacher, options, lines):
    """Nothing is mixed: the message lists each field with both values, and the exit code is 2."""
    refused = kdtrain("teacher", "--shards", shards, "--out", teacher, *QUICK, *options)
    assert refused.code == 2
    for line in lines:
        assert line in refused.said


def test_another_shard_set_is_refused(teacher, tmp_path):
    """The set's hash is part of a run."""
    other = write_training_set(tmp_path / "other", cells=[(32, 32)])
    refused = kdtrain("teacher", "--shards", other, "--out", teacher, *QUICK)
    assert refused.code == 2
    assert "shard_set.sha256" in refused.said


def test_the_best_checkpoint_is_the_network(shards, tmp_path):
    """By loss on val, model.safetensors holds the weights of the step whose logged loss is the smallest."""
    options = ("--epochs", 4, "--select-by", "loss", "--keep", 9, "--lr", "0.02")
    run = trained("teacher", shards, tmp_path / "run", *options)
    losses = {line["step"]: line["loss"] for line in log_of(run) if line["kind"] == "validation"}
    assert len(losses) == 4
    best = min(losses, key=losses.__getitem__)
    from safetensors.torch import load_file

    from fixtures.training_runs import weights

    expected = load_file(run / "checkpoints" / f"step-{best:06d}" / "model.safetensors")
    assert all((expected[name] == tensor).all() for name, tensor in weights(run).items())


@pytest.fixture(scope="module")
def one_class(tmp_path_factory) -> Path:
    """A set whose validation split has a gland and no stroma, and whose training split has both."""
    return write_set(tmp_path_factory.mktemp("sets") / "one", {"train": [3, 2], "val": [1], "test": [2]})


def test_a_validation_split_of_one_class_chooses_by_the_loss(one_class, tmp_path):
    """Balanced accuracy would be 100 % for a network that says gland alone: said before training, and kept."""
    out = tmp_path / "run"
    done = kdtrain("teacher", "--shards", one_class, "--out", out, *QUICK, "--epochs", 3)
    assert done.code == 0, done.said
    assert "warning: the validation split val has no sample of stroma, which is trained on" in done.said
    assert "so its loss chooses the network" in done.said
    assert ", by loss on val (" in done.said
    kept = record_of(out)["shard_set"]
    assert (kept["chosen_by"], kept["select_by"], kept["validation_lacks"]) == (
        "loss on val",
        "loss",
        ["stroma"],
    )
    losses = {line["step"]: line["loss"] for line in log_of(out) if line["kind"] == "validation"}
    assert f"chosen: step {min(losses, key=losses.__getitem__)}, by loss" in done.said


def test_a_metric_that_is_asked_for_chooses_all_the_same(one_class, tmp_path):
    """--select-by is obeyed, with a warning; where the split has all classes there is none, and nothing is recorded."""
    out = tmp_path / "run"
    asked = ("--select-by", "balanced_accuracy")
    done = kdtrain("teacher", "--shards", one_class, "--out", out, *QUICK, *asked)
    assert (
        "balanced accuracy, by which --select-by chooses the network, is of the other classes alone"
        in done.said
    )
    assert record_of(out)["shard_set"]["chosen_by"] == "balanced_accuracy on val"
    refused = kdtrain("teacher", "--shards", one_class, "--out", out, *QUICK)
    assert refused.code == 2
    assert 'chosen_by: "balanced_accuracy on val" there, "loss on val" now' in refused.said


@pytest.mark.parametrize(
    ("options", "labelled", "metric", "missing"),
    [
        ({}, True, "loss", ("stroma",)),
        ({"select_by": "accuracy"}, True, "accuracy", ("stroma",)),
        ({"select_by": "loss"}, True, "loss", ("stroma",)),
        ({"validate_on": "none"}, True, "balanced_accuracy", ()),
        ({}, False, "balanced_accuracy", ()),
        ({"train_on": "train,val", "validate_on": "none"}, True, "balanced_accuracy", ()),
    ],
)
def test_what_chooses_follows_from_what_the_split_has(one_class, options, labelled, metric, missing):
    """The loss for want of a class, unless another was asked for; without validation or labels none is looked at."""
    choice = choice_of(config_of(**options), read_index(one_class), labelled=labelled)
    assert (choice.metric, choice.missing) == (metric, missing)
    assert (choice.warning is None) is (not missing)


def test_a_split_with_every_class_chooses_as_ever(index):
    """Balanced accuracy, no warning, and the record has no more than before."""
    choice = choice_of(config_of(), index, labelled=True)
    assert choice.warning is None
    assert choice.record == {"validate_on": "val", "chosen_by": "balanced_accuracy on val"}


def test_accumulation_that_ranks_cannot_share_is_refused(shards, tmp_path, monkeypatch):
    """Four samples a step over three processes: refused by the arithmetic, with a remedy."""
    import kdtrain.training.engine.engine as engine

    original = engine.Engine.__init__

    def of_three(self, *arguments, **options):
        original(self, *arguments, **options)
        self.world_size = 3

    monkeypatch.setattr(engine.Engine, "__init__", of_three)
    monkeypatch.setattr(engine.Engine, "on_first_rank", lambda self, work: work())
    refused = kdtrain("teacher", "--shards", shards, "--out", tmp_path / "run", *QUICK)
    assert refused.code == 2
    assert "--accumulate 4 samples per step cannot be shared evenly by 3 processes" in refused.said
    assert not (tmp_path / "run").exists()


def test_every_sample_is_trained_on_once_an_epoch(shards, tmp_path, monkeypatch):
    """Over two epochs, in micro-batches of two, each of the five samples is seen twice."""
    from kdtrain.phases import teacher as phase

    seen: list[str] = []
    original = phase.label_loss

    def spy(network, model, batch, drawing):
        seen.extend(sample.key for sample in batch)
        return original(network, model, batch, drawing)

    monkeypatch.setattr(phase, "label_loss", spy)
    trained("teacher", shards, tmp_path / "run", "--epochs", 2, "--micro-batch", 2)
    assert len(seen) == 10
    assert sorted(seen[:5]) == sorted(seen[5:])
    assert len(set(seen)) == 5


@pytest.fixture(scope="module")
def squares(tmp_path_factory) -> Path:
    """Five training samples: squares of 64 px at 2.5x, and oblongs."""
    folder = tmp_path_factory.mktemp("squares") / "set"
    return write_training_set(folder, cells=[(64, 64), (64, 64), (96, 64)])


PLAIN = ("--magnification", 2.5, "--optimizer", "sgd", "--lr", 0.01)
"""Updates that are the gradients: Adam's first ones are their signs, which rounding may turn."""


def test_small_images_together_have_the_gradients_of_single_ones(squares, tmp_path, monkeypatch):
    """Two epochs of either: the same samples a step, draws, losses, norms and weights but for rounding."""
    from kdtrain.phases import teacher as phase

    passes: list[int] = []
    original = phase.label_loss

    def spy(network, model, batch, drawing):
        passes.append(len(batch))
        return original(network, model, batch, drawing)

    monkeypatch.setattr(phase, "label_loss", spy)
    runs = [
        trained("baseline", squares, tmp_path / str(n), "--epochs", 2, *PLAIN, *options)
        for n, options in enumerate((("--micro-batch", 1), ()))
    ]
    assert (max(passes[:10]), sum(passes[:10])) == (1, 10)
    assert (max(passes[10:]) > 1, sum(passes[10:])) == (True, 10)
    one, together = (weights(run) for run in runs)
    assert all(torch.allclose(together[name], one[name], rtol=1e-4, atol=1e-6) for name in one)
    single, batched = (log_of(run) for run in runs)
    assert [line.keys() for line in batched] == [line.keys() for line in single]
    for line, other in zip(single, batched, strict=True):
        assert {k: v for k, v in other.items() if not isinstance(v, float)}.items() <= line.items()
        assert other["loss"] == pytest.approx(line["loss"], rel=1e-4)


def test_a_run_begun_with_single_images_goes_on_with_them(squares, tmp_path):
    """The default of before, recorded as 1, is kept by the same command: to the last bit as if it still were so."""
    whole = trained("baseline", squares, tmp_path / "whole", "--epochs", 2, *PLAIN, "--micro-batch", 1)
    schedule = ("--schedule", "constant")
    out = trained("baseline", squares, tmp_path / "run", *PLAIN, *schedule, "--micro-batch", 1)
    trained("baseline", squares, out, "--epochs", 2, *PLAIN, *schedule)
    assert record_of(out)["settings"]["micro_batch"] == 1
    assert weights_sha256(out) == weights_sha256(whole)
    assert record_of(trained("baseline", squares, tmp_path / "new", *PLAIN))["settings"]["micro_batch"] == 0


def test_a_loss_that_is_no_number_stops_the_run_naming_step_and_samples(shards, tmp_path):
    """A learning rate of 1e30 ends the run with exit code 1, and no network is published."""
    run = kdtrain("teacher", "--shards", shards, "--out", tmp_path / "run", *QUICK, "--lr", "1e30")
    assert run.code == 1
    assert "not finite at step" in run.said
    assert "train-" in run.said
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_record_says_what_was_done(teacher, shards):
    """run.json: settings, shard set, network, versions, and the paths for the reader."""
    record = record_of(teacher)
    assert record["settings"]["phase"] == "teacher"
    assert record["shard_set"]["classes"] == ["gland", "stroma"]
    assert record["shard_set"]["train_on"] == ["train"]
    assert record["shard_set"]["chosen_by"] == "balanced_accuracy on val"
    assert record["network"]["mean"] == list(read_index(shards).statistics_of(10).mean)
    assert record["other_settings"]["shards"] == str(shards)
    assert {"torch", "deepspeed", "python", "kdtrain"} <= set(record["versions"])


def test_distillation_validates_on_dev_for_unlabelled_training(index):
    """The rule holds for the phase that may train on unlabelled sets."""
    config = DistillConfig(shards="s", out="o", teacher="t", magnification=2.5, train_on="aux2")
    assert validation_split(config, index, labelled=False) == "dev"


def test_a_deepspeed_setting_of_ours_is_refused(shards, tmp_path):
    """A user's JSON that contradicts an option ends with exit code 2 and names the option."""
    path = tmp_path / "ds.json"
    path.write_text(json.dumps({"gradient_clipping": 1.0}))
    out = tmp_path / "run"
    refused = kdtrain("teacher", "--shards", shards, "--out", out, *QUICK, "--deepspeed", path)
    assert refused.code == 2
    assert "follows from --gradient-clipping" in refused.said
    assert not out.exists()
