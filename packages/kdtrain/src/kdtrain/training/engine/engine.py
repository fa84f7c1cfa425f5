"""One update after the other through DeepSpeed: the only file that imports it.

In: a model, settings, and for each group of samples this rank's micro-batches with a function that gives their
loss. Out: the updated model, and the group's mean loss and gradient norm. What is updated is the mean over the
group, exactly, whatever its size and however its samples lie on ranks and in micro-batches: each sample's loss is
weighted by (ranks / samples of the group), since DeepSpeed averages gradients over ranks.

It knows nothing of images, labels, epochs or folders.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar, cast

import torch
import torch.distributed
from torch import Tensor, nn

from kdtrain.errors import NotFiniteError, TrainingError
from kdtrain.model.finite import first_not_finite
from kdtrain.model.placing import lay_out_model
from kdtrain.training.engine.average import WeightAverage
from kdtrain.training.engine.group import BatchLoss, GroupResult, Tally, memory_errors_named
from kdtrain.training.engine.launch import join, launch_from, on_first_rank, pick_device
from kdtrain.training.engine.learning_rate import learning_rate_factor
from kdtrain.training.engine.precision import Autocast, LossScale
from kdtrain.training.engine.settings import EngineConfigError, EngineSettings, deepspeed_config
from kdtrain.training.engine.state import TrainingState, optimizer_state_of, restore, weights_of

__all__ = ["BatchLoss", "Engine", "GroupResult", "TrainingError"]

T = TypeVar("T")


class Engine:
    """A model, its optimizer and DeepSpeed, on this rank.

    Started without a launcher it is a single process; torchrun, deepspeed and srun are recognised. All ranks start
    from rank 0's weights. Frozen parameters are left out of everything but the model's forward pass.

    Args:
        model: Float32 weights; the output is a tensor or a tuple of tensors.
        settings: How to train.
        example_inputs: Inputs of the model, as small as it takes: a rank without a sample runs them with weight
            zero, because with ZeRO 2 every backward pass is a meeting of all ranks.

    A checkpoint is written and read by one rank's leave for all::

        state = engine.state()
        engine.on_first_rank(lambda: store.save(state, record))

        path = engine.on_first_rank(store.newest)
        if path is not None:
            state, record = checkpoints.load(path)
            engine.load_state(state)

    Attributes:
        module: The model itself, for saving, freezing and counting.
        inference: The model in the precision of the settings, for evaluation.
        device: Where the model is.
        rank: Rank of this process, from 0.
        world_size: Number of processes.
        step: Updates taken.

    Raises:
        EngineConfigError: The user's DeepSpeed JSON contradicts an option, or DeepSpeed refuses it.
        UsageError: The launcher's variables, or the device asked for, do not fit this machine.
    """

    def __init__(
        self, model: nn.Module, settings: EngineSettings, *, example_inputs: Sequence[Tensor]
    ) -> None:
        launch = launch_from(os.environ)
        self.rank, self.world_size = launch.rank, launch.world_size
        config = deepspeed_config(settings, self.world_size)
        self.device = pick_device(settings.device, launch)
        join(launch, self.device)
        self.module = lay_out_model(model, self.device, zero_stage=settings.zero_stage)
        self.inference: nn.Module = Autocast(self.module, settings.precision)
        self.step = 0
        self._settings = settings
        self._example_inputs = [tensor.to(self.device) for tensor in example_inputs]
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._loss_scale = LossScale(self._trained, self.device) if settings.precision == "fp16" else None
        # A wrapper of its own, so that evaluation does not pass through DeepSpeed's hooks.
        self._deepspeed = _initialize(
            Autocast(self.module, settings.precision),
            _optimizer(self._trained, settings),
            config,
            self.device,
        )
        # Without ZeRO and further settings DeepSpeed has nothing to do before the update, but takes its time for it at
        # every forward and backward pass: 4 % of what a single image of 64 px takes. Nor has one rank to sum anything.
        self._bare_passes = settings.zero_stage == 0 and not settings.deepspeed
        if self._bare_passes and self.world_size == 1:
            self._deepspeed.enable_backward_allreduce = False
        self._average = WeightAverage(self.module, settings.ema) if settings.ema else None
        self._norm = 0.0
        if settings.zero_stage == 0:
            self._deepspeed.optimizer.register_step_pre_hook(self._measure_and_clip)

    def train_group(
        self,
        micro_batches: Iterable[T],
        loss_of: Callable[[nn.Module, T], BatchLoss],
        *,
        count: int,
        group_size: int,
        describe: Callable[[T], str],
        parts: Sequence[str] = (),
    ) -> GroupResult:
        """Take one update with the mean loss over a group; every rank must call it for every group.

        Args:
            micro_batches: Those of this rank, read one at a time; none is allowed.
            loss_of: The loss of a micro-batch; it must call the model that it is given, once.
            count: How many micro-batches come.
            group_size: Samples in the group, over all ranks.
            describe: Keys and sizes of a micro-batch's samples, for messages.
            parts: Names of BatchLoss.parts, needed where a rank may have no sample.

        Raises:
            TrainingError: A loss or a gradient is not finite (the update is not taken; every rank raises), or
                memory does not suffice (this rank raises).
            ValueError: More or fewer samples came than announced.
        """
        backwards = self._largest(count)
        learning_rate = self._set_learning_rate()
        tally = Tally(parts, self.device)
        weight = self.world_size / group_size * (self._loss_scale.scale if self._loss_scale else 1.0)
        for batch in micro_batches:
            names = describe(batch)
            with memory_errors_named(names, f"at step {self.step}"):
                loss = loss_of(self._trainee, batch)
                self._backward(loss.total * weight)
            tally.add(names, loss)
            del batch, loss
        if len(tally.names) != count:
            raise ValueError(f"{len(tally.names)} micro-batches came, {count} were announced")
        for _ in range(backwards - count):
            self._idle_backward()
        sums = self._checked_sums(tally, group_size)
        skipped = self._update(overflowed=sums.pop() > 0)
        means = [total / group_size for total in sums[2:]]
        return GroupResult(
            step=self.step,
            loss=means[0],
            parts=dict(zip(parts, means[1:], strict=True)),
            grad_norm=self._norm,
            learning_rate=learning_rate,
            skipped=skipped,
        )

    def state(self) -> TrainingState:
        """All that a run continues from; every rank must call it, between two updates.

        Raises:
            NotFiniteError: A weight is not finite: the last update went too far.
        """
        scale = self._loss_scale
        weights = weights_of(self.module)
        if name := first_not_finite(weights):
            raise NotFiniteError(f"after step {self.step} the weights are not finite, {name} first. {REMEDY}")
        return TrainingState(
            weights=weights,
            optimizer=optimizer_state_of(self.module, self._deepspeed.optimizer),
            step=self.step,
            loss_scale=(scale.scale, scale.steps) if scale else (1.0, 0),
            average=self._average.state() if self._average else None,
        )

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the module has the moving average of its weights, where one is kept."""
        return self._average.in_place() if self._average else nullcontext()

    def load_state(self, state: TrainingState) -> None:
        """Continue from a state, before any update was taken; every rank must call it with the same state.

        Raises:
            UsageError: The state is of another model or optimizer.
        """
        assert self.step == 0
        restore(self.module, self._deepspeed.optimizer, state)
        self.step = state.step
        if self._average:
            self._average.load(state.average or {})
        if self._loss_scale:
            self._loss_scale.scale, self._loss_scale.steps = state.loss_scale

    def gather(self, items: Collection[T]) -> list[T]:
        """The items of all ranks, rank by rank, on every rank; each rank may have another number of them."""
        if self.world_size == 1:
            return list(items)
        received: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(received, list(items))
        return [item for part in received for item in part]

    def on_first_rank(self, work: Callable[[], T]) -> T:
        """Do something on rank 0 while the others wait, and give its result to all.

        Raises:
            Exception: What the work raised, on every rank, so that none is left waiting.
        """
        return on_first_rank(work, rank=self.rank, world_size=self.world_size)

    def together(self, work: Callable[[], T]) -> T:
        """Do something on every rank, such as a share of a validation.

        Raises:
            NotFiniteError: A rank found outputs that are not finite; on every rank, so that none is left waiting.
        """
        result, faults = None, []
        try:
            result = work()
        except NotFiniteError as error:
            faults = [str(error)]
        if found := self.gather(faults):
            raise NotFiniteError(f"after step {self.step} {'; '.join(found)}. {REMEDY}")
        return cast("T", result)

    def barrier(self) -> None:
        """Wait for all ranks."""
        torch.distributed.barrier()

    def _largest(self, count: int) -> int:
        if self.world_size == 1:
            return count
        tensor = torch.tensor(count, device=self.device)
        torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX)
        return int(tensor)

    def _set_learning_rate(self) -> float:
        rate = self._settings.learning_rate * learning_rate_factor(self._settings.schedule, self.step)
        for group in self._deepspeed.optimizer.param_groups:
            group["lr"] = rate
        return rate

    @property
    def _trainee(self) -> nn.Module:
        """What a training step calls for a forward pass."""
        return self.inference if self._bare_passes else cast("nn.Module", self._deepspeed)

    def _backward(self, loss: Tensor) -> None:
        if self._bare_passes:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self._deepspeed.backward(loss, scale_wrt_gas=False)

    def _idle_backward(self) -> None:
        # A true forward pass: ZeRO 2 lays gradients into its buckets in the order in which they arrive, which
        # must be the same on every rank.
        output = self._trainee(*self._example_inputs)
        tensors = [output] if isinstance(output, Tensor) else output
        self._backward(sum(((tensor * 0).sum() for tensor in tensors), torch.zeros((), device=self.device)))

    def _checked_sums(self, tally: Tally, group_size: int) -> list[float]:
        """[bad losses, samples, loss, *parts, overflows] over all ranks, with the first two checked."""
        overflow = self._loss_scale.take_overflow() if self._loss_scale else False
        sums = tally.sums(overflow)
        if self.world_size > 1:
            torch.distributed.all_reduce(sums)
        values: list[float] = sums.tolist()
        if values[0]:
            bad = "; ".join(self.gather(tally.bad(self.step)))
            raise NotFiniteError(f"{bad}; the update was not taken. {REMEDY}")
        if values[1] != group_size:
            raise ValueError(f"{values[1]:g} samples came over all ranks, {group_size} were announced")
        return values

    def _update(self, *, overflowed: bool) -> bool:
        if overflowed and self._settings.zero_stage == 0:
            self._deepspeed.zero_grad()
            self._norm = math.inf
        else:
            self._deepspeed.step()
            if self._settings.zero_stage:
                self._norm = float(self._deepspeed.get_global_grad_norm())
                # ZeRO passes over an update whose gradient is not finite without a word.
                if not self._deepspeed.was_step_applied() and not overflowed:
                    raise self._gradient_error()
        if self._loss_scale:
            self._loss_scale.update(overflowed=overflowed)
            if self._loss_scale.scale < 1:
                raise self._gradient_error()
        self.step += 1
        if self._average and not overflowed:
            self._average.update(self.step)
        return overflowed

    def _measure_and_clip(self, *_: Any) -> None:
        """Before a plain optimizer's step: the gradients are averaged by then, and not yet used."""
        for parameter in self._trained:
            # As DeepSpeed leaves it where it sums over ranks: a weight that no loss reached decays like the others.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [cast("Tensor", parameter.grad) for parameter in self._trained]
        norm = nn.utils.get_total_norm(gradients)
        self._norm = float(norm)
        if not torch.isfinite(norm):
            raise self._gradient_error()
        if self._settings.gradient_clipping:
            nn.utils.clip_grads_with_norm_(self._trained, self._settings.gradient_clipping, norm)

    def _gradient_error(self) -> TrainingError:
        reason = f"the loss is finite at step {self.step}, but its gradient is not"
        return NotFiniteError(f"{reason}; the update was not taken. {REMEDY}")


REMEDY = "Lower --lr, set --gradient-clipping 1, or use --precision fp32 or bf16"


def _optimizer(parameters: list[nn.Parameter], settings: EngineSettings) -> torch.optim.Optimizer:
    common: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=settings.momentum, **common)
    # One kernel for all parameters: half the time of a step that a single image of a small network takes on a CPU.
    return torch.optim.Adam(parameters, fused=True, **common)


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Have an optional package not be found by what is imported meanwhile, unless it is imported already.

    DeepSpeed brings MLflow in for its autotuner, which kdtrain does not use: a second at the start of every run.
    """
    missing = package not in sys.modules
    if missing:
        sys.modules[package] = None  # type: ignore[assignment] # Python's word for "not to be found"
    try:
        yield
    finally:
        if missing:
            del sys.modules[package]


def _initialize(
    model: nn.Module, optimizer: torch.optim.Optimizer, config: dict[str, Any], device: torch.device
) -> Any:
    # Said before the import, since DeepSpeed otherwise tries every kind of device and reports it on the screen.
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    with _hidden("mlflow"):
        import deepspeed
        import deepspeed.ops

    # Errors only at first: it warns of every optimizer but its own.
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # On a CPU DeepSpeed would compile an extension for inference over several ranks, which training never calls;
    # declared unavailable here, so that no C++ compiler is needed and a run starts in seconds.
    deepspeed.ops.__compatible_ops__ = {}
    try:
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
    except (AssertionError, ValueError) as error:
        remedy = "remove what is not needed from the DeepSpeed JSON"
        raise EngineConfigError(f"DeepSpeed refuses its configuration: {error}; {remedy}") from error
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    return engine
