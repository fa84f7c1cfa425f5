"""Estimates against counts by hand, on sets of a few samples; the calibration against what must hold on any machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own abbreviation
from torch.autograd.graph import saved_tensors_hooks

from fixtures.shard_sets import write_set
from fixtures.training_runs import write_training_set
from kdtrain.config.phases import BaselineConfig, DistillConfig, FinetuneConfig
from kdtrain.errors import UsageError
from kdtrain.model.network import Network
from kdtrain.model.resnet import ModelSpec, build_model
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import Index, read_index
from kdtrain.sweep.estimate.cost import RunEstimate, Speed, estimate_run, measure_speed
from kdtrain.sweep.estimate.memory import Images, StepShape, prepared, step_bytes
from kdtrain.sweep.estimate.speed import seconds_of

RESNET10 = ModelSpec(name="resnet10", n_classes=2)
GFLOPS_64 = 2 * (5016 * 64 * 64 + 256 * 2) / 1e9
"""Of resnet10 on 64 x 64 px: see test_flops."""
SPEED = Speed(
    device="cpu",
    training=((0.0, 0.01), (1.0, 3.01)),
    forward=((0.0, 0.001), (1.0, 1.001)),
    teacher=((0.0, 0.002), (1.0, 0.502)),
    start_s=5.0,
)
"""10 ms and 3 s per GFLOP to train, 1 ms and 1 s to infer, 2 ms and 0.5 s for a teacher, nothing for the rest."""


@pytest.fixture(scope="module")
def square(tmp_path_factory) -> Index:
    """Images of 64 x 64 px at 2.5x: 5 to train on, 2 to validate on, 3 and 2 more unlabelled."""
    folder = tmp_path_factory.mktemp("sets") / "set"
    return read_index(write_training_set(folder, cells=[(64, 64)]))


def network(magnification: float) -> Network:
    """A resnet10 of two classes."""
    return Network(
        model="resnet10",
        output_stride=32,
        classes=("gland", "stroma"),
        magnification=magnification,
        mean=(0, 0, 0),
        std=(1, 1, 1),
    )


def baseline(index: Index, speed: Speed = SPEED, **more: object) -> RunEstimate:
    """A baseline at 2.5x, of one epoch, with two samples a step, read in the process that trains."""
    settings = {"epochs": 1, "accumulate": 2, "workers": 0, "micro_batch": 1, **more}
    config = BaselineConfig(shards="s", out="o", magnification=2.5, **settings)
    return estimate_run(config, index, teacher=None, student=network(2.5), speed=speed)


def student(index: Index, **more: object) -> RunEstimate:
    """The same of a distillation from 10x."""
    settings = {"epochs": 1, "accumulate": 2, "workers": 0, "micro_batch": 1, **more}
    config = DistillConfig(shards="s", out="o", teacher="t", magnification=2.5, **settings)
    return estimate_run(config, index, teacher=network(10), student=network(2.5), speed=SPEED)


def test_a_baseline_is_counted_as_by_hand(square):
    """Five images, three steps; a backward pass is two forward ones; two validation images a forward pass each."""
    estimate = baseline(square)
    assert (estimate.samples, estimate.validation_samples, estimate.steps) == (5, 2, 3)
    assert estimate.gflops_forward == pytest.approx(GFLOPS_64)
    assert estimate.teacher_gflops_forward is None
    assert estimate.training_pflops == pytest.approx((3 * 5 + 2) * GFLOPS_64 / 1e6)
    expected = 5.0 + 5 * (0.01 + 3 * GFLOPS_64) + 2 * (0.001 + GFLOPS_64)
    assert estimate.seconds == pytest.approx(expected)


def test_epochs_repeat_everything_but_the_start(square):
    """Three epochs are three times the steps and the arithmetic; a process starts once."""
    one, three = baseline(square), baseline(square, epochs=3)
    assert three.steps == 9
    assert three.training_pflops == pytest.approx(3 * one.training_pflops)
    assert three.seconds - 5 == pytest.approx(3 * (one.seconds - 5))
    assert three.memory_bytes == one.memory_bytes


def test_a_student_also_costs_its_teachers_forward_pass(square):
    """At 10x an image has 16 times the pixels; the frozen teacher sees training and validation images once each."""
    estimate = student(square)
    teacher = 2 * (5016 * 256 * 256 + 256 * 2) / 1e9
    assert estimate.teacher_gflops_forward == pytest.approx(teacher)
    assert estimate.training_pflops == pytest.approx(((3 * 5 + 2) * GFLOPS_64 + 7 * teacher) / 1e6)
    of_student = 5 * (0.01 + 3 * GFLOPS_64) + 2 * (0.001 + GFLOPS_64)
    assert estimate.seconds == pytest.approx(5.0 + of_student + 7 * (0.002 + 0.5 * teacher))


def test_a_teacher_whose_views_are_kept_computes_each_once(square):
    """Two views of five images and validation once, in however many epochs; the rest is as for a run without."""
    online, kept = student(square, epochs=6), student(square, epochs=6, views=2, keep_views=True)
    teacher = 2 * (5016 * 256 * 256 + 256 * 2) / 1e9
    fewer = 6 * 7 - (2 * 5 + 2)
    assert online.training_pflops - kept.training_pflops == pytest.approx(fewer * teacher / 1e6)
    assert online.seconds - kept.seconds == pytest.approx(fewer * (0.002 + 0.5 * teacher))
    assert (kept.memory_bytes, kept.teacher_gflops_forward) == (online.memory_bytes, pytest.approx(teacher))


def test_a_sample_of_two_sets_counts_once(square):
    """aux2 is aux1 and two more: train,aux1,aux2 is 5 + 3 + 2 samples, and the paper validates it on dev."""
    estimate = student(square, train_on="train,aux1,aux2")
    assert (estimate.samples, estimate.validation_samples, estimate.steps) == (10, 2, 5)


def test_fine_tuning_trains_on_forward_passes(square):
    """Everything is frozen but the last layer: seven forward passes, and less memory than a baseline needs."""
    config = FinetuneConfig(
        shards="s", out="o", student="s", epochs=1, accumulate=2, workers=0, micro_batch=1
    )
    estimate = estimate_run(config, square, teacher=None, student=network(2.5), speed=SPEED)
    assert estimate.training_pflops == pytest.approx(7 * GFLOPS_64 / 1e6)
    assert estimate.seconds == pytest.approx(5.0 + 7 * (0.001 + GFLOPS_64))
    assert estimate.memory_bytes < baseline(square).memory_bytes


def test_activation_checkpointing_takes_a_forward_pass_more(square):
    """Four forward passes' worth per training image instead of three."""
    estimate = baseline(square, activation_checkpointing=True)
    assert estimate.training_pflops == pytest.approx((4 * 5 + 2) * GFLOPS_64 / 1e6)
    assert estimate.seconds == pytest.approx(baseline(square).seconds + 5 * (0.001 + GFLOPS_64))


def test_without_validation_only_training_counts(square):
    """--validate-on none leaves 15 forward passes' worth."""
    estimate = baseline(square, validate_on="none")
    assert estimate.validation_samples == 0
    assert estimate.training_pflops == pytest.approx(15 * GFLOPS_64 / 1e6)


@pytest.mark.parametrize(
    ("workers", "augment", "expected"),
    [
        (0, True, 5 * 2 + (5 + 2) * 100),
        (0, False, (5 + 2) * 100),
        (2, False, (5 + 2) * 50),
    ],
)
def test_loaders_read_beside_the_computing(square, workers, augment, expected):
    """One process waits for every image; two share them, and only the slower of reading and computing counts."""
    megapixel = 64 * 64 / 1e6
    slow = Speed(
        device="cpu",
        training=((0.0, 1e-6), (1.0, 2e-6)),
        forward=((0.0, 1e-6), (1.0, 2e-6)),
        augment_s_per_mp=2 / megapixel,
        reading_s_per_mp=100 / megapixel,
        start_s=0.0,
    )
    estimate = baseline(square, slow, workers=workers, augment=augment)
    assert estimate.seconds == pytest.approx(expected, abs=1e-3)


def test_steps_and_checkpoints_have_their_price(square):
    """Three steps and one checkpoint an epoch; with one after every step, three: the epoch's end counts once."""
    speed = Speed(
        device="cpu",
        training=((0.0, 0.0), (1.0, 0.0)),
        forward=((0.0, 0.0), (1.0, 0.0)),
        update_s=1.0,
        save_s=100.0,
        start_s=0.0,
    )
    assert baseline(square, speed, epochs=2).seconds == pytest.approx(2 * (3 + 100))
    assert baseline(square, speed, epochs=2, checkpoint_every=1).seconds == pytest.approx(2 * (3 + 300))


def test_micro_batches_share_what_a_call_costs(square):
    """Five equal images, two a step, as micro-batches of two: three calls instead of five, and the same arithmetic."""
    one, two = baseline(square, validate_on="none"), baseline(square, validate_on="none", micro_batch=2)
    assert one.seconds - two.seconds == pytest.approx(2 * 0.01)
    assert two.training_pflops == one.training_pflops
    assert two.memory_bytes > one.memory_bytes
    assert baseline(square, validate_on="none", micro_batch=0) == two


def test_images_that_no_other_equals_stay_alone(tmp_path):
    """Where all sizes differ, a micro-batch of four is a micro-batch of one, in time and in memory."""
    index = read_index(
        write_set(tmp_path / "set", {"train": [4]}, cells=[(40, 40), (48, 40), (40, 48), (56, 40)])
    )
    one, four = (baseline(index, micro_batch=n, accumulate=4) for n in (1, 4))
    assert (one.seconds, one.memory_bytes) == (four.seconds, four.memory_bytes)


def test_the_largest_image_decides_the_memory(square, tmp_path):
    """One image of 128 x 128 px among small ones; and what the process itself takes comes on top."""
    mixed = read_index(
        write_set(tmp_path / "set", {"train": [4]}, cells=[(64, 64), (64, 64), (64, 64), (128, 128)])
    )
    assert baseline(mixed).memory_bytes > baseline(square).memory_bytes
    larger = replace(SPEED, process_bytes=10**9)
    assert baseline(square, larger).memory_bytes - baseline(square).memory_bytes == 10**9


def test_what_training_would_refuse_an_estimate_refuses(square, tmp_path):
    """A split that is not there, one that cannot validate, an image that is too small for the network."""
    with pytest.raises(ShardError, match=r"no .*aux9"):
        baseline(square, train_on="aux9")
    with pytest.raises(UsageError, match="--validate-on train shares train"):
        baseline(square, validate_on="train")
    tiny = read_index(write_set(tmp_path / "set", {"train": [2]}, cells=[(4, 64)]))
    with pytest.raises(UsageError, match=r"at 2\.5x an image of .* is too small"):
        baseline(tiny)


def test_curves_are_straight_between_their_points():
    """Half-way between two points, beyond the last, and never below nothing."""
    points = ((1.0, 1.0), (3.0, 2.0), (4.0, 4.0))
    assert seconds_of(points, np.array([1.0, 2.0, 3.5, 6.0])) == pytest.approx([1.0, 1.5, 3.0, 8.0])
    assert seconds_of(((1.0, 0.1), (2.0, 1.0)), np.array([0.5])) == pytest.approx([0.0])


def square_step(side: int, **more: object) -> StepShape:
    """A step on a square image."""
    return StepShape(student=Images(spec=RESNET10, height=side, width=side), **more)


def test_a_steps_memory_is_what_autograd_keeps_and_a_little_more():
    """At 1024 px: at least the activations; with image, weights, gradients and moments less than 1.4 times that."""
    model = build_model("resnet10", n_classes=2, seed=0)
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved = {}
    with saved_tensors_hooks(lambda t: saved.setdefault(t.untyped_storage().data_ptr(), t), lambda t: t):
        model(torch.rand(1, 3, 1024, 1024))
    kept = sum(t.untyped_storage().nbytes() for pointer, t in saved.items() if pointer not in parameters)
    alive = step_bytes(square_step(1024, augment=False), on_cpu=False)
    weights = 16 * sum(p.numel() for p in model.parameters())
    assert kept + weights < alive < 1.4 * kept + weights


def test_less_is_kept_by_whoever_trains_less():
    """Full training needs most, recomputing less, fine-tuning and validation least; a CPU's libraries add to each."""
    kinds = [{}, {"recompute": True}, {"trains": "fc"}, {"trains": "nothing", "augment": False}]
    alive = [step_bytes(square_step(1024, **kind), on_cpu=False) for kind in kinds]
    resident = [step_bytes(square_step(1024, **kind), on_cpu=True) for kind in kinds]
    assert alive == sorted(alive, reverse=True)
    assert len(set(alive)) == 4
    assert all(more > less for more, less in zip(resident, alive, strict=True))


def test_memory_grows_with_pixels_and_micro_batch():
    """Twice the images of a micro-batch take what one of twice the pixels takes, but for the weights."""
    one, tall, two = (
        step_bytes(shape, on_cpu=False)
        for shape in (
            square_step(1024),
            StepShape(student=Images(spec=RESNET10, height=2048, width=1024)),
            square_step(1024, batch=2),
        )
    )
    assert two == pytest.approx(tall, rel=0.05)
    assert 1.7 < two / one < 2


def test_a_teachers_image_decides_a_students_memory():
    """Distilling at an eighth of the side needs a third of a gigabyte where the teacher sees 2304 px."""
    shape = square_step(288, teacher=Images(spec=RESNET10, height=2304, width=2304), augment=False)
    alone = step_bytes(square_step(288, augment=False), on_cpu=False)
    # Two maps of 32 channels at half the side, float32, are there while the stem's normalisation runs.
    maps = 2 * 32 * 1152 * 1152 * 4
    assert step_bytes(shape, on_cpu=False) > maps > 9 * alone


def test_nothing_is_computed_for_an_estimate_of_memory():
    """An image that would need 100 GB is answered at once, as growing with its pixels."""
    small, huge = (step_bytes(square_step(side), on_cpu=False) for side in (3200, 25_600))
    assert huge == pytest.approx(64 * small, rel=0.05)
    assert huge > 100e9


def test_a_calibration_orders_things_as_they_must_be():
    """Training costs more than a forward pass, a large image more than a small one, and nothing is free."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        speed = measure_speed("cpu", RESNET10)
    finally:
        torch.set_num_threads(threads)
    assert speed.device == "cpu"
    assert len(speed.training) == len(speed.forward) == len(speed.teacher) >= 3
    assert [size for size, _ in speed.training] == [size for size, _ in speed.forward]
    assert all(seconds > 0 for _, seconds in (*speed.training, *speed.forward))
    assert speed.training[-1][1] > speed.forward[-1][1]  # of the largest image, where noise counts least
    assert speed.training[-1][1] > speed.training[0][1]
    assert min(speed.augment_s_per_mp, speed.reading_s_per_mp, speed.update_s, speed.save_s) > 0


def test_the_calibration_feeds_images_as_training_does():
    """A prepared micro-batch is float32, standardised, and goes through the network."""
    image_BCHW = torch.full((1, 64, 96, 3), 192, dtype=torch.uint8).permute(0, 3, 1, 2)
    prepared_BCHW = prepared(image_BCHW, augment=False)
    assert prepared_BCHW.shape == (1, 3, 64, 96)
    assert torch.allclose(prepared_BCHW, torch.ones(()))
    model = build_model("resnet10", n_classes=2, seed=0)
    assert F.softmax(model(prepared_BCHW).logits_BK, dim=1).sum().item() == pytest.approx(1.0)
    assert prepared(image_BCHW, augment=True).shape == (1, 3, 96, 64)


def test_the_calibration_refuses_a_gpu_that_is_not_there(monkeypatch):
    """--device cuda without one says so."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UsageError, match="use --device cpu"):
        measure_speed("cuda", RESNET10)
