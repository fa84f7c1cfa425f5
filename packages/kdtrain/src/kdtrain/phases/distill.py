"""Phase II: the frozen teacher at high magnification teaches the student at low magnification, without labels.

Loss: eq. 1 of the paper, the soft loss on logits (eq. 2) plus the pixel-wise loss on final feature maps (eq. 3). Both
networks see the same field under the same augmentation. What the teacher says is computed for every sample in every
epoch, or read out of a teacher cache (:mod:`kdtrain.data.teacher_cache`); the loss is the same code.

A teacher that is no run gives vectors, and the student's map is compared with them where there are any. Where it gives
no logits, nothing else is learnt, and the student is a feature network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own abbreviation
from torch import Tensor, nn

from kdtrain.config.phases import Decode, DistillConfig
from kdtrain.data.inputs import NO_DRAWING, Drawing, image_batch
from kdtrain.data.stream import EvaluationStream
from kdtrain.data.teacher_cache.reader import CacheReader
from kdtrain.errors import NotFiniteError
from kdtrain.losses import RESIZES, MapName, distillation_loss_of_targets, teacher_targets
from kdtrain.model.network import Network
from kdtrain.model.placing import compile_network
from kdtrain.model.projector import build_projected
from kdtrain.model.resnet import Model, Output
from kdtrain.model.stain.target import StainTarget
from kdtrain.phases.begun import begun_stride
from kdtrain.phases.kept_views import kept_record, with_kept_views
from kdtrain.phases.networks import (
    check_same_shape,
    chosen_stride,
    projection_of,
    source_student,
    stride_note,
    student_network,
)
from kdtrain.phases.teacher_views import frozen_teacher
from kdtrain.phases.teaching import Teaching, teaching_of
from kdtrain.shards.index import Index
from kdtrain.training.engine.engine import BatchLoss, Engine
from kdtrain.training.engine.group import culprit
from kdtrain.training.loop import Batch, Phase, Summary, train
from kdtrain.training.micro_batch import with_begun_micro_batch
from kdtrain.training.monitor import Monitor
from kdtrain.training.trained import Trained


def distill(config: DistillConfig, monitor: Monitor) -> Summary:
    """Distil a student."""
    asked = with_begun_micro_batch(config)
    config = with_kept_views(asked, monitor)
    teaching = teaching_of(config, monitor)
    student = _student(config, teaching)
    note = stride_note(config, teaching.index, student.output_stride)
    if note is not None:
        monitor.say(note)
    model = _first_weights(config, teaching, student)
    source = teaching.source
    distil = Distillation(
        config,
        None if teaching.cache else teaching.teacher,
        student,
        laid=source is not None,
        soft=source is None or source.classes is not None,
    )
    return train(
        Phase(
            config=asked,
            index=teaching.index,
            network=student,
            model=model,
            magnifications=distil.magnifications,
            labelled=False,
            loss_of=distil.training_loss,
            parts=distil.parts,
            validate=partial(
                validate_distillation,
                teaching.index,
                distil,
                config.workers,
                teacher_cache=teaching.cache,
                decode=config.decode,
            ),
            views=teaching.views,
            teacher_cache=teaching.cache,
            provenance={**teaching.provenance, **kept_record(config)},
            stride_chosen=chosen_stride(asked, teaching.index, taken=student.output_stride),
        ),
        monitor,
    )


def _student(config: DistillConfig, teaching: Teaching) -> Network:
    if teaching.source is not None:
        return source_student(config, teaching.index, teaching.source)
    assert teaching.network is not None
    stride = begun_stride(config) or teaching.output_stride
    return student_network(config, teaching.index, teaching.network, output_stride=stride)


def _first_weights(config: DistillConfig, teaching: Teaching, student: Network) -> Model:
    """Fresh ones, with a projector where the loss compares channels that are not the student's; or the teacher's."""
    projection = projection_of(config, student.spec, teaching.network, teaching.source)
    model = build_projected(student.spec, projection, seed=config.seed)
    if config.start_from == "teacher":
        assert teaching.teacher is not None and teaching.network is not None
        check_same_shape(teaching.network, student)
        model.load_state_dict(teaching.teacher.model.state_dict())
    return model


class _Computed:
    """Outputs of a teacher that sees the images.

    They come from inference mode, and autograd keeps none of what is made there. It has no need to: what losses keep is
    made of them by operations outside, resizing and softmax.
    """

    valid_BHW = None

    def __init__(self, output: Output) -> None:
        self.logits_BK = output.logits_BK
        self._map_BCHW = output.feature_map_BCHW

    def targets(self, size: tuple[int, int], maps: tuple[MapName, ...]) -> Mapping[MapName, Tensor]:
        resizes = tuple(how for how in maps if how != "laid")
        return teacher_targets(self._map_BCHW, size, resizes)


class _Read:
    """Outputs of a teacher that a cache holds."""

    def __init__(self, batch: Batch, device: torch.device) -> None:
        views = [sample.taught.view for sample in batch if sample.taught is not None]
        assert len(views) == len(batch), "every sample comes with its view"
        self._views, self._device = views, device
        self.logits_BK = self._stacked([view.logits_K for view in views])
        self.valid_BHW = self._stacked([view.valid_HW for view in views])

    def targets(self, size: tuple[int, int], maps: tuple[MapName, ...]) -> Mapping[MapName, Tensor]:
        assert all(view.maps[how].shape[1:] == size for view in self._views for how in maps)
        stacked = {how: self._stacked([view.maps[how] for view in self._views]) for how in maps}
        return {how: map_BCHW for how, map_BCHW in stacked.items() if map_BCHW is not None}

    def _stacked(self, tensors: Sequence[Tensor | None]) -> Tensor | None:
        """On the device; None where the cache has none: all of its views do, or none does."""
        there = [tensor for tensor in tensors if tensor is not None]
        return torch.stack(there).to(self._device, non_blocking=True) if there else None


class Distillation:
    """The loss of a micro-batch.

    Attributes:
        taught_parts: Parts of what the teacher teaches.

    Args:
        config: Resize, temperature, weights.
        teacher: With its weights, moved to the student's device at first use; None where samples bring its outputs.
        student: How the student is fed.
        laid: Whether the teacher is no run, so that its vectors lie on the student's map.
        soft: Whether it gives logits.
    """

    def __init__(
        self,
        config: DistillConfig,
        teacher: Trained | None,
        student: Network,
        *,
        laid: bool = False,
        soft: bool = True,
    ) -> None:
        self._config = config
        self._maps: tuple[MapName, ...] = RESIZES[config.resize]
        if laid:
            self._maps = ("laid",) if config.pixel_weight else ()
        self.taught_parts = ("soft", "pixel") if soft else ("pixel",)
        self._student_network = student
        self._teacher_network = None if teacher is None else teacher.network
        self._teacher = None if teacher is None else frozen_teacher(teacher, config.precision)
        if teacher is not None and config.compile:
            compile_network(teacher.model)

    @property
    def magnifications(self) -> tuple[float, ...]:
        """Read for every sample: the teacher's, where it computes, and the student's."""
        own = self._student_network.magnification
        return (own,) if self._teacher_network is None else (self._teacher_network.magnification, own)

    @property
    def stain(self) -> StainTarget | None:
        """That images come in, the teacher's as the student's; None for their own."""
        return self._student_network.stain

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts of the training loss."""
        return (*self.taught_parts, "label") if self._config.label_weight else self.taught_parts

    def training_loss(self, model: nn.Module, batch: Batch, drawing: Drawing) -> BatchLoss:
        """Eq. 1, summed over the micro-batch, and with --label-weight w, w times the cross-entropy of what is labelled.

        A sample without a label adds 0 to it, so that its weight depends on no neighbour.
        """
        weight = self._config.label_weight
        if not weight:
            return self.loss_of(model, batch, drawing)
        loss, logits_BK = self._loss(model, batch, drawing)
        label = labelled_loss([sample.label for sample in batch], logits_BK)
        parts = {**loss.parts, "label": label.detach()}
        return replace(loss, total=loss.total + weight * label, parts=parts)

    def loss_of(self, model: nn.Module, batch: Batch, drawing: Drawing) -> BatchLoss:
        """Eq. 1, summed over the micro-batch, without labels; gradients reach the student alone."""
        return self._loss(model, batch, drawing)[0]

    def _loss(self, model: nn.Module, batch: Batch, drawing: Drawing) -> tuple[BatchLoss, Tensor]:
        config, device = self._config, next(model.parameters()).device
        teacher = self._taught(batch, drawing, device)
        student = model(image_batch(batch, self._student_network, drawing, device))
        size = (student[0].shape[2], student[0].shape[3])
        targets = teacher.targets(size, self._maps)
        loss = distillation_loss_of_targets(
            targets=targets,
            teacher_logits_BK=teacher.logits_BK,
            student_map_BCHW=student[0],
            student_logits_BK=student[1],
            temperature=config.temperature,
            alpha=config.soft_weight,
            beta=config.pixel_weight,
            hint=config.hint,
            valid_BHW=teacher.valid_BHW,
        )
        samples = len(batch)
        summed = BatchLoss(
            total=loss.total * samples,
            samples=samples,
            parts={name: getattr(loss, name).detach() * samples for name in self.taught_parts},
            teacher_finite=_all_finite(
                *([] if teacher.logits_BK is None else [teacher.logits_BK]), *targets.values()
            ),
        )
        return summed, student[1]

    def _taught(self, batch: Batch, drawing: Drawing, device: torch.device) -> _Computed | _Read:
        if self._teacher is None or self._teacher_network is None:
            return _Read(batch, device)
        self._teacher.to(device)
        with torch.inference_mode():
            output = Output(*self._teacher(image_batch(batch, self._teacher_network, drawing, device)))
        return _Computed(output)


def _all_finite(*tensors: Tensor) -> Tensor:
    return torch.stack([torch.isfinite(tensor).all() for tensor in tensors]).all()


def labelled_loss(labels: Sequence[int | None], logits_BK: Tensor) -> Tensor:
    """Cross-entropy -log softmax(s)_y in float32, summed over the samples that have a label y; 0 where none has."""
    rows = [i for i, label in enumerate(labels) if label is not None]
    targets = torch.tensor([label for label in labels if label is not None], device=logits_BK.device)
    if not rows:
        return logits_BK.float().sum() * 0
    return F.cross_entropy(logits_BK[rows].float(), targets, reduction="sum")


def validate_distillation(
    index: Index,
    distil: Distillation,
    workers: int,
    engine: Engine,
    split: str,
    *,
    teacher_cache: CacheReader | None = None,
    decode: Decode = "cpu",
) -> dict[str, float]:
    """The distillation loss on a split, without augmentation, every sample once over all ranks.

    Raises:
        NotFiniteError: On every rank, where the loss of a sample is not finite; names the teacher where it is at fault.
    """
    stream = EvaluationStream(
        index,
        split,
        distil.magnifications,
        teacher_cache=teacher_cache,
        decode=decode,
        stain=distil.stain,
        rank=engine.rank,
        world_size=engine.world_size,
        workers=workers,
        pin_memory=engine.device.type == "cuda",
    )
    rows = engine.together(lambda: _losses(distil, stream, engine.inference))
    columns = zip(*engine.gather(rows), strict=True)
    names = ("loss", *distil.taught_parts)
    return dict(zip(names, (sum(c) / stream.n_samples for c in columns), strict=True))


def _losses(distil: Distillation, stream: EvaluationStream, model: nn.Module) -> list[tuple[float, ...]]:
    """(total, *parts) of every sample of a stream, which is closed."""
    rows = []
    try:
        with torch.no_grad():
            for sample in stream:
                loss = distil.loss_of(model, [sample], NO_DRAWING)
                row = (loss.total.item(), *(loss.parts[name].item() for name in distil.taught_parts))
                if not all(map(math.isfinite, row)):
                    raise NotFiniteError(f"{culprit(loss.teacher_finite)} not finite for {sample.key}")
                rows.append(row)
    finally:
        stream.close()
    return rows
