from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("deepspeed", reason="needs DeepSpeed")

from fixtures.waiting import PATIENCE_S
from kdtrain.errors import NotFiniteError, UsageError
from kdtrain.training.checkpoints import CheckpointStore
from kdtrain.training.engine.engine import BatchLoss, Engine, TrainingError, _hidden
from kdtrain.training.engine.learning_rate import LearningRateSchedule
from kdtrain.training.engine.settings import EngineConfigError, EngineSettings

_PATH = Path(__file__).with_name("engine_worker.py")
_SPEC = importlib.util.spec_from_file_location("engine_worker", _PATH)
worker = importlib.util.module_from_spec(_SPEC)
sys.modules["engine_worker"] = worker
_SPEC.loader.exec_module(worker)

STAGES = (0, 1, 2)
EXACT = 2e-6
"""Rounding of float32 against a reference in float64, for weights of about 1."""


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory) -> Path:
    """What two ranks left behind: trained at once, and, in new processes, resumed."""
    folder = tmp_path_factory.mktemp("two-ranks")
    settings = {
        "OMP_NUM_THREADS": "1",
        "DS_ACCELERATOR": "cpu",
        "TORCH_EXTENSIONS_DIR": str(folder / "compiled"),
    }
    command = [sys.executable, str(_PATH), str(folder), str(PATIENCE_S / 4)]  # two ranks in two phases
    done = subprocess.run(
        command, env=os.environ | settings, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    return folder


def reference(groups, *, learning_rate: float) -> dict[str, torch.Tensor]:
    """Plain PyTorch in float64: one SGD update per group with the mean loss over it."""
    model = worker.TinyNet(1).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    for group in groups:
        optimizer.zero_grad()
        (worker.loss_of(model, group).total / len(group)).backward()
        optimizer.step()
    return model.state_dict()


def furthest(weights, expected) -> float:
    """Largest difference between two sets of weights."""
    assert set(weights) == set(expected)
    return max(float((weights[name].double() - expected[name].double()).abs().max()) for name in expected)


def identical(weights, expected) -> bool:
    """Whether two sets of weights have the same names and bits."""
    return set(weights) == set(expected) and all(
        torch.equal(weights[name], expected[name]) for name in expected
    )


@pytest.mark.parametrize("stage", STAGES)
def test_gradient_of_eight_however_they_come(stage, two_ranks):
    """One batch of 8, 8 samples accumulated and 2 ranks with 4 each have the gradient of plain PyTorch."""
    start = worker.TinyNet(1).state_dict()
    expected = reference([range(8)], learning_rate=1.0)
    gradient = {name: start[name].double() - expected[name] for name in start}
    assert max(float(g.abs().max()) for g in gradient.values()) > 0.1
    for micro_batches in ([range(8)], [[index] for index in range(8)]):
        engine = worker.make_engine(worker.sgd(stage))
        result = worker.train_one(engine, micro_batches, 8)
        weights = engine.state().weights
        assert furthest({name: start[name] - weights[name] for name in start}, gradient) < EXACT
        norm = torch.cat([g.flatten() for g in gradient.values()]).norm()
        assert result.grad_norm == pytest.approx(float(norm), rel=1e-5)
    weights = load_file(two_ranks / f"batch-{stage}.safetensors")
    assert furthest({name: start[name] - weights[name] for name in start}, gradient) < EXACT


@pytest.mark.parametrize("stage", STAGES)
def test_epoch_of_eleven_in_groups_of_four(stage, two_ranks):
    """Two epochs with an incomplete last group give plain PyTorch's weights, on ranks with unequal shares too."""
    expected = reference(worker.GROUPS_OF_4 * 2, learning_rate=0.1)
    engine = worker.make_engine(worker.sgd(stage, learning_rate=0.1))
    worker.train_uneven(engine, range(6))
    assert furthest(engine.state().weights, expected) < EXACT
    assert furthest(load_file(two_ranks / f"uneven-{stage}.safetensors"), expected) < EXACT


def test_buckets_smaller_than_the_model(two_ranks):
    """With ZeRO 2, ranks without samples stay in step where gradients travel in many small buckets."""
    expected = reference(worker.GROUPS_OF_4 * 2, learning_rate=0.1)
    assert furthest(load_file(two_ranks / "uneven-buckets.safetensors"), expected) < EXACT


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("factor", [1 / 4, 4 / 3])
def test_a_wrong_scale_shows(stage, factor):
    """Means in place of sums, or an incomplete group divided by the full size, fail the comparison above."""
    expected = reference(worker.GROUPS_OF_4, learning_rate=0.1)
    engine = worker.make_engine(worker.sgd(stage, learning_rate=0.1))

    def scaled(model, indices):
        loss = worker.loss_of(model, indices)
        wrong = factor < 1 or indices[0] >= 8
        return BatchLoss(total=loss.total * (factor if wrong else 1), samples=loss.samples)

    for group in worker.GROUPS_OF_4:
        single = [[index] for index in group]
        engine.train_group(single, scaled, count=len(group), group_size=len(group), describe=str)
    assert furthest(engine.state().weights, expected) > 500 * EXACT


@pytest.mark.parametrize("stage", STAGES)
def test_adam_is_torch_adam(stage):
    """Adam through the engine takes torch.optim.Adam's updates, the bias correction of the first included."""
    model = worker.TinyNet(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=1e-4)
    for group in worker.GROUPS_OF_4:
        optimizer.zero_grad()
        (worker.loss_of(model, group).total / len(group)).backward()
        optimizer.step()
    engine = worker.make_engine(worker.adam(stage))
    worker.train_uneven(engine, range(3))
    assert furthest(engine.state().weights, model.state_dict()) < 1e-5


def test_passes_without_deepspeed_have_its_bits():
    """Weights are those of a run with a DeepSpeed JSON, whose passes are DeepSpeed's; unreached ones decay too."""

    def of_the_map(model, indices):
        images, _ = worker.make_data()
        return BatchLoss(total=model(images[list(indices)]).feature_map.square().sum(), samples=len(indices))

    found = []
    for settings in ({}, {"steps_per_print": 1_000}):
        engine = worker.make_engine(worker.adam(0, deepspeed=settings))
        for group in worker.GROUPS_OF_4:
            single = [[index] for index in group]
            engine.train_group(single, of_the_map, count=len(group), group_size=len(group), describe=str)
        found.append(engine.state())
    assert identical(found[0].weights, found[1].weights)
    assert identical(found[0].optimizer, found[1].optimizer)
    assert not torch.equal(found[0].weights["fc.weight"], worker.TinyNet(1).fc.weight)


@pytest.mark.parametrize("stage", STAGES)
def test_resume_on_one_rank_is_bit_identical(stage, tmp_path):
    """A run stopped after 4 of 6 updates and resumed from its checkpoint ends with the same bits."""
    store = CheckpointStore(tmp_path, warn=pytest.fail)
    engine = worker.make_engine(worker.adam(stage))
    worker.train_uneven(engine, range(worker.STOP_AFTER))
    worker.save(engine, store)
    worker.train_uneven(engine, range(worker.STOP_AFTER, 6))
    resumed = worker.make_engine(worker.adam(stage), seed=99)
    worker.resume(resumed, store)
    assert resumed.step == worker.STOP_AFTER
    worker.train_uneven(resumed, range(worker.STOP_AFTER, 6))
    assert identical(resumed.state().weights, engine.state().weights)
    assert identical(resumed.state().optimizer, engine.state().optimizer)


@pytest.mark.parametrize("stage", STAGES)
def test_resume_on_two_ranks_is_bit_identical(stage, two_ranks):
    """Two ranks resumed in new processes end with the bits of two that never stopped."""
    whole, resumed = (load_file(two_ranks / f"{name}-{stage}.safetensors") for name in ("whole", "resumed"))
    assert identical(resumed, whole)


@pytest.mark.parametrize("stage", STAGES)
def test_checkpoint_fits_another_number_of_ranks(stage, two_ranks):
    """What two ranks saved, at any ZeRO stage, one rank continues without ZeRO, equal but for rounding."""
    engine = worker.make_engine(worker.adam(0), seed=99)
    worker.resume(engine, CheckpointStore(two_ranks / f"run-{stage}", warn=pytest.fail))
    worker.train_uneven(engine, range(worker.STOP_AFTER, 6))
    assert furthest(engine.state().weights, load_file(two_ranks / f"whole-{stage}.safetensors")) < 1e-5


MOVED = 1e-3
"""Far more than the ranks may differ by from one."""


def taught(folder: Path, case: str, rank: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Weights and average of a rank."""
    weights, average = (
        load_file(folder / f"{case}{kind}-rank{rank}.safetensors") for kind in ("", "-average")
    )
    return weights, average


@pytest.mark.parametrize("stage", [0, 2])
def test_a_projector_and_an_average_are_the_same_on_both_ranks(stage, two_ranks):
    """And what one rank makes of all samples of a step: a narrow student learns eq. 1 through its projector."""
    weights, average = taught(two_ranks, f"taught-{stage}", 0)
    for other, own in zip(taught(two_ranks, f"taught-{stage}", 1), (weights, average), strict=True):
        assert identical(other, own)
    engine = worker.taught_engine(worker.sgd(0, **worker.SLOW, ema=0.9))
    first = engine.module.state_dict()["projector.weight"].clone()
    worker.train_uneven(engine, range(6), worker.taught_loss_of)
    assert furthest(weights, engine.module.state_dict()) < EXACT
    assert furthest(average, engine.state().average) < EXACT
    assert furthest({"": first}, {"": weights["projector.weight"]}) > MOVED
    assert not torch.equal(average["projector.weight"], weights["projector.weight"])


@pytest.mark.parametrize("stage", [0, 2])
def test_a_projector_and_an_average_resume_to_the_same_bits_on_two_ranks(stage, two_ranks):
    """In new processes, from a checkpoint, on each rank."""
    for rank in (0, 1):
        whole, resumed = (
            taught(two_ranks, f"{case}-{stage}", rank) for case in ("taught-whole", "taught-resumed")
        )
        assert identical(resumed[0], whole[0])
        assert identical(resumed[1], whole[1])


def test_ranks_agree(two_ranks):
    """Items are gathered rank by rank, and an error or a bad loss of one rank is raised on both."""
    reports = [json.loads((two_ranks / f"report-{rank}.json").read_text()) for rank in (0, 1)]
    assert reports[0] == reports[1]
    assert reports[0]["gathered"] == [0, 1, 1]
    assert "division" in reports[0]["error"]
    assert "step 6" in reports[0]["not finite"]
    assert "sample-1" in reports[0]["not finite"]
    assert "sample-0" not in reports[0]["not finite"]


def test_nothing_is_compiled(two_ranks):
    """No extension is built, so that a run needs no C++ compiler."""
    assert not list((two_ranks / "compiled").rglob("*"))


def test_group_reports_means():
    """Loss and parts are means over the group, and the learning rate is the schedule's."""
    schedule = LearningRateSchedule(warmup_steps=4)
    engine = worker.make_engine(worker.sgd(0, schedule=schedule))
    with torch.no_grad():
        loss = worker.loss_of(worker.TinyNet(1), range(3))
    result = worker.train_one(engine, [[0], [1], [2]], 3)
    assert (result.step, result.learning_rate, result.skipped) == (1, 0.25, False)
    assert result.loss == pytest.approx(float(loss.total) / 3, rel=1e-6)
    assert result.parts == {
        "hard": pytest.approx(float(loss.parts["hard"]) / 3, rel=1e-6),
        "soft": pytest.approx(float(loss.parts["soft"]) / 3, rel=1e-6),
    }


@pytest.mark.parametrize("stage", STAGES)
def test_clipping_limits_the_update_and_reports_the_norm(stage):
    """With clipping at 0.01 and learning rate 1 the weights move by 0.01; the norm told is that before clipping."""
    start = worker.TinyNet(1).state_dict()
    engine = worker.make_engine(worker.sgd(stage, gradient_clipping=0.01))
    result = worker.train_one(engine, [range(8)], 8)
    weights = engine.state().weights
    moved = torch.cat([(start[name] - weights[name]).flatten() for name in start]).norm()
    assert float(moved) == pytest.approx(0.01, rel=1e-3)
    assert result.grad_norm > 0.1


@pytest.mark.parametrize("stage", STAGES)
def test_gradient_that_is_not_finite_stops_the_run(stage):
    """A finite loss with an infinite gradient raises, and the weights stay as they were."""
    engine = worker.make_engine(worker.sgd(stage))

    def steep(model, indices):
        return BatchLoss(total=(worker.loss_of(model, indices).total * 0).sqrt(), samples=1)

    with pytest.raises(
        TrainingError, match=r"finite at step 0, but its gradient is not.*--gradient-clipping"
    ):
        engine.train_group([[0]], steep, count=1, group_size=1, describe=str)
    assert identical(engine.state().weights, worker.TinyNet(1).state_dict())


def test_bad_loss_names_the_sample():
    """A loss that is not finite raises before the update, naming the step and the sample, and no other."""
    engine = worker.make_engine(worker.sgd(0))

    def bad_third(model, indices):
        loss = worker.loss_of(model, indices)
        return BatchLoss(total=loss.total * (float("inf") if indices == [2] else 1), samples=1)

    with pytest.raises(TrainingError, match="not finite at step 0, for key-2; ") as caught:
        engine.train_group(
            [[0], [1], [2]], bad_third, count=3, group_size=3, describe=lambda batch: f"key-{batch[0]}"
        )
    assert "key-1" not in str(caught.value)
    assert identical(engine.state().weights, worker.TinyNet(1).state_dict())


def test_a_teacher_that_is_at_fault_is_named():
    """Where the teacher's outputs were not finite it is named in place of the loss, and only for its sample."""
    engine = worker.make_engine(worker.sgd(0))

    def taught(model, indices):
        loss, sound = worker.loss_of(model, indices), indices != [1]
        total = loss.total * (1 if sound else float("nan"))
        return BatchLoss(total=total, samples=1, teacher_finite=torch.tensor(sound))

    with pytest.raises(NotFiniteError, match=r"^the teacher's outputs are not finite at step 0, for key-1; "):
        engine.train_group(
            [[0], [1]], taught, count=2, group_size=2, describe=lambda batch: f"key-{batch[0]}"
        )


def test_weights_that_are_no_numbers_are_not_kept():
    """A state with a NaN is no state: the step and the tensor are named, and nothing is handed to a checkpoint."""
    engine = worker.make_engine(worker.sgd(0))
    name, tensor = list(engine.module.named_parameters())[-1]
    tensor.data.view(-1)[0] = float("nan")
    with pytest.raises(
        NotFiniteError, match=f"after step 0 the weights are not finite, {name} first. Lower --lr"
    ):
        engine.state()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
    ],
)
def test_memory_error_names_the_sample_and_what_helps(error):
    """Where memory does not suffice, the message has the sample, its size, and options that help."""
    engine = worker.make_engine(worker.sgd(0))

    def too_large(model, indices):
        raise error

    with pytest.raises(TrainingError, match=r"step 0 for key-0 \(9000 x 8000 px\); try --activation-check"):
        engine.train_group(
            [[0]], too_large, count=1, group_size=1, describe=lambda _: "key-0 (9000 x 8000 px)"
        )


def test_another_error_of_the_loss_comes_through():
    """A RuntimeError that is not about memory keeps its own message."""
    engine = worker.make_engine(worker.sgd(0))

    def broken(model, indices):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        engine.train_group([[0]], broken, count=1, group_size=1, describe=str)


def test_announced_counts_are_checked():
    """A group with other samples or micro-batches than announced would be weighted wrongly, so it is refused."""
    engine = worker.make_engine(worker.sgd(0))
    with pytest.raises(ValueError, match="1 samples came over all ranks, 2 were announced"):
        engine.train_group([[0]], worker.loss_of, count=1, group_size=2, describe=str)
    with pytest.raises(ValueError, match="1 micro-batches came, 2 were announced"):
        engine.train_group([[0]], worker.loss_of, count=2, group_size=2, describe=str)


@pytest.mark.parametrize("stage", STAGES)
def test_frozen_weights_stay(stage, tmp_path):
    """With all but the classifier frozen only the classifier moves and has optimizer state, and resume works."""
    store = CheckpointStore(tmp_path, warn=pytest.fail)
    engine = worker.make_engine(worker.adam(stage), model=_classifier_only(1))
    worker.train_uneven(engine, range(2))
    worker.save(engine, store)
    state, start = engine.state(), worker.TinyNet(1).state_dict()
    assert {name for name in start if not torch.equal(start[name], state.weights[name])} == {
        "fc.weight",
        "fc.bias",
    }
    assert {name.rpartition("/")[0] for name in state.optimizer} == {"fc.weight", "fc.bias"}
    resumed = worker.make_engine(worker.adam(stage), model=_classifier_only(99))
    worker.resume(resumed, store)
    assert identical(resumed.state().optimizer, state.optimizer)


def _classifier_only(seed: int) -> torch.nn.Module:
    model = worker.TinyNet(seed)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("fc."))
    return model


def test_state_of_another_model_is_refused():
    """A state whose weights or optimizer entries do not fit is refused before anything is trained."""
    state = worker.make_engine(worker.adam(0)).state()
    other = torch.nn.Conv2d(3, 4, 3)
    with pytest.raises(UsageError, match="the checkpoint is of another model"):
        Engine(other, worker.adam(0), example_inputs=[torch.zeros(1, 3, 3, 3)]).load_state(state)
    engine = worker.make_engine(worker.adam(0))
    worker.train_uneven(engine, range(1))
    with pytest.raises(UsageError, match=r"optimizer state for 'conv\.weight', which is not trained here"):
        worker.make_engine(worker.adam(0), model=_classifier_only(1)).load_state(engine.state())


@pytest.mark.parametrize("stage", STAGES)
def test_bf16_differs_by_its_rounding_only(stage):
    """bf16 keeps float32 weights and gives the gradient to about three digits; losses are float32."""
    weights = {}
    for precision in ("fp32", "bf16"):
        engine = worker.make_engine(worker.sgd(stage, precision=precision))
        worker.train_one(engine, [[0], [1]], 2)
        weights[precision] = engine.state().weights
        assert engine.inference(torch.zeros(1, 3, 3, 3)).logits.dtype == torch.float32
    assert 1e-6 < furthest(weights["bf16"], weights["fp32"]) < 2e-2
    assert all(tensor.dtype == torch.float32 for tensor in weights["bf16"].values())


@pytest.mark.parametrize("stage", STAGES)
def test_fp16_overflow_skips_one_update(stage):
    """Where fp16 gradients overflow the weights stay and the scale is halved; the next update is taken, unscaled."""
    expected = reference([range(2)], learning_rate=1.0)
    engine = worker.make_engine(worker.sgd(stage, precision="fp16"))

    def steep(model, indices):
        loss = worker.loss_of(model, indices)
        return BatchLoss(total=loss.total * 1e6, samples=loss.samples)

    result = engine.train_group([range(2)], steep, count=1, group_size=2, describe=str)
    assert (result.skipped, result.grad_norm) == (True, float("inf"))
    state = engine.state()
    assert state.loss_scale == (2.0**15, 0)
    assert identical(state.weights, worker.TinyNet(1).state_dict())
    assert not worker.train_one(engine, [range(2)], 2).skipped
    assert furthest(engine.state().weights, expected) < 1e-2
    resumed = worker.make_engine(worker.sgd(stage, precision="fp16"), seed=99)
    resumed.load_state(engine.state())
    assert resumed.state().loss_scale == (2.0**15, 1)


def test_what_deepspeed_refuses_is_told_as_configuration():
    """A value in the user's JSON that DeepSpeed rejects is a configuration error, not a trace."""
    settings = worker.sgd(1, deepspeed={"zero_optimization": {"reduce_bucket_size": "large"}})
    with pytest.raises(
        EngineConfigError, match=r"(?s)DeepSpeed refuses its configuration: .*reduce_bucket_size"
    ):
        worker.make_engine(settings)


def test_absent_gpu_is_told():
    """Asking for a GPU where there is none fails with the remedy."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UsageError, match="there are 0; start fewer processes, or use --device cpu"):
        worker.make_engine(EngineSettings(device="cuda"))


def test_a_hidden_package_is_not_found_and_then_is(tmp_path, monkeypatch):
    """What DeepSpeed would bring in and nobody needs; what is imported already stays."""
    (tmp_path / "an_extra.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with _hidden("an_extra"), pytest.raises(ImportError):
        importlib.import_module("an_extra")
    found = importlib.import_module("an_extra")
    with _hidden("an_extra"):
        assert importlib.import_module("an_extra") is found
    monkeypatch.delitem(sys.modules, "an_extra")
