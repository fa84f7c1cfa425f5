"""A tiny model and its data for the engine's tests, and what each of two ranks does with them.

As a program, ``engine_worker.py FOLDER`` lets two processes train, and when they have ended two new ones resume;
rank 0 leaves the weights of every case in FOLDER/<case>.safetensors. The processes are forked from one that has
imported everything, because the imports take longer than all the rest.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kdtrain.losses import distillation_loss_of_targets, teacher_targets
from kdtrain.model.projector import Projection, build_projected
from kdtrain.model.resnet import ModelSpec
from kdtrain.training import checkpoints
from kdtrain.training.checkpoints import CheckpointStore, Record
from kdtrain.training.engine.engine import BatchLoss, Engine, TrainingError
from kdtrain.training.engine.settings import EngineSettings

N_SAMPLES = 11
GROUPS_OF_4 = ((0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10))
UNEVEN_SHARES = (((0, 1, 2), (3,)), ((4, 5, 6, 7), ()), ((), (8, 9, 10)))
"""The same groups, as they lie on two ranks: one sample against three, and none at all on either rank."""
TAUGHT_CHANNELS = 96
"""Of a teacher's map; the student's has 64."""
SLOW = {"learning_rate": 0.1}
"""With plain SGD, whose updates are the gradients: Adam's first ones are their signs, which rounding may turn."""
STOP_AFTER = 4
"""Updates before the interruption; six in all, so that it falls into the second epoch."""


class Output(NamedTuple):
    """As the package's models return it."""

    feature_map: Tensor
    logits: Tensor


class TinyNet(nn.Module):
    """A convolution, GroupNorm, ReLU and a classifier: 163 weights."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.GroupNorm(2, 4)
        self.fc = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Output:
        """Images (B, 3, H, W) in, feature map (B, 4, H - 2, W - 2) and logits (B, 3) out."""
        feature_map = torch.relu(self.norm(self.conv(images)))
        return Output(feature_map, self.fc(feature_map.mean(dim=(2, 3))))


def make_data() -> tuple[Tensor, Tensor]:
    """Eleven images (11, 3, 6, 6) and their classes."""
    generator = torch.Generator().manual_seed(7)
    return torch.randn(N_SAMPLES, 3, 6, 6, generator=generator), torch.arange(N_SAMPLES) % 3


def loss_of(model: nn.Module, indices: Sequence[int]) -> BatchLoss:
    """Cross-entropy plus a mean square of the feature map, so that both outputs carry gradient."""
    images, classes = make_data()
    picked = list(indices)
    reference = next(model.parameters())
    output = model(images[picked].to(reference))
    hard = nn.functional.cross_entropy(output.logits, classes[picked], reduction="sum")
    soft = output.feature_map.square().mean(dim=(1, 2, 3)).sum()
    return BatchLoss(total=hard + soft, samples=len(picked), parts={"hard": hard, "soft": soft})


def taught_loss_of(model: nn.Module, indices: Sequence[int]) -> BatchLoss:
    """Eq. 1 of a narrow student with a projector, whose teacher says something random of each of eleven images."""
    generator = torch.Generator().manual_seed(8)
    images = torch.randn(N_SAMPLES, 3, 32, 32, generator=generator)
    maps = torch.rand(N_SAMPLES, TAUGHT_CHANNELS, 2, 2, generator=generator)
    logits = torch.randn(N_SAMPLES, 3, generator=generator)
    picked = list(indices)
    output = model(images[picked])
    loss = distillation_loss_of_targets(
        targets=teacher_targets(maps[picked], (2, 2), ("maxpool", "bicubic")),
        teacher_logits_BK=logits[picked],
        student_map_BCHW=output.feature_map_BCHW,
        student_logits_BK=output.logits_BK,
    )
    n = len(picked)
    return BatchLoss(total=loss.total * n, samples=n, parts={"hard": loss.soft * n, "soft": loss.pixel * n})


def taught_engine(settings: EngineSettings, seed: int = 1) -> Engine:
    """A student of a quarter of the width, projected to more channels, with a moving average of its weights."""
    spec = ModelSpec(name="resnet10", n_classes=3, output_stride=16, width=0.25)
    model = build_projected(spec, Projection(channels=TAUGHT_CHANNELS), seed=seed)
    return Engine(model, settings, example_inputs=[torch.zeros(1, 3, 32, 32)])


def make_engine(settings: EngineSettings, seed: int = 1, model: nn.Module | None = None) -> Engine:
    """An engine on the CPU."""
    return Engine(model or TinyNet(seed), settings, example_inputs=[torch.zeros(1, 3, 3, 3)])


def sgd(zero_stage: int, **changes: object) -> EngineSettings:
    """Plain SGD with learning rate 1 and nothing else, so that one update subtracts the gradient itself."""
    fields = {"optimizer": "sgd", "learning_rate": 1.0, "weight_decay": 0.0, "device": "cpu", **changes}
    return EngineSettings(zero_stage=zero_stage, **fields)


def adam(zero_stage: int, **changes: object) -> EngineSettings:
    """Adam as in a real run."""
    return EngineSettings(zero_stage=zero_stage, learning_rate=1e-2, device="cpu", **changes)


def train_one(engine: Engine, mine: Sequence[Sequence[int]], group_size: int, loss=loss_of):
    """One update with this rank's micro-batches."""
    return engine.train_group(
        mine, loss, count=len(mine), group_size=group_size, describe=str, parts=("hard", "soft")
    )


def train_uneven(engine: Engine, steps: range, loss=loss_of) -> None:
    """Updates ``steps`` of a run that goes through the three groups again and again, one sample at a time."""
    for step in steps:
        shares = UNEVEN_SHARES[step % 3]
        mine = sum(shares, ()) if engine.world_size == 1 else shares[engine.rank]
        train_one(engine, [[index] for index in mine], len(sum(shares, ())), loss)


def record_of(engine: Engine) -> Record:
    """A record for the engine's step."""
    return Record(step=engine.step, epoch=engine.step // 3, position=0, world_size=engine.world_size)


def save(engine: Engine, store: CheckpointStore) -> None:
    """Write a checkpoint, as a run does."""
    state = engine.state()
    engine.on_first_rank(lambda: store.save(state, record_of(engine)))


def resume(engine: Engine, store: CheckpointStore) -> None:
    """Continue from the newest checkpoint, as a run does."""
    path = engine.on_first_rank(store.newest)
    engine.load_state(checkpoints.load(path)[0])


def _leave(engine: Engine, folder: Path, case: str) -> None:
    weights = dict(engine.state().weights)
    engine.on_first_rank(lambda: save_file(weights, folder / f"{case}.safetensors"))


def _leave_taught(engine: Engine, folder: Path, case: str) -> None:
    """What each rank has by itself: the weights in its module, and their average in another file."""
    weights = {name: tensor.clone() for name, tensor in engine.module.state_dict().items()}
    save_file(weights, folder / f"{case}-rank{engine.rank}.safetensors")
    save_file(dict(engine.state().average or {}), folder / f"{case}-average-rank{engine.rank}.safetensors")


def _train_taught(folder: Path) -> None:
    for stage in (0, 2):
        engine = taught_engine(sgd(stage, **SLOW, ema=0.9))
        train_uneven(engine, range(6), taught_loss_of)
        _leave_taught(engine, folder, f"taught-{stage}")

        engine = taught_engine(adam(stage, ema=0.9))
        train_uneven(engine, range(STOP_AFTER), taught_loss_of)
        save(engine, CheckpointStore(folder / f"taught-run-{stage}", warn=print))
        train_uneven(engine, range(STOP_AFTER, 6), taught_loss_of)
        _leave_taught(engine, folder, f"taught-whole-{stage}")


def _train(folder: Path) -> None:
    for stage in (0, 1, 2):
        engine = make_engine(sgd(stage), seed=1 + torch.distributed.get_rank() if stage else 1)
        train_one(engine, [range(4)] if engine.rank == 0 else [range(4, 8)], 8)
        _leave(engine, folder, f"batch-{stage}")

        engine = make_engine(sgd(stage, learning_rate=0.1))
        train_uneven(engine, range(6))
        _leave(engine, folder, f"uneven-{stage}")

        engine = make_engine(adam(stage))
        train_uneven(engine, range(STOP_AFTER))
        save(engine, CheckpointStore(folder / f"run-{stage}", warn=print))
        train_uneven(engine, range(STOP_AFTER, 6))
        _leave(engine, folder, f"whole-{stage}")
    small_buckets = {"zero_optimization": {"reduce_bucket_size": 20, "allgather_bucket_size": 20}}
    engine = make_engine(sgd(2, learning_rate=0.1, deepspeed=small_buckets))
    train_uneven(engine, range(6))
    _leave(engine, folder, "uneven-buckets")
    _talk(engine, folder)
    _train_taught(folder)


def _talk(engine: Engine, folder: Path) -> None:
    """What the ranks agree on: gathered items, an error of rank 0, and a bad loss of rank 1."""
    report = {"gathered": engine.gather([engine.rank] * (engine.rank + 1))}
    try:
        engine.on_first_rank(lambda: 1 // 0)
    except ZeroDivisionError as error:
        report["error"] = str(error)

    def bad_on_rank_1(model: nn.Module, indices: Sequence[int]) -> BatchLoss:
        loss = loss_of(model, indices)
        return BatchLoss(total=loss.total * (float("nan") if engine.rank else 1.0), samples=loss.samples)

    try:
        describe = f"sample-{engine.rank}".format
        engine.train_group([[0]], bad_on_rank_1, count=1, group_size=2, describe=lambda _: describe())
    except TrainingError as error:
        report["not finite"] = str(error)
    (folder / f"report-{engine.rank}.json").write_text(json.dumps(report))


def _resume(folder: Path) -> None:
    for stage in (0, 1, 2):
        engine = make_engine(adam(stage), seed=99)
        resume(engine, CheckpointStore(folder / f"run-{stage}", warn=print))
        train_uneven(engine, range(STOP_AFTER, 6))
        _leave(engine, folder, f"resumed-{stage}")
    for stage in (0, 2):
        engine = taught_engine(adam(stage, ema=0.9), seed=99)
        resume(engine, CheckpointStore(folder / f"taught-run-{stage}", warn=print))
        train_uneven(engine, range(STOP_AFTER, 6), taught_loss_of)
        _leave_taught(engine, folder, f"taught-resumed-{stage}")


def _one_rank(phase: str, folder: Path, rank: int, port: int) -> None:
    launch = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": 2,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    os.environ.update({name: str(value) for name, value in launch.items()})
    torch.set_num_threads(1)
    make_engine(sgd(0))  # joins the ranks
    {"train": _train, "resume": _resume}[phase](folder)


def _two_ranks(phase: str, folder: Path, patience_s: float) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=_one_rank, args=(phase, folder, rank, port)) for rank in (0, 1)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(timeout=patience_s)
        rank.kill()
        rank.join()
    codes = [rank.exitcode for rank in ranks]
    if codes != [0, 0]:
        sys.exit(f"the ranks ended with {codes} in phase {phase}")


if __name__ == "__main__":
    for module in (
        "deepspeed",
        "deepspeed.runtime.zero.stage_1_and_2",
        "deepspeed.runtime.zero.muon.muon_optimizer",
        "torch._dynamo",
    ):
        importlib.import_module(module)
    for name in ("train", "resume"):
        _two_ranks(name, Path(sys.argv[1]), float(sys.argv[2]))
