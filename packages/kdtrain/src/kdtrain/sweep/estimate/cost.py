"""What a run will take, before its first hour is spent: steps, arithmetic, memory and time.

In: a phase's configuration, the index of the shards with the size of every image, how fast the machine is
(:mod:`kdtrain.sweep.estimate.speed`). Out: one :class:`RunEstimate`. No tar is opened and nothing is trained.

It speaks of one process on one device, from the command to the chosen network; evaluation on the test split comes on
top.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdtrain.config.phases import DistillConfig, FinetuneConfig, PhaseConfig
from kdtrain.data.plan import SampleRef, epoch_order, micro_batches, n_groups, small_together
from kdtrain.data.sets import validation_split
from kdtrain.data.teacher_cache.document import SourceDocument
from kdtrain.errors import UsageError
from kdtrain.model.flops import gflops_of_sizes, projector_gflops
from kdtrain.model.network import Network
from kdtrain.model.projector import Projection
from kdtrain.phases.networks import projection_of
from kdtrain.shards.index import Index, union_of
from kdtrain.shards.models import magnification_name
from kdtrain.sweep.estimate.memory import Images, StepShape, step_bytes
from kdtrain.sweep.estimate.speed import Speed, measure_speed, seconds_of

__all__ = ["RunEstimate", "Speed", "estimate_run", "measure_speed"]

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True, kw_only=True)
class RunEstimate:
    """What a run will take.

    Attributes:
        samples: Samples of an epoch; a sample that two of the sets share counts once.
        validation_samples: Measured after every epoch.
        epochs: Passes.
        steps: Optimizer steps in all.
        gflops_forward: GFLOPs of the network's forward pass, mean over the training images.
        teacher_gflops_forward: The same of the teacher's on its images; None where there is none.
        training_pflops: PFLOPs of the whole run, validation included: a backward pass costs two forward passes, a
            frozen network has none, and recomputed activations cost one forward pass more.
        memory_bytes: Bytes of the device, on the largest image.
        seconds: Seconds of the run's process, from the command to the chosen network.
    """

    samples: int
    validation_samples: int
    epochs: int
    steps: int
    gflops_forward: float
    teacher_gflops_forward: float | None
    training_pflops: float
    memory_bytes: int
    seconds: float


def estimate_run(
    config: PhaseConfig,
    index: Index,
    *,
    teacher: Network | None,
    student: Network,
    speed: Speed,
    source: SourceDocument | None = None,
) -> RunEstimate:
    """Estimate a run.

    Args:
        config: Settings of a phase.
        index: Its shards.
        teacher: Teacher of a distillation; None in other phases, and where it is no run.
        student: The network that is trained.
        speed: Speed of the machine that it will run on, measured with the student's architecture.
        source: The cache of a teacher that is no run.

    Raises:
        ShardError: The shards lack a split or a magnification.
        UsageError: No split can validate, or an image is too small for a network.
    """
    assert teacher is None or isinstance(config, DistillConfig)
    projection = (
        projection_of(config, student.spec, teacher, source) if isinstance(config, DistillConfig) else None
    )
    joined, train_on = union_of(index, config.train_on)
    validate_on = validation_split(config, index, labelled=not isinstance(config, DistillConfig))
    if isinstance(config, DistillConfig) and config.teacher_cache is not None:
        teacher = None  # its outputs are read

    def passes_with(teacher: Network | None) -> list[_Pass]:
        training = _Pass(config, joined, train_on, teacher, student, projection, learns=True)
        if validate_on is None:
            return [training]
        return [training, _Pass(config, index, validate_on, teacher, student, projection)]

    taught = passes_with(teacher)
    training, validation = taught[0], taught[1] if validate_on is not None else None
    passes, once = taught, _Once()
    if isinstance(config, DistillConfig) and config.keep_views:
        passes = passes_with(None)
        once = _Once.of(taught, passes, config.views, speed)
    steps = n_groups(training.samples, accumulate=config.accumulate, world_size=1)
    gflops = sum(one.total_gflops() for one in passes)
    seconds = sum(one.seconds(speed) for one in passes) + steps * speed.update_s
    saves = 1 + ((steps - 1) // config.checkpoint_every if config.checkpoint_every else 0)
    return RunEstimate(
        samples=training.samples,
        validation_samples=0 if validation is None else validation.samples,
        epochs=config.epochs,
        steps=config.epochs * steps,
        gflops_forward=float(training.gflops.mean()),
        teacher_gflops_forward=None
        if training.teacher_gflops is None
        else float(training.teacher_gflops.mean()),
        training_pflops=(once.gflops + config.epochs * gflops) / 1e6,
        memory_bytes=speed.process_bytes + max(one.step_bytes(speed.device) for one in taught),
        seconds=speed.start_s + once.seconds + config.epochs * (seconds + saves * speed.save_s),
    )


class _Pass:
    """The samples of one set, once through: training, or validation.

    Attributes:
        samples: How many.
        gflops: (samples,) of the student's forward pass.
        teacher_gflops: (samples,) of the teacher's, or None.
    """

    def __init__(
        self,
        config: PhaseConfig,
        index: Index,
        split: str,
        teacher: Network | None,
        student: Network,
        projection: Projection | None,
        *,
        learns: bool = False,
    ) -> None:
        self._config = config
        self._learns = learns
        self._student, self._teacher, self._projection = student, teacher, projection
        self._sizes = _sizes(index, split, student.magnification)
        self._teacher_sizes = None if teacher is None else _sizes(index, split, teacher.magnification)
        self.samples = len(self._sizes)
        self.gflops = _gflops(student, self._sizes)
        self.teacher_gflops = (
            None if teacher is None or self._teacher_sizes is None else _gflops(teacher, self._teacher_sizes)
        )
        read = [network.magnification for network in (teacher, student) if network is not None]
        self._batch_of = _batches(config, index, split, read) if learns and config.micro_batch != 1 else None

    @property
    def _trains_all(self) -> bool:
        config = self._config
        return self._learns and (not isinstance(config, FinetuneConfig) or config.unfreeze)

    def total_gflops(self) -> float:
        """Arithmetic of the pass."""
        forward_passes = 1 + self._trains_all * (2 + self._config.activation_checkpointing)
        teacher = 0.0 if self.teacher_gflops is None else float(self.teacher_gflops.sum())
        projector = 0.0
        if self._projection is not None:
            projector = sum(projector_gflops(self._student.spec, self._projection.channels, self._sizes))
        return forward_passes * (float(self.gflops.sum()) + projector) + teacher

    def seconds(self, speed: Speed) -> float:
        """Time of the pass: loader processes read beside it, and without any it waits for every image."""
        config = self._config
        megapixels = sum(h * w for h, w in self._sizes + (self._teacher_sizes or [])) / 1e6
        batches = self._per_batch(self.gflops)
        seconds = seconds_of(speed.training if self._trains_all else speed.forward, batches).sum()
        if self._trains_all and config.activation_checkpointing:
            seconds += seconds_of(speed.forward, batches).sum()
        if self.teacher_gflops is not None:
            seconds += seconds_of(speed.teacher or speed.forward, self._per_batch(self.teacher_gflops)).sum()
        if self._learns and config.augment:
            seconds += megapixels * speed.augment_s_per_mp
        reading = megapixels * speed.reading_s_per_mp
        return float(max(seconds, reading / config.workers) if config.workers else seconds + reading)

    def step_bytes(self, device: str) -> int:
        """Memory of the largest image, or of a micro-batch of it."""
        config, batch = self._config, self._largest_batch()
        # Teacher and student see the same fields, so the largest of one is the largest of the other.
        largest = max(range(self.samples), key=lambda i: self._sizes[i][0] * self._sizes[i][1])
        shape = StepShape(
            student=_images(self._student, self._sizes[largest]),
            teacher=None
            if self._teacher is None or self._teacher_sizes is None
            else _images(self._teacher, self._teacher_sizes[largest]),
            batch=batch,
            precision=config.precision,
            augment=self._learns and config.augment,
            recompute=config.activation_checkpointing,
            trains=("all" if self._trains_all else "fc") if self._learns else "nothing",
            resize=config.resize if isinstance(config, DistillConfig) else "none",
            projection=self._projection,
            averaged=config.ema > 0,
        )
        return step_bytes(shape, on_cpu=device == "cpu")

    def _per_batch(self, gflops: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._batch_of is None:
            return gflops
        return np.bincount(self._batch_of, weights=gflops).astype(np.float64)

    def _largest_batch(self) -> int:
        """Most images that share a micro-batch with one of the largest size."""
        if self._batch_of is None:
            return 1
        pixels = np.array([height * width for height, width in self._sizes])
        return int(np.bincount(self._batch_of)[self._batch_of[pixels == pixels.max()]].max())


@dataclass(frozen=True, kw_only=True)
class _Once:
    """What a run does once, before its epochs: the teacher's part where its views are kept."""

    gflops: float = 0.0
    seconds: float = 0.0

    @classmethod
    def of(cls, taught: Sequence[_Pass], untaught: Sequence[_Pass], views: int, speed: Speed) -> _Once:
        """Of the same passes with and without the teacher: each view of training images, and validation once."""
        parts = list(zip((views, 1), taught, untaught, strict=False))
        return cls(
            gflops=sum(n * (a.total_gflops() - b.total_gflops()) for n, a, b in parts),
            seconds=sum(n * (a.seconds(speed) - b.seconds(speed)) for n, a, b in parts),
        )


def _sizes(index: Index, split: str, magnification: float) -> list[Size]:
    return [
        (height, width)
        for shard in index.shards_of(split)
        for width, height in index.sizes_of(shard, magnification)
    ]


def _gflops(network: Network, sizes: Sequence[Size]) -> NDArray[np.float64]:
    try:
        return np.array(gflops_of_sizes(network.spec, sizes))
    except ValueError as error:
        raise UsageError(f"at {network.magnification:g}x {error}") from None


def _images(network: Network, size: Size) -> Images:
    return Images(spec=network.spec, height=size[0], width=size[1])


def _batches(
    config: PhaseConfig, index: Index, split: str, magnifications: Sequence[float]
) -> NDArray[np.intp]:
    """Number of the micro-batch of every sample, in stored order, as the first epoch groups them."""
    cell_px = max(index.document.grid[magnification_name(m)] for m in magnifications)
    # What a cache holds is turned already.
    may_turn = config.augment and getattr(config, "teacher_cache", None) is None
    shards = index.shards_of(split)
    order = epoch_order([shard.samples for shard in shards], seed=config.seed, epoch=0)
    starts = np.cumsum([0, *(shard.samples for shard in shards)])
    batch_of = np.empty(len(order), dtype=np.intp)
    number = 0
    for group in _cut(order, config.accumulate):
        for batch in micro_batches(
            group,
            config.micro_batch,
            lambda ref: shards[ref.shard].cells[ref.position],
            lambda ref: small_together(
                shards[ref.shard].cells[ref.position], cell_px=cell_px, may_turn=may_turn
            ),
        ):
            batch_of[[starts[ref.shard] + ref.position for ref in batch]] = number
            number += 1
    return batch_of


def _cut(order: Sequence[SampleRef], length: int) -> Iterable[Sequence[SampleRef]]:
    return (order[start : start + length] for start in range(0, len(order), length))
