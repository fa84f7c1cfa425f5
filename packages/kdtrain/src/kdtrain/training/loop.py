"""The one loop of all phases: groups of samples in, a trained network in the run's folder out.

A phase (:mod:`kdtrain.phases`) says what the loss is and how the network is validated; everything else happens here:
the order of samples, updates, validation, checkpoints, the log, the progress bar. Whatever moment a run is killed at,
the same command goes on from the last checkpoint and ends with the same weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdtrain.config.phases import PhaseConfig
from kdtrain.data.folds.document import FOLDS_FILE, write_folds
from kdtrain.data.folds.opening import run_fold
from kdtrain.data.inputs import Drawing
from kdtrain.data.plan import FRESH, Views
from kdtrain.data.samples import LoadedSample
from kdtrain.data.sets import choice_of, samples_of
from kdtrain.data.stream import SampleStream
from kdtrain.data.teacher_cache.reader import CacheReader
from kdtrain.errors import NotFiniteError, UsageError
from kdtrain.model.network import Network
from kdtrain.model.output_stride import Chosen
from kdtrain.model.placing import compile_network
from kdtrain.model.resnet import Model, activation_checkpointing
from kdtrain.shards.index import Index, union_of
from kdtrain.text import plural
from kdtrain.training import checkpoints
from kdtrain.training.checkpoints import CheckpointStore, Record
from kdtrain.training.engine.engine import BatchLoss, Engine
from kdtrain.training.engine.group import culprit
from kdtrain.training.engine.settings import deepspeed_json, engine_settings
from kdtrain.training.longer import is_of_others, outdated_evaluations
from kdtrain.training.micro_batch import with_begun_micro_batch
from kdtrain.training.monitor import Monitor
from kdtrain.training.record import TrainingRecord, publish
from kdtrain.training.run_folder import CALIBRATION_FILE, MODEL_FILE, RunFolder

Batch = Sequence[LoadedSample]
LossOf = Callable[[nn.Module, Batch, Drawing], BatchLoss]
Validate = Callable[[Engine, str], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What one phase brings to the loop.

    Attributes:
        config: Its settings.
        index: The shard set.
        network: What is trained: how it is built and fed.
        model: Its first weights.
        magnifications: Read for every sample: the teacher's and the student's, or one.
        labelled: Whether labels are read.
        loss_of: Loss of a micro-batch under the model that it is given.
        parts: Names of the loss's parts.
        validate: Metrics on a split; "loss" among them. None where the phase has none to choose by.
        provenance: What else the run's record should hold: the teacher, the weights that were loaded.
        stride_chosen: The network's output stride, where "auto" chose it, for the run's record.
        views: Augmentation draws of a sample, and which of them an epoch shows.
        teacher_cache: Where the teacher's views are read, if it is not computed.
    """

    config: PhaseConfig
    index: Index
    network: Network
    model: Model
    magnifications: tuple[float, ...]
    labelled: bool
    loss_of: LossOf
    parts: tuple[str, ...]
    validate: Validate
    provenance: Mapping[str, Any] = field(default_factory=dict)
    stride_chosen: Chosen | None = None
    views: Views = FRESH
    teacher_cache: CacheReader | None = None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run ended.

    Attributes:
        folder: The run's folder.
        steps: Optimizer steps in all.
        epochs: Passes in all.
        chosen_step: The step whose weights are in model.safetensors.
        chosen_by: The metric and the split that chose it, or "the last epoch".
        metric: Its value, or None.
        seconds: Seconds of this process; a run that was finished before takes none.
        stats: Samples and megapixels per second, and the share of time spent waiting for data.
        feature_network: Whether the network answers with no class.
    """

    folder: Path
    steps: int
    epochs: int
    chosen_step: int
    chosen_by: str
    metric: float | None
    seconds: float
    stats: Mapping[str, float]
    feature_network: bool = False


def train(phase: Phase, monitor: Monitor) -> Summary:
    """Train a phase to its end, from the last checkpoint where there is one.

    Raises:
        UsageError: The run's folder holds another run, or another command trains in it.
        TrainingError: A loss is not finite, or memory does not suffice.
        ShardError: A sample is damaged.
    """
    return _Loop(replace(phase, config=with_begun_micro_batch(phase.config)), monitor).run()


class _Loop:
    def __init__(self, phase: Phase, monitor: Monitor) -> None:
        self._phase = phase
        self._config = config = phase.config
        self._monitor = monitor
        self._folder = RunFolder(config.out)
        self._choice = choice_of(config, phase.index, labelled=phase.labelled)
        self._index, self._train_on = union_of(phase.index, config.train_on)
        self._fold = run_fold(config, phase.index.stored)
        self._began = began = time.monotonic()
        activation_checkpointing(phase.model, config.activation_checkpointing)
        if config.compile:
            compile_network(phase.model)
        samples = samples_of(self._index, self._train_on)
        settings = engine_settings(config, steps_per_epoch=-(-samples // config.accumulate))
        self._engine = Engine(phase.model, settings, example_inputs=[torch.zeros(1, 3, 32, 32)])
        self._record = TrainingRecord(self._folder, config, self._engine, monitor, began=began)
        self._store = CheckpointStore(config.out / "checkpoints", keep_last=config.keep, warn=monitor.say)
        self._best: tuple[int | None, float | None] = (None, None)
        self._drawing = Drawing(settings=config.augmentation, seed=config.seed)
        self._last_batch: Batch | None = None

    def run(self) -> Summary:
        command = f"kdtrain {self._config.phase}"
        with ExitStack() as held:
            self._engine.on_first_rank(lambda: held.enter_context(self._folder.sole_writer(command)))
            return self._run()

    def _run(self) -> Summary:
        engine, config = self._engine, self._config
        stream = self._stream()
        if (news := engine.on_first_rank(self._begin)) is not None:
            self._monitor.say(news)
        epoch, group = self._resume()
        finished = epoch >= config.epochs
        if self._choice.warning and not finished:
            self._monitor.say(f"warning: {self._choice.warning}")
        self._record.begin_session()
        try:
            for number in range(epoch, config.epochs):
                self._epoch(stream, number, group)
                group = 0
        finally:
            stream.close()
            if not finished:
                self._record.save_session()
        engine.on_first_rank(self._publish)
        stats = stream.stats
        step, metric = self._best
        return Summary(
            folder=config.out,
            steps=engine.step,
            epochs=config.epochs,
            chosen_step=engine.step if step is None else step,
            chosen_by=self._choice.chosen_by,
            metric=metric,
            seconds=0.0 if finished else time.monotonic() - self._began,
            stats={
                "samples_per_s": stats.samples_per_s,
                "megapixels_per_s": stats.megapixels_per_s,
                "wait_share": stats.wait_share,
            },
            feature_network=not self._phase.network.classes,
        )

    def _begin(self) -> str | None:
        phase = self._phase
        shard_set = {
            "sha256": phase.index.sha256,
            "classes": list(phase.index.document.classes),
            "train_on": list(self._index.document.sets[self._train_on]),
            **self._choice.record,
            **phase.provenance,
        }
        if self._fold is not None:
            shard_set["fold"] = self._fold.record
        if self._config.deepspeed is not None:
            shard_set["deepspeed"] = deepspeed_json(self._config.deepspeed)
        config = self._config
        chosen = None if phase.stride_chosen is None else phase.stride_chosen.record
        news = self._folder.begin(
            config.record,
            shard_set,
            phase.network.record,
            config.other_settings,
            output_stride_chosen=chosen,
        )
        if self._fold is not None:
            write_folds(config.out / FOLDS_FILE, self._fold.folds)
        return news

    def _stream(self) -> SampleStream:
        config, engine = self._config, self._engine
        per_rank, rest = divmod(config.accumulate, engine.world_size)
        if rest:
            raise UsageError(
                f"--accumulate {plural(config.accumulate, 'sample')} per step cannot be shared evenly by "
                f"{engine.world_size} processes; give a multiple of {engine.world_size}"
            )
        return SampleStream(
            self._index,
            self._train_on,
            self._phase.magnifications,
            labelled=self._phase.labelled,
            views=self._phase.views,
            teacher_cache=self._phase.teacher_cache,
            decode=config.decode,
            stain=self._phase.network.stain,
            seed=config.seed,
            rank=engine.rank,
            world_size=engine.world_size,
            accumulate=per_rank,
            micro_batch=config.micro_batch,
            may_turn=config.augment,
            workers=config.workers,
            pin_memory=engine.device.type == "cuda",
        )

    # One epoch

    def _epoch(self, stream: SampleStream, epoch: int, start_group: int) -> None:
        config, engine = self._config, self._engine
        engine.module.train()
        with self._monitor.epoch(epoch, config.epochs, stream.n_samples) as bar:
            if start_group:
                bar.skip(start_group * config.accumulate)
            for group in stream.epoch(epoch, start_group=start_group):
                self._last_batch = None
                result = engine.train_group(
                    group,
                    self._loss_of,
                    count=group.n_micro_batches,
                    group_size=group.global_size,
                    describe=describe,
                    parts=self._phase.parts,
                )
                bar.step(group.global_size, result.loss, stream.stats)
                self._record.step(epoch, result, stream.stats.wait_share)
                done = group.number + 1
                if (
                    config.checkpoint_every
                    and engine.step % config.checkpoint_every == 0
                    and done < stream.n_groups
                ):
                    self._save(epoch, done)
        metrics = self._validation(epoch)
        self._choose(metrics)
        self._save(epoch + 1, 0)

    def _loss_of(self, model: nn.Module, batch: Batch) -> BatchLoss:
        self._last_batch = batch
        return self._phase.loss_of(model, batch, self._drawing)

    def _validation(self, epoch: int) -> Mapping[str, float]:
        self._engine.module.eval()
        if self._choice.split is None:
            self._check_last_batch()
            return {}
        with self._engine.averaged():
            metrics = self._phase.validate(self._engine, self._choice.split)
        self._record.validated(epoch, self._choice.split, metrics)
        return metrics

    def _check_last_batch(self) -> None:
        """What validation would notice: the epoch's last update may have gone so far that the network says nothing."""
        batch = self._last_batch

        def check() -> None:
            if batch is None:  # this rank had no sample in the last group
                return
            with torch.no_grad():
                loss = self._phase.loss_of(self._engine.inference, batch, self._drawing)
            if not torch.isfinite(loss.total):
                raise NotFiniteError(f"{culprit(loss.teacher_finite)} not finite for {describe(batch)}")

        self._engine.together(check)

    def _choose(self, metrics: Mapping[str, float]) -> None:
        if not metrics:
            return
        value = metrics[self._choice.metric]
        if self._choice.prefers(value, self._best[1]):
            self._best = (self._engine.step, value)

    # Checkpoints

    def _save(self, epoch: int, group: int) -> None:
        state = self._engine.state()
        record = Record(
            step=self._engine.step,
            epoch=epoch,
            position=group,
            world_size=self._engine.world_size,
            best_step=self._best[0],
            best_metric=self._best[1],
        )
        self._engine.on_first_rank(lambda: self._store.save(state, record))
        self._record.save_session()

    def _resume(self) -> tuple[int, int]:
        """(epoch, group) to go on with, after loading the newest whole checkpoint."""
        path = self._engine.on_first_rank(self._store.newest)
        if path is None:
            # Killed before its first checkpoint, a run has a log all the same.
            self._engine.on_first_rank(lambda: self._folder.truncate_log(0))
            return 0, 0
        state, record = checkpoints.load(path)
        self._engine.load_state(state)
        self._best = (record.best_step, record.best_metric)
        self._engine.on_first_rank(lambda: self._folder.truncate_log(record.step))
        if record.epoch >= self._config.epochs:
            self._monitor.say(f"finished already, at step {record.step}; nothing is trained")
        else:
            self._monitor.say(f"going on from step {record.step}, epoch {record.epoch + 1}")
        return record.epoch, record.position

    def _publish(self) -> None:
        step = self._engine.step if self._best[0] is None else self._best[0]
        origin = {"step": step, "chosen_by": self._choice.chosen_by, "network": self._phase.network.record}
        publish(self._store.path_of(step), self._folder.path, origin)
        weights = self._folder.path / MODEL_FILE
        if is_of_others(self._folder.path / CALIBRATION_FILE, weights):
            self._monitor.say(
                f"{CALIBRATION_FILE} is of another network than this one; 'kdtrain calibrate' fits it anew, before "
                "anything is measured"
            )
        for name in outdated_evaluations(self._folder.path, weights):
            self._monitor.say(
                f"{name} measured another network than this one; 'kdtrain evaluate' measures it anew"
            )


def describe(batch: Batch) -> str:
    """Keys and sizes of a micro-batch, for messages."""
    return ", ".join(
        f"{sample.key} ({' and '.join(f'{w} x {h} px' for w, h in sample.sizes.values())})"
        for sample in batch
    )
