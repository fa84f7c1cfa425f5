"""The frozen teacher at work: a sample and its draws in, one view a draw out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from kdtrain.augment import Draw
from kdtrain.config.phases import Precision
from kdtrain.data.inputs import drawn_batch
from kdtrain.data.samples import LoadedSample
from kdtrain.data.teacher_cache.view import MAPS, TeacherView, map_size
from kdtrain.losses import teacher_targets
from kdtrain.training.engine.precision import Autocast
from kdtrain.training.trained import Trained


def frozen_teacher(teacher: Trained, precision: Precision) -> nn.Module:
    """A teacher's model as it teaches: evaluation mode, no gradients, in a precision; outputs are float32."""
    teacher.model.requires_grad_(requires_grad=False)
    # Channels last: the forward pass takes half as long on a CPU.
    return Autocast(teacher.model.to(memory_format=torch.channels_last), precision).eval()


class ViewMaker:
    """Computes the views of samples.

    Attributes:
        magnifications: The teacher's.

    Args:
        teacher: Whose views.
        precision: Precision of its arithmetic.
        device: Where to compute.
        output_stride: Output stride of the student.
        micro_batch: Views of one size that go through the network together, at most.
    """

    def __init__(
        self,
        teacher: Trained,
        *,
        precision: Precision,
        device: torch.device,
        output_stride: int,
        micro_batch: int = 1,
    ) -> None:
        self._network = teacher.network
        self.magnifications = (teacher.network.magnification,)
        self._model = frozen_teacher(teacher, precision).to(device)
        self._device = device
        self._output_stride = output_stride
        self._micro_batch = micro_batch

    def views(
        self, sample: LoadedSample, draws: Sequence[Draw], student_size: tuple[int, int]
    ) -> list[TeacherView]:
        """The views of one sample, in the order of its draws; on the CPU.

        Args:
            sample: With its image at the teacher's magnification.
            draws: One a view.
            student_size: (width, height) of the student's image, in pixels.
        """
        image_CHW = sample.images[self._network.magnification]
        found: dict[int, TeacherView] = {}
        for batch in _same_size(draws, self._micro_batch):
            turned = bool(draws[batch[0]].quarter_turns % 2)
            size = map_size(student_size, self._output_stride, turned=turned)
            views = self._batch(image_CHW, [draws[i] for i in batch], size)
            found |= dict(zip(batch, views, strict=True))
        return [found[i] for i in range(len(draws))]

    def _batch(
        self, image_CHW: Tensor, draws: Sequence[Draw], size: tuple[int, int]
    ) -> Iterator[TeacherView]:
        with torch.inference_mode():
            images_BCHW = drawn_batch([image_CHW] * len(draws), draws, self._network, self._device)
            map_BCHW, logits_BK = self._model(images_BCHW)
            targets = {how: x.cpu() for how, x in teacher_targets(map_BCHW, size, MAPS).items()}
            logits = logits_BK.float().cpu()
        for i in range(len(draws)):
            yield TeacherView(logits_K=logits[i], maps={how: x[i] for how, x in targets.items()})


def _same_size(draws: Sequence[Draw], most: int) -> Iterator[list[int]]:
    """Numbers of the draws in batches whose images lie the same way."""
    for odd in (0, 1):
        numbers = [i for i, drawn in enumerate(draws) if drawn.quarter_turns % 2 == odd]
        yield from (numbers[start : start + most] for start in range(0, len(numbers), most))
