"""How much memory a training step needs, found by taking one on shapes alone.

A micro-batch goes through the phase's own augmentation, networks and losses as fake tensors, which know sizes and hold
no numbers, while every allocation and release is counted: images of any size take a fraction of a second and no memory.

On a GPU the answer is the peak of what is alive. On a CPU two things come on top, both measured: oneDNN copies a
convolution's tensors into a layout of its own while it computes; and freed blocks below 32 MB stay with the process
(glibc), where they serve later requests of about the same size only.

Not in it: cuDNN's workspace, the process with its libraries, and the loader's other processes. In bf16 and fp16 the
count follows PyTorch's rules of a CPU, which differ a little from a GPU's.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own abbreviation
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kdtrain.augment import IDENTITY, Draw, apply_batch, standardise
from kdtrain.config.phases import Precision, Resize
from kdtrain.losses import distillation_loss
from kdtrain.model.init import freeze_all_but_fc
from kdtrain.model.projector import ProjectedModel, Projection
from kdtrain.model.resnet import Model, ModelSpec, Output, activation_checkpointing
from kdtrain.training.engine.precision import Autocast

ALL_COLOURS = Draw(brightness=1.1, contrast=1.1, saturation=1.1, hue=0.1, quarter_turns=1)
"""A draw that costs what most do: all colours, and a turn, which takes a copy; a flip with it may take none."""
KEPT_BELOW_BYTES = 32 * 2**20
"""glibc's largest M_MMAP_THRESHOLD on 64-bit machines: from here on a freed block goes back to the system."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """A micro-batch at one magnification, and the network that takes it.

    Attributes:
        spec: The network.
        height: Rows of an image.
        width: Columns.
    """

    spec: ModelSpec
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class StepShape:
    """What a step's memory depends on.

    Attributes:
        student: The network that is trained, and its images.
        teacher: The frozen one of a distillation, or None.
        batch: Images of a micro-batch.
        precision: Precision of the networks' arithmetic.
        augment: Whether images are augmented.
        recompute: Whether activations are computed twice rather than kept.
        trains: All weights; the fully connected layer's, as fine-tuning does; or none, as validation does.
        resize: How teacher maps become the student's size.
        projection: What stands between the student's map and its teacher's; None for nothing.
        averaged: Whether a moving average of the weights is kept.
    """

    student: Images
    teacher: Images | None = None
    batch: int = 1
    precision: Precision = "fp32"
    augment: bool = True
    recompute: bool = False
    trains: Literal["all", "fc", "nothing"] = "all"
    resize: Resize = "maxpool+bicubic"
    projection: Projection | None = None
    averaged: bool = False


@lru_cache(maxsize=256)
def step_bytes(shape: StepShape, *, on_cpu: bool) -> int:
    """Most memory at any moment of a step: images, activations, weights, gradients and Adam's moments.

    Args:
        shape: Shape of the step.
        on_cpu: Whether to count what a CPU's libraries add.

    Raises:
        ValueError: An image is too small for its network.
    """
    account = Resident() if on_cpu else Alive()
    with torch.inference_mode(False), torch.enable_grad(), FakeTensorMode(), _Allocations(account):
        student = _student(shape)
        # Adam's moments, an average, and the gradients, which are there from the second micro-batch on.
        trained = [p for p in student.parameters() if p.requires_grad]
        moments = [torch.empty_like(p) for p in trained for _ in range(2 + shape.averaged)]
        for parameter in trained:
            parameter.grad = torch.empty_like(parameter)
        _step(shape, student, None if shape.teacher is None else _teacher(shape.teacher))
        del moments
    return account.peak


def _student(shape: StepShape) -> Model:
    spec, projection = shape.student.spec, shape.projection
    student = Model(spec) if projection is None else ProjectedModel(spec, projection)
    activation_checkpointing(student, shape.recompute)
    if shape.trains == "fc":
        freeze_all_but_fc(student)
    elif shape.trains == "nothing":
        student.requires_grad_(requires_grad=False)
    return student


def _teacher(images: Images) -> Model:
    # Channels-last, as the phase has it; Module.to cannot do that to fake weights.
    teacher = Model(images.spec).eval()
    for layer in teacher.modules():
        if isinstance(layer, nn.Conv2d):
            weight = layer.weight.detach().to(memory_format=torch.channels_last)
            layer.weight = nn.Parameter(weight, requires_grad=False)
    return teacher


def _step(shape: StepShape, student: Model, teacher: Model | None) -> None:
    # Both images of a sample are read before either is used.
    image_BCHW = _decoded(shape.student, shape.batch)
    large_BCHW = None if shape.teacher is None else _decoded(shape.teacher, shape.batch)
    target = None
    if teacher is not None and large_BCHW is not None:
        with torch.no_grad():
            target = Autocast(teacher, shape.precision)(prepared(large_BCHW, augment=shape.augment))
    output = Autocast(student, shape.precision)(prepared(image_BCHW, augment=shape.augment))
    loss = _loss(shape, output, target)
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]


def _loss(shape: StepShape, output: Output, target: Output | None) -> Tensor:
    if target is None and not shape.student.spec.n_classes:
        return output.feature_map_BCHW.square().mean()
    if target is None:
        return F.cross_entropy(output.logits_BK, torch.zeros(shape.batch, dtype=torch.int64))
    return distillation_loss(
        teacher_map_BCHW=target.feature_map_BCHW,
        teacher_logits_BK=target.logits_BK,
        student_map_BCHW=output.feature_map_BCHW,
        student_logits_BK=output.logits_BK,
        resize=shape.resize,
    ).total


def _decoded(images: Images, batch: int) -> Tensor:
    # A loaded sample is (rows, columns, 3) in memory.
    return torch.empty(batch, images.height, images.width, 3, dtype=torch.uint8).permute(0, 3, 1, 2)


def prepared(images_BCHW: Tensor, *, augment: bool) -> Tensor:
    """A micro-batch (B, 3, H, W) of uint8 as a network takes it; augmented by a draw that does everything, or not."""
    draws = [ALL_COLOURS if augment else IDENTITY] * images_BCHW.shape[0]
    return standardise(apply_batch(images_BCHW, draws), (128.0,) * 3, (64.0,) * 3)


class Alive:
    """Counts what is alive.

    Attributes:
        peak: Most bytes at any moment.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._now = 0

    def take(self, size: int) -> None:
        """A block is made."""
        self._now += size
        self.peak = max(self.peak, self._now)

    def give(self, size: int) -> None:
        """A block is freed."""
        self._now -= size

    def convolution(self, copied: Sequence[int]) -> None:
        """A convolution runs whose operands have so many bytes."""


class Resident(Alive):
    """Counts what stays with a process on a CPU: large blocks while they live, small ones for ever."""

    def __init__(self) -> None:
        super().__init__()
        self._small: Counter[int] = Counter()
        self._most: Counter[int] = Counter()

    def take(self, size: int) -> None:
        """A small block takes the place of a freed one of its size, if there is one."""
        if size < KEPT_BELOW_BYTES:
            self._small[size] += 1
            if self._small[size] <= self._most[size]:
                return
            self._most[size] += 1
        super().take(size)

    def give(self, size: int) -> None:
        """Only a large block goes back to the system."""
        if size < KEPT_BELOW_BYTES:
            self._small[size] -= 1
        else:
            super().give(size)

    def convolution(self, copied: Sequence[int]) -> None:
        """OneDNN's copies come and go with it."""
        for size in copied:
            self.take(size)
        for size in copied:
            self.give(size)


class _Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Tells an account of every tensor that is made and freed under it."""

    def __init__(self, account: Alive) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._account = account
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor):
                self._take(leaf.untyped_storage())
        if func is torch.ops.aten.convolution.default:
            # Channels-last tensors lie as oneDNN wants them.
            self._account.convolution([output.nbytes] if output.is_contiguous() else [])
        elif func is torch.ops.aten.convolution_backward.default:
            gradient, image = args[:2]
            # The first layer's image needs no gradient, and its few channels no copy.
            self._account.convolution([gradient.nbytes] + ([] if output[0] is None else [image.nbytes]))
        return output

    def _take(self, storage: torch.UntypedStorage) -> None:
        # A storage's own address tells it from others; fake ones have no memory to be told by.
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self._account.take(storage.nbytes())
            weakref.finalize(storage, self._give, key)

    def _give(self, key: int) -> None:
        self._account.give(self._sizes.pop(key))
