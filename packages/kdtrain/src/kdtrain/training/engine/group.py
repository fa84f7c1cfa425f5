"""What goes into one update and what comes out: losses of micro-batches, their sums, and the group's result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kdtrain.errors import TrainingError


@dataclass(frozen=True, kw_only=True)
class BatchLoss:
    """The loss of one micro-batch.

    Attributes:
        total: Scalar with a gradient: the sum over the samples, not the mean.
        samples: How many there are.
        parts: Scalars to report, sums over the samples as well, such as the soft and the pixel loss.
        teacher_finite: Whether the teacher's outputs were finite; a scalar bool on the device, so as not to wait for
            it. None without a teacher.
    """

    total: Tensor
    samples: int
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    teacher_finite: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class GroupResult:
    """One update.

    Attributes:
        step: Updates taken, this one included.
        loss: Mean over the group's samples, on all ranks.
        parts: Means of BatchLoss.parts.
        grad_norm: Euclidean norm of the gradient over all trained weights, before clipping; inf where skipped.
        learning_rate: That the update was taken with.
        skipped: fp16 only: gradients overflowed, so the weights stayed and the loss scale was halved.
    """

    step: int
    loss: float
    parts: Mapping[str, float]
    grad_norm: float
    learning_rate: float
    skipped: bool


class Tally:
    """Sums over this rank's micro-batches; they stay on the device until the group's end, so as not to wait."""

    def __init__(self, parts: Sequence[str], device: torch.device) -> None:
        self.names: list[str] = []
        self._parts = parts
        self._samples = 0
        self._teachers: list[Tensor | None] = []
        # Zeros stand for a rank without a sample.
        self._values = [torch.zeros((), device=device)] * (1 + len(parts))

    def add(self, names: str, loss: BatchLoss) -> None:
        """Add a micro-batch, whose samples are called ``names``."""
        self.names.append(names)
        self._samples += loss.samples
        self._teachers.append(loss.teacher_finite)
        # Put together at the group's end: of small images, each operation here would be felt.
        self._values += [loss.total.detach(), *(loss.parts[part].detach() for part in self._parts)]

    def sums(self, overflow: Tensor | bool) -> Tensor:
        """[bad losses, samples, loss, *parts, overflows], float64."""
        rows = self._rows()
        bad = (~torch.isfinite(rows)).any(dim=1).sum()
        first = torch.stack([bad.to(rows), torch.tensor(self._samples).to(rows)])
        return torch.cat([first, rows.sum(dim=0), torch.as_tensor(overflow).to(rows)[None]])

    def bad(self, step: int) -> list[str]:
        """Of each micro-batch whose loss is not finite, what is not finite after ``step`` updates, and its names."""
        return [
            f"{culprit(finite)} not finite at step {step}, for {names}"
            for names, row, finite in zip(self.names, self._rows()[1:], self._teachers, strict=True)
            if not torch.isfinite(row).all()
        ]

    def _rows(self) -> Tensor:
        """(1 + micro-batches, 1 + parts) float64, the first row zeros."""
        return torch.stack(self._values).double().view(-1, 1 + len(self._parts))


def culprit(teacher_finite: Tensor | None) -> str:
    """Subject and verb of what made a loss infinite or NaN: the teacher, where its outputs are."""
    teacher = teacher_finite is not None and not bool(teacher_finite)
    return "the teacher's outputs are" if teacher else "the loss is"


@contextmanager
def memory_errors_named(
    names: str,
    when: str,
    remedy: str = "--activation-checkpointing, --precision bf16, --micro-batch 1 or a lower --magnification",
) -> Iterator[None]:
    """Tell which samples did not fit into memory, and what helps, instead of a trace.

    Raises:
        TrainingError: In place of the device's or the CPU allocator's error; other errors come through.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise TrainingError(f"not enough memory {when} for {names}; try {remedy}") from error
