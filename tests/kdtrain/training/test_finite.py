"""A network that says NaN is never chosen, published, measured or learned from: whatever ends says at which sample."""

from __future__ import annotations

import ast
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import kdtrain.files
from fixtures.training_runs import QUICK
from fixtures.training_runs import kdtrain as run_kdtrain
from kdtrain.data.sets import Choice
from kdtrain.data.stream import EvaluationStream
from kdtrain.errors import NotFiniteError
from kdtrain.evaluation.predict_split import predict_sample
from kdtrain.model.network import Network
from kdtrain.shards.index import read_index
from kdtrain.training.checkpoints import CheckpointStore, Record
from kdtrain.training.engine.group import GroupResult
from kdtrain.training.engine.precision import Autocast
from kdtrain.training.engine.state import TrainingState
from kdtrain.training.record import TrainingRecord, publish

pytest.importorskip("deepspeed", reason="needs DeepSpeed")

HUGE = 1e30
"""Weights of it are finite, and what comes out of their squares is not."""
MESSAGE_ONLY = {"differences", "differing", "_shown", "_check_same_run"}
"""Functions whose JSON is of a sentence, or of a comparison."""


def _no_constant(name: str) -> NoReturn:
    raise AssertionError(f"{name} in JSON")


def _copy(run: Path, folder: Path, change: Callable[[Tensor], Tensor], *names: str) -> Path:
    """A run with other weights: those named, or all."""
    shutil.copytree(run, folder)
    path = folder / "model.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    weights = {k: change(v) if not names or k in names else v for k, v in load_file(path).items()}
    save_file(weights, path, metadata)
    return folder


@pytest.fixture(scope="module")
def broken(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher with one NaN among its weights."""

    def break_one(tensor: Tensor) -> Tensor:
        tensor.view(-1)[-1] = math.nan
        return tensor

    return _copy(teacher, tmp_path_factory.mktemp("nan") / "teacher", break_one, "layer1.0.conv1.weight")


@pytest.fixture(scope="module")
def exploded(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher whose weights are finite, and whose outputs are not."""
    return _copy(teacher, tmp_path_factory.mktemp("huge") / "teacher", lambda tensor: tensor * HUGE)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "after step 1 the network's outputs are not finite for val-"),
        (("--validate-on", "none"), "after step 1 the loss is not finite for train-"),
    ],
    ids=["validated", "not validated"],
)
def test_an_explosion_in_the_last_update_ends_the_run(
    shards: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    """One update an epoch, with a rate of 1e30: the loss was finite, and still nothing is kept or published."""
    out = tmp_path / "run"
    given = (*QUICK, "--accumulate", 8, "--lr", "1e30", *options)
    run = run_kdtrain("teacher", "--shards", shards, "--out", out, *given)
    assert run.code == 1, run.said
    assert words in run.said
    assert "Lower --lr" in run.said
    assert not (out / "model.safetensors").exists()
    assert not list((out / "checkpoints").glob("step-*"))
    lines = (out / "log.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=_no_constant)["kind"] for line in lines] == ["step"]


def test_a_student_that_explodes_in_its_last_update_is_not_published(
    shards: Path, teacher: Path, tmp_path: Path
) -> None:
    """Distillation validates against the teacher, and names the student's loss and the sample, not the teacher."""
    out = tmp_path / "run"
    given = ("--teacher", teacher, "--magnification", 2.5, "--accumulate", 8, "--lr", "1e30")
    run = run_kdtrain("distill", "--shards", shards, "--out", out, *QUICK, *given)
    assert run.code == 1, run.said
    assert "after step 1 the loss is not finite for val-" in run.said
    assert not (out / "model.safetensors").exists()


def test_a_checkpoint_of_no_numbers_is_not_published(tmp_path: Path) -> None:
    """One that an earlier version kept stays a checkpoint: the network's file is not made of it."""
    weights = {"fc.weight": torch.ones(2), "fc.bias": torch.tensor([0.0, math.nan])}
    store = CheckpointStore(tmp_path / "checkpoints", warn=print)
    state = TrainingState(weights=weights, optimizer={}, step=3)
    path = store.save(state, Record(step=3, epoch=1, position=0, world_size=1))
    with pytest.raises(
        NotFiniteError, match=r"step-000003 are not finite, fc\.bias first, so they are no network"
    ):
        publish(path, tmp_path, {"step": 3})
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (("evaluate", "RUN", "--shards", "SHARDS"), "RUN"),
        (("export", "RUN", "--shards", "SHARDS", "--unevaluated", "--out", "OUT"), "RUN"),
        (
            ("distill", "--teacher", "RUN", "--shards", "SHARDS", "--magnification", 2.5, "--out", "OUT"),
            "--teacher",
        ),
        (
            (
                "cache-teacher",
                "--teacher",
                "RUN",
                "--shards",
                "SHARDS",
                "--magnification",
                2.5,
                "--out",
                "OUT",
            ),
            "--teacher",
        ),
        (("finetune", "--student", "RUN", "--shards", "SHARDS", "--out", "OUT"), "--student"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_weights_that_are_no_numbers_are_refused_by_name(
    shards: Path, broken: Path, tmp_path: Path, command: tuple[Any, ...], what: str
) -> None:
    """Every command that reads a run names the option, the run and the tensor before any work."""
    out = tmp_path / "out"
    named = {"RUN": broken, "SHARDS": shards, "OUT": out}
    run = run_kdtrain(*(named.get(part, part) for part in command))
    assert run.code == 2, run.said
    assert (
        f"{what} {broken}: the weights in model.safetensors are not finite (layer1.0.conv1.weight first)"
        in run.said
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("evaluate", "RUN", "--workers", 0), "split test: the network's outputs are not finite for test-"),
        (("export", "RUN", "--unevaluated", "--out", "OUT"), "the network's outputs are not finite"),
        (
            ("distill", *QUICK, "--teacher", "RUN", "--magnification", 2.5, "--out", "OUT"),
            "the teacher's outputs are not finite at step 0, for train-",
        ),
        (
            ("cache-teacher", "--workers", 0, "--teacher", "RUN", "--magnification", 2.5, "--out", "OUT"),
            "the teacher's outputs are not finite for train-",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_outputs_that_are_no_numbers_name_whose_and_the_sample(
    shards: Path, exploded: Path, tmp_path: Path, command: tuple[Any, ...], words: str
) -> None:
    """Of finite weights and outputs that are not, each command says whose they are, and of which sample."""
    named = {"RUN": exploded, "OUT": tmp_path / "out"}
    run = run_kdtrain(*(named.get(part, part) for part in command), "--shards", shards)
    assert run.code == 1, run.said
    assert words in run.said
    assert not list(exploded.glob("evaluation-*"))


def test_half_precision_may_overflow_where_full_does_not(shards: Path) -> None:
    """Logits near 1e6 are finite in float32 and bfloat16, and infinite in float16: there the sample is named."""
    index = read_index(shards)
    statistics = index.statistics_of(2.5)
    network = Network(
        model="resnet10",
        output_stride=32,
        classes=index.document.classes,
        magnification=2.5,
        mean=statistics.mean,
        std=statistics.std,
    )
    model = network.build(seed=0).eval()
    model.fc.weight.data.mul_(1e7)
    sample = next(iter(EvaluationStream(index, "test", [2.5])))
    cpu = torch.device("cpu")
    with torch.no_grad():
        for precision in ("fp32", "bf16"):
            said = predict_sample(Autocast(model, precision), network, sample, cpu)
            assert sum(said.probabilities) == pytest.approx(1)
        with pytest.raises(NotFiniteError, match=f"outputs are not finite for {sample.key}"):
            predict_sample(Autocast(model, "fp16"), network, sample, cpu)


@pytest.mark.parametrize(
    ("metric", "value", "best", "better"),
    [
        ("accuracy", 0.5, None, True),
        ("accuracy", 0.5, math.nan, True),
        ("accuracy", math.nan, None, False),
        ("accuracy", math.nan, 0.1, False),
        ("accuracy", 0.6, 0.5, True),
        ("accuracy", 0.5, 0.5, False),
        ("loss", 0.4, 0.5, True),
        ("loss", 0.6, 0.5, False),
        ("loss", -math.inf, 0.5, False),
        ("loss", 9.0, math.nan, True),
    ],
)
def test_any_number_is_better_than_none(metric: Any, value: float, best: float | None, better: bool) -> None:
    """A first NaN is replaced by the next number, no NaN replaces a number, and equal keeps the earlier."""
    assert Choice(split="val", metric=metric).prefers(value, best) is better


def test_a_step_that_was_skipped_has_no_norm_in_the_log() -> None:
    """fp16 skips a step whose gradient overflowed: its norm is null, since JSON has no infinity."""
    lines: list[dict[str, Any]] = []
    log = SimpleNamespace(log=lines.append)
    monitor = SimpleNamespace(record=lambda entry: None)
    record = TrainingRecord(log, SimpleNamespace(log_every=1), SimpleNamespace(rank=0), monitor, began=0.0)  # type: ignore[arg-type]
    for skipped, norm in ((True, math.inf), (False, 2.0)):
        result = GroupResult(step=1, loss=0.5, parts={}, grad_norm=norm, learning_rate=0.1, skipped=skipped)
        record.step(0, result, 0.0)
    assert [line["grad_norm"] for line in lines] == [None, 2.0]


def test_no_json_is_written_that_may_hold_nan() -> None:
    """Every json.dumps of the package that writes has allow_nan=False."""
    found = 0
    for path in Path(kdtrain.files.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                if ast.unparse(call.func) != "json.dumps" or function.name in MESSAGE_ONLY:
                    continue
                found += 1
                keywords = {word.arg: ast.unparse(word.value) for word in call.keywords}
                assert keywords.get("allow_nan") == "False", f"{path.name}:{call.lineno}"
    assert found > 15
