"""The phases: what each trains, what it never reads, what it refuses."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

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
from kdtrain.config.phases import DistillConfig
from kdtrain.data.inputs import image_batch
from kdtrain.data.stream import EvaluationStream
from kdtrain.phases import distill
from kdtrain.shards.index import read_index
from kdtrain.training.trained import load_trained

pytest.importorskip("deepspeed", reason="needs DeepSpeed")


@pytest.fixture(scope="module")
def student(shards, teacher, tmp_path_factory) -> Path:
    """A student at 2.5x, distilled on aux2."""
    return distilled(shards, teacher, tmp_path_factory.mktemp("runs") / "student")


def distilled(shards: Path, teacher: Path, out: Path, *options: object, train_on: str = "aux2") -> Path:
    """Distil to 2.5x."""
    given = ("--teacher", teacher, "--magnification", 2.5, "--train-on", train_on, *options)
    return trained("distill", shards, out, *given)


def refusal(phase: str, shards: Path, out: Path, *options: object) -> str:
    """What a command that is refused before any work says; it leaves nothing behind."""
    run = kdtrain(phase, "--shards", shards, "--out", out, *QUICK, *options)
    assert run.code == 2, run.said
    assert not out.exists()
    return run.said


# Phase I


def test_a_baseline_is_a_teacher_at_a_low_magnification(shards, tmp_path):
    """With the same settings both commands end with the same weights; only the name of the phase differs."""
    low = trained("teacher", shards, tmp_path / "low", "--magnification", 2.5)
    baseline = trained("baseline", shards, tmp_path / "baseline", "--magnification", 2.5)
    assert all(torch.equal(tensor, weights(low)[name]) for name, tensor in weights(baseline).items())
    assert record_of(baseline)["settings"] == {**record_of(low)["settings"], "phase": "baseline"}


def test_a_teacher_may_start_from_a_run(shards, teacher, tmp_path):
    """All 44 tensors are loaded and said to be, and the record knows the file by its hash."""
    out = tmp_path / "run"
    run = kdtrain("teacher", "--shards", shards, "--out", out, *QUICK, "--init", teacher)
    assert run.code == 0
    count = len(weights(teacher))
    assert f"model.safetensors: {count} of {count} tensors loaded" in run.said
    init = record_of(out)["shard_set"]["init"]
    assert init == {"sha256": weights_sha256(teacher), "loaded": count, "mapped": 0, "skipped": {}}


def test_a_teacher_may_start_from_a_torchvision_file(shards, tmp_path):
    """A BatchNorm resnet18 of 5 classes: scales and shifts are mapped, statistics and the fc layer left out."""
    path = tmp_path / "resnet18.pth"
    torch.save(resnet18(num_classes=5).state_dict(), path)
    out = tmp_path / "run"
    options = ("--model", "resnet18", "--magnification", 2.5, "--init", path)
    run = kdtrain("teacher", "--shards", shards, "--out", out, *QUICK, *options)
    assert run.code == 0
    assert "40 of them from batch to group normalisation" in run.said
    init = record_of(out)["shard_set"]["init"]
    assert (init["loaded"], init["mapped"]) == (20, 40)
    assert {"fc.weight", "fc.bias", "bn1.running_mean"} <= set(init["skipped"])


def test_initial_weights_are_known_by_content(shards, teacher, tmp_path):
    """Moving the file of --init does not forbid going on; other weights under its name do."""
    first = tmp_path / "first"
    shutil.copytree(teacher, first)
    run = trained("teacher", shards, tmp_path / "run", "--init", first)
    moved = first.rename(tmp_path / "second")
    trained("teacher", shards, run, "--init", moved)
    shutil.copy(run / "model.safetensors", moved)
    refused = kdtrain("teacher", "--shards", shards, "--out", run, *QUICK, "--init", moved)
    assert refused.code == 2
    assert "shard_set.init.sha256" in refused.said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--train-on", "aux1"), "carries no labels, and this phase learns from them"),
        (("--magnification", "7"), "no 7x here; there is 10x, 2.5x"),
        (("--train-on", "test"), "includes the test split"),
        (("--init", "absent.pth"), "there is no such file"),
        (("--validate-on", "aux1"), "carries no labels"),
    ],
)
def test_a_teacher_that_cannot_be_is_refused_before_any_work(shards, tmp_path, options, message):
    """Unlabelled split, missing magnification, the test split, a missing file: exit code 2, no folder."""
    assert message in refusal("teacher", shards, tmp_path / "run", *options)


# Phase II


def test_distillation_logs_both_parts_of_its_loss(student):
    """Soft and pixel loss add up to the loss (eq. 1), at every step and in validation."""
    lines = log_of(student)
    assert [line["kind"] for line in lines] == ["step", "step", "validation"]
    for line in lines[:2]:
        assert line["loss"] == pytest.approx(line["loss_soft"] + line["loss_pixel"], rel=1e-6)
    assert lines[2]["loss"] == pytest.approx(lines[2]["soft"] + lines[2]["pixel"], rel=1e-6)
    assert lines[2]["split"] == "dev"


def test_labels_do_not_reach_the_student(teacher, tmp_path):
    """Two sets with the same pixels and all labels exchanged give bit-identical students and logs."""
    other = {"gland": "stroma", "stroma": "gland"}

    def exchange(path, members):
        flip = {b"0": b"1", b"1": b"0"}
        return [replace(m, data=flip[m.data]) if m.name.endswith(".cls") else m for m in members]

    splits = {"train": [4], "val": [2]}
    usual = write_set(tmp_path / "usual", splits)
    exchanged = write_set(
        tmp_path / "exchanged",
        splits,
        edit_members=exchange,
        edit_record=lambda record: record.update(label=other[record["label"]]),
    )
    labels = [[s.label for s in EvaluationStream(read_index(f), "train", [2.5])] for f in (usual, exchanged)]
    assert labels == [[0, 1, 0, 1], [1, 0, 1, 0]]
    students = [
        distilled(shards, teacher, tmp_path / f"student-{shards.name}", train_on="train")
        for shards in (usual, exchanged)
    ]
    assert weights_sha256(students[0]) == weights_sha256(students[1])
    assert log_of(students[0]) == log_of(students[1])


def test_the_label_of_a_sample_is_never_asked_for(shards, teacher, tmp_path, monkeypatch):
    """With labels that raise when they are read, distillation on a labelled split still runs and validates."""
    from kdtrain.data.samples import LoadedSample

    original = distill.Distillation.loss_of

    class Unread(LoadedSample):
        def __getattribute__(self, name):
            assert name != "label", "a label was read"
            return super().__getattribute__(name)

    def loss_of(self, model, batch, drawing):
        blind = [Unread(**vars(sample)) for sample in batch]
        return original(self, model, blind, drawing)

    monkeypatch.setattr(distill.Distillation, "loss_of", loss_of)
    run = distilled(shards, teacher, tmp_path / "run", train_on="train")
    assert [line["split"] for line in log_of(run) if line["kind"] == "validation"] == ["val"]


def test_the_teacher_stays_as_it_is(shards, teacher, tmp_path, monkeypatch):
    """In evaluation mode at every step, without a gradient, and with the weights it came with."""
    before, states = weights_sha256(teacher), []
    original = distill.Distillation.loss_of
    first = weights(teacher)

    def loss_of(self, model, batch, drawing):
        network = self._teacher
        states.append(
            (
                any(module.training for module in network.modules()),
                any(p.requires_grad or p.grad is not None for p in network.parameters()),
            )
        )
        result = original(self, model, batch, drawing)
        held = {name.partition(".")[2]: p for name, p in network.named_parameters()}
        assert all(torch.equal(held[name].cpu(), tensor) for name, tensor in first.items())
        return result

    monkeypatch.setattr(distill.Distillation, "loss_of", loss_of)
    distilled(shards, teacher, tmp_path / "run", "--micro-batch", 1)
    assert set(states) == {(False, False)}
    assert len(states) == 5 + 2
    assert weights_sha256(teacher) == before


def test_gradients_reach_the_student_alone(shards, teacher):
    """After one backward pass each of the student's tensors has a gradient, and none of the teacher's."""
    index = read_index(shards)
    config = DistillConfig(shards=shards, out="o", teacher=teacher, magnification=2.5, train_on="aux1")
    loaded = load_trained(teacher, what="--teacher")
    loaded.model.requires_grad_(requires_grad=False)
    network = distill.student_network(config, index, loaded.network)
    model = network.build(seed=1)
    sample = next(iter(EvaluationStream(index, "aux1", [10, 2.5])))
    distil = distill.Distillation(config, loaded, network)
    distil.loss_of(model, [sample], distill.NO_DRAWING).total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert all(p.grad is None for p in loaded.model.parameters())


def test_both_magnifications_are_augmented_alike(shards, teacher, tmp_path, monkeypatch):
    """At every step teacher and student get the same keys under the same draws, at 10x and 2.5x."""
    calls = []

    def spy(samples, network, drawing, device):
        calls.append((network.magnification, [(s.key, drawing.of(s)) for s in samples]))
        return image_batch(samples, network, drawing, device)

    monkeypatch.setattr(distill, "image_batch", spy)
    distilled(shards, teacher, tmp_path / "run", "--micro-batch", 1)
    assert [magnification for magnification, _ in calls] == [10, 2.5] * 7
    for (_, high), (_, low) in zip(calls[::2], calls[1::2], strict=True):
        assert high == low
    assert len({repr(drawn) for _, drawn in calls[:10]}) == 5


def draws_of(shards, teacher, out, monkeypatch, *options):
    """The draw of every sample that a student was trained on, epoch by epoch, by key."""
    calls = []

    def spy(samples, network, drawing, device):
        if drawing.settings is not None and network.magnification == 2.5:
            calls.extend((s.key, drawing.of(s)) for s in samples)
        return image_batch(samples, network, drawing, device)

    monkeypatch.setattr(distill, "image_batch", spy)
    distilled(shards, teacher, out, "--epochs", 4, *options)
    return [dict(calls[i : i + 5]) for i in range(0, len(calls), 5)]


def test_views_are_the_first_draws_again_and_again(shards, teacher, tmp_path, monkeypatch):
    """With two views, epochs 0 to 3 show the draws of the epochs 0, 1, 0, 1 of a run that draws afresh."""
    fresh = draws_of(shards, teacher, tmp_path / "fresh", monkeypatch)
    assert len({repr(epoch) for epoch in fresh}) == len(fresh) == 4
    cycled = draws_of(shards, teacher, tmp_path / "cycled", monkeypatch, "--views", 2)
    assert cycled == [fresh[0], fresh[1], fresh[0], fresh[1]]


def test_views_may_be_drawn_for_each_sample(shards, teacher, tmp_path, monkeypatch):
    """In the order "sample" every draw is one of the first two of its sample, and one epoch mixes them."""
    fresh = draws_of(shards, teacher, tmp_path / "fresh", monkeypatch)
    options = ("--views", 2, "--view-order", "sample")
    mixed = draws_of(shards, teacher, tmp_path / "mixed", monkeypatch, *options)
    taken = [[fresh[1][key] == drawn for key, drawn in epoch.items()] for epoch in mixed]
    assert all(drawn in (fresh[0][key], fresh[1][key]) for epoch in mixed for key, drawn in epoch.items())
    assert any(len(set(epoch)) == 2 for epoch in taken)


@pytest.mark.parametrize("resize", ["none", "maxpool", "bicubic", "maxpool+bicubic"])
def test_every_resize_variant_trains(shards, teacher, tmp_path, resize):
    """All four ablations of the supplement end with a network; without a resize there is no pixel loss."""
    run = distilled(shards, teacher, tmp_path / "run", "--resize", resize)
    pixel = [line["loss_pixel"] for line in log_of(run) if line["kind"] == "step"]
    assert [value > 0 for value in pixel] == [resize != "none"] * 2


def test_a_student_may_start_from_the_teacher(shards, teacher, tmp_path):
    """With a vanishing learning rate its weights stay the teacher's; a random start is elsewhere."""
    options = ("--lr", "1e-30", "--weight-decay", "0")
    same = weights(distilled(shards, teacher, tmp_path / "a", *options, "--start-from", "teacher"))
    other = weights(distilled(shards, teacher, tmp_path / "b", *options))
    assert all(torch.equal(same[name], tensor) for name, tensor in weights(teacher).items())
    assert not torch.equal(other["conv1.weight"], same["conv1.weight"])


def test_a_student_may_have_a_smaller_stride(shards, teacher, tmp_path):
    """At --output-stride 16 it has the same tensors as the teacher and trains against its maps."""
    run = distilled(shards, teacher, tmp_path / "run", "--output-stride", 16)
    assert record_of(run)["network"]["output_stride"] == 16
    assert {n: t.shape for n, t in weights(run).items()} == {n: t.shape for n, t in weights(teacher).items()}


def test_a_union_is_distilled_on_with_each_sample_once(shards, teacher, tmp_path, monkeypatch):
    """train,aux1 has 8 samples of 5 + 3; the epoch trains on each once and validates on dev."""
    keys = []
    original = distill.Distillation.loss_of

    def loss_of(self, model, batch, drawing):
        if drawing.settings is not None:
            keys.extend(sample.key for sample in batch)
        return original(self, model, batch, drawing)

    monkeypatch.setattr(distill.Distillation, "loss_of", loss_of)
    run = distilled(shards, teacher, tmp_path / "run", train_on="train,aux1,aux1")
    assert len(keys) == len(set(keys)) == 8
    assert record_of(run)["shard_set"]["train_on"] == ["train", "aux1"]
    assert record_of(run)["shard_set"]["validate_on"] == "dev"


def test_the_record_knows_the_teacher_by_its_weights(student, teacher):
    """Its hash, its network and what it was trained on; no path decides whether a run may go on."""
    record = record_of(student)
    assert record["shard_set"]["teacher"] == {
        "weights_sha256": weights_sha256(teacher),
        "network": record_of(teacher)["network"],
        "train_on": ["train"],
    }
    assert "teacher" not in record["settings"]


def test_another_teacher_is_another_run(shards, teacher, student, tmp_path):
    """Going on with a teacher of other weights is refused, naming the hash."""
    other = trained("teacher", shards, tmp_path / "other", "--seed", 5)
    options = ("--teacher", other, "--magnification", 2.5, "--train-on", "aux2")
    refused = kdtrain("distill", "--shards", shards, "--out", student, *QUICK, *options)
    assert refused.code == 2
    assert "shard_set.teacher.weights_sha256" in refused.said


def test_the_direction_of_distillation_is_checked(shards, teacher, tmp_path):
    """A student at the teacher's own magnification is refused."""
    options = ("--teacher", teacher, "--magnification", 10, "--train-on", "aux2")
    assert "10 is not below the teacher's 10x" in refusal("distill", shards, tmp_path / "run", *options)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "run.json").unlink(), "is no run: it has no run.json"),
        (lambda run: (run / "run.json").write_text("{"), "run.json is damaged"),
        (lambda run: (run / "run.json").write_text("{}"), "was not written by kdtrain"),
        (lambda run: (run / "model.safetensors").unlink(), "its training is not finished"),
        (
            lambda run: (run / "model.safetensors").write_bytes(b"\x00" * 99),
            "model.safetensors cannot be used",
        ),
        (lambda run: _edit(run, '"resnet10"', '"resnet18"'), "cannot be used as the resnet18 of run.json"),
        (lambda run: _edit(run, '"resnet10"', '"resnet11"'), "cannot be built (no model 'resnet11'"),
        (lambda run: _edit(run, '"output_stride"', '"stride"'), "cannot be built"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(shards, teacher, tmp_path, damage, message):
    """No run, a damaged record, an unfinished run, damaged weights, another architecture: one sentence each."""
    broken = tmp_path / "teacher"
    shutil.copytree(teacher, broken)
    damage(broken)
    options = ("--teacher", broken, "--magnification", 2.5, "--train-on", "aux2")
    said = refusal("distill", shards, tmp_path / "run", *options)
    assert f"--teacher {broken}" in said
    assert message in said


def test_class_sets_that_differ_are_refused(teacher, student, tmp_path):
    """A set whose classes come in another order is refused by distill, finetune and evaluate, naming both."""

    def reverse(index):
        index["classes"] = index["classes"][::-1]

    other = write_training_set(tmp_path / "other", edit_index=reverse)
    options = ("--teacher", teacher, "--magnification", 2.5, "--train-on", "aux2")
    said = refusal("distill", other, tmp_path / "run", *options)
    assert "gland, stroma" in said
    assert "stroma, gland" in said
    assert "stroma, gland" in refusal("finetune", other, tmp_path / "run", "--student", student)
    evaluated = kdtrain("evaluate", teacher, "--shards", other, "--workers", 0)
    assert evaluated.code == 2
    assert "the run knows the classes gland, stroma" in evaluated.said


# Phase III


def test_fine_tuning_changes_the_fc_layer_alone(shards, student, tmp_path):
    """Every tensor but fc.weight and fc.bias is bit for bit the student's, and both of these have changed."""
    tuned = weights(trained("finetune", shards, tmp_path / "run", "--student", student))
    before = weights(student)
    changed = {name for name, tensor in tuned.items() if not torch.equal(tensor, before[name])}
    assert changed == {"fc.weight", "fc.bias"}
    assert tuned.keys() == before.keys()


def test_fine_tuning_keeps_the_students_network(shards, student, tmp_path):
    """Magnification, colour statistics and classes are the student's; the record has the hash of its weights."""
    record = record_of(trained("finetune", shards, tmp_path / "run", "--student", student))
    assert record["network"] == record_of(student)["network"]
    assert record["shard_set"]["student"] == {"weights_sha256": weights_sha256(student)}


def test_fine_tuning_where_both_phases_saw_one_set_must_be_asked_for(shards, teacher, tmp_path):
    """The refusal gives the paper's reason and the option; with the option it runs."""
    student = distilled(shards, teacher, tmp_path / "student", train_on="train")
    said = refusal("finetune", shards, tmp_path / "run", "--student", student)
    assert "overfitted in the paper (section 3.4)" in said
    assert "--same-training-set" in said
    trained("finetune", shards, tmp_path / "run", "--student", student, "--same-training-set")


def _edit(run: Path, old: str, new: str) -> None:
    path = run / "run.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
