"""Phase II: the frozen teacher at high magnification teaches the student at low magnification; labels are never read.

Loss: eq. 1 of the paper, the soft loss on logits (eq. 2) plus the pixel-wise loss on final feature maps (eq. 3). Both
networks see the same field under the same augmentation.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from kdtrain.config import DistillConfig
from kdtrain.engine import BatchLoss, Engine
from kdtrain.engine_precision import Autocast
from kdtrain.errors import UsageError
from kdtrain.inputs import NO_DRAWING, Drawing, image_batch
from kdtrain.losses import distillation_loss
from kdtrain.network import Network, Trained, load_trained
from kdtrain.progress import Monitor
from kdtrain.shard_format import Index, read_index
from kdtrain.stream import EvaluationStream
from kdtrain.training import Batch, Phase, Summary, train
from kdtrain.training_sets import check_phase


def run(config: DistillConfig, monitor: Monitor) -> Summary:
    """Distil a student."""
    index = read_index(config.shards, config.cache)
    teacher = load_trained(config.teacher, what="--teacher")
    magnifications = (teacher.network.magnification, config.magnification)
    check_phase(config, index, magnifications, labelled=False)
    student = student_network(config, index, teacher)
    model = student.build(seed=config.seed)
    if config.start_from == "teacher":
        model.load_state_dict(teacher.model.state_dict())
    teacher.model.requires_grad_(requires_grad=False)
    distil = Distillation(config, teacher, student)
    return train(
        Phase(
            config=config,
            index=index,
            network=student,
            model=model,
            magnifications=magnifications,
            labelled=False,
            loss_of=distil.loss_of,
            parts=("soft", "pixel"),
            validate=partial(validate_distillation, index, distil, config.workers),
            higher_is_better=False,
            provenance={
                "teacher": {
                    "weights_sha256": teacher.sha256,
                    "network": teacher.network.record,
                    "train_on": teacher.run["shard_set"]["train_on"],
                }
            },
        ),
        monitor,
    )


def student_network(config: DistillConfig, index: Index, teacher: Trained) -> Network:
    """The student: the teacher's architecture at its own magnification.

    Colours are standardised by the labelled training split's statistics: of this set, or where it has none, refused.

    Raises:
        UsageError: The student's magnification is not below the teacher's, or the classes differ.
        ShardError: The set has no colour statistics.
    """
    own, classes = teacher.network, tuple(index.document.classes)
    if config.magnification >= own.magnification:
        raise UsageError(
            f"--magnification {config.magnification:g} is not below the teacher's {own.magnification:g}x; "
            "distillation goes from a high magnification to a lower one"
        )
    if classes and classes != own.classes:
        raise UsageError(
            f"--teacher {config.teacher} was trained on the classes {', '.join(own.classes)}, --shards "
            f"{config.shards} has {', '.join(classes)}; build the set with --classes {','.join(own.classes)}"
        )
    statistics = index.statistics_of(config.magnification)
    return Network(
        model=own.model,
        output_stride=config.output_stride or own.output_stride,
        classes=own.classes,
        magnification=config.magnification,
        mean=statistics.mean,
        std=statistics.std,
    )


class Distillation:
    """The loss of a micro-batch.

    Args:
        config: Resize, temperature, weights.
        teacher: With its weights; moved to the student's device at first use.
        student: How the student is fed.
    """

    def __init__(self, config: DistillConfig, teacher: Trained, student: Network) -> None:
        self.magnifications = (teacher.network.magnification, student.magnification)
        self._config = config
        self._teacher_network = teacher.network
        self._student_network = student
        # Channels last: the forward pass alone, which is most of this phase's time, takes half as long on a CPU.
        model = teacher.model.to(memory_format=torch.channels_last)
        self._teacher: nn.Module = Autocast(model, config.precision).eval()

    def loss_of(self, model: nn.Module, batch: Batch, drawing: Drawing) -> BatchLoss:
        """Eq. 1, summed over the micro-batch; gradients reach the student alone."""
        config, device = self._config, next(model.parameters()).device
        self._teacher.to(device)
        with torch.no_grad():
            teacher = self._teacher(image_batch(batch, self._teacher_network, drawing, device))
        student = model(image_batch(batch, self._student_network, drawing, device))
        loss = distillation_loss(
            teacher_map_BCHW=teacher[0],
            teacher_logits_BK=teacher[1],
            student_map_BCHW=student[0],
            student_logits_BK=student[1],
            resize=config.resize,
            temperature=config.temperature,
            alpha=config.soft_weight,
            beta=config.pixel_weight,
        )
        size = len(batch)
        return BatchLoss(
            total=loss.total * size,
            samples=size,
            parts={"soft": loss.soft.detach() * size, "pixel": loss.pixel.detach() * size},
        )


def validate_distillation(
    index: Index, distil: Distillation, workers: int, engine: Engine, split: str
) -> dict[str, float]:
    """The distillation loss on a split, without augmentation, every sample once over all ranks."""
    magnifications = distil.magnifications
    stream = EvaluationStream(
        index, split, magnifications, rank=engine.rank, world_size=engine.world_size, workers=workers
    )
    rows: list[tuple[float, float, float]] = []
    try:
        with torch.no_grad():
            for sample in stream:
                loss = distil.loss_of(engine.inference, [sample], NO_DRAWING)
                rows.append((loss.total.item(), loss.parts["soft"].item(), loss.parts["pixel"].item()))
    finally:
        stream.close()
    columns = zip(*engine.gather(rows), strict=True)
    return dict(zip(("loss", "soft", "pixel"), (sum(c) / stream.n_samples for c in columns), strict=True))
