"""GroupNorm ResNets: an image in, its last convolutional feature map and its logits out.

The blocks and the names of all parameters are torchvision's, so that its checkpoints fit (model_init); batch
normalisation is replaced by group normalisation because gradients are accumulated over single images (paper,
section 3.5). Any image of at least MIN_SIDE_PX a side goes in, square or not; standardise it first (augment).
Nothing here is trained, loaded or moved to a device.

Legend: B images of a batch, C channels, H and W rows and columns of the image or of the feature map, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.models.resnet import BasicBlock, Bottleneck

from kdtrain.model.init import he_init

GROUPS = 32
"""Groups of every normalisation at full width, the default of Wu and He (2018); fewer where stages are narrower, so
that a group keeps its channels."""
MIN_SIDE_PX = 5
"""At 5 px the first stage still has 2x2 values; at 4 px it has one, and resnet10's 32 groups of 32 channels would
normalise single numbers, which is undefined."""
OUTPUT_STRIDES = (32, 16, 8, 4)
WIDTHS = (1.0, 0.5, 0.25)
STEMS = ("standard", "small")


@dataclass(frozen=True, kw_only=True)
class _Architecture:
    block: type[BasicBlock | Bottleneck]
    blocks: tuple[int, int, int, int]
    width: int = 64


_ARCHITECTURES = {
    # The network of the authors' published code.
    "resnet10": _Architecture(block=BasicBlock, blocks=(1, 1, 1, 1), width=32),
    "resnet18": _Architecture(block=BasicBlock, blocks=(2, 2, 2, 2)),
    "resnet34": _Architecture(block=BasicBlock, blocks=(3, 4, 6, 3)),
    "resnet50": _Architecture(block=Bottleneck, blocks=(3, 4, 6, 3)),
    "resnet101": _Architecture(block=Bottleneck, blocks=(3, 4, 23, 3)),
    "resnet152": _Architecture(block=Bottleneck, blocks=(3, 8, 36, 3)),
}
MODEL_NAMES = tuple(_ARCHITECTURES)


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What determines a model up to its weights.

    Attributes:
        name: One of MODEL_NAMES.
        n_classes: Number of logits; 0 for a feature network, which has no fc layer.
        output_stride: Image pixels per feature-map cell along a side: 32, 16, 8 or 4. Lowered by setting the strides of
            the last stages to 1. The convolutions are not dilated, so the weights keep their size and their spacing,
            the map gets finer, and the cost grows.
        width: Channels of every stage, relative to the architecture's: 1, 0.5 or 0.25. Half the channels take about a
            quarter of the arithmetic.
        stem: "standard": 7x7 convolution of stride 2, then 3x3 max-pooling of stride 2. "small": a 3x3 convolution of
            stride 2, or 1 where the output stride is 4, and no pooling; the stages take the strides that are left.

    Raises:
        ValueError: A field is out of range.
    """

    name: str
    n_classes: int
    output_stride: int = 32
    width: float = 1.0
    stem: str = "standard"

    def __post_init__(self) -> None:
        if self.name not in MODEL_NAMES:
            raise ValueError(f"no model {self.name!r}; choose one of {', '.join(MODEL_NAMES)}")
        if self.n_classes < 2 and self.n_classes != 0:
            raise ValueError(f"a classifier needs 2 classes or more, got {self.n_classes}; check the labels")
        if self.output_stride not in OUTPUT_STRIDES:
            raise ValueError(f"output stride {self.output_stride} is not one of {OUTPUT_STRIDES}")
        if self.width not in WIDTHS:
            raise ValueError(f"width {self.width} is not one of {WIDTHS}")
        if self.stem not in STEMS:
            raise ValueError(f"no stem {self.stem!r}; choose one of {', '.join(STEMS)}")

    @property
    def feature_channels(self) -> int:
        """Channels of the feature map."""
        architecture = _ARCHITECTURES[self.name]
        return (self.first_channels << 3) * int(architecture.block.expansion)

    @property
    def first_channels(self) -> int:
        """Channels of the stem."""
        return int(_ARCHITECTURES[self.name].width * self.width)

    @property
    def stem_strides(self) -> tuple[int, int]:
        """Strides of the stem's convolution and of its pooling, 1 for none."""
        if self.stem == "standard":
            return 2, 2
        return (1 if self.output_stride == min(OUTPUT_STRIDES) else 2), 1

    @property
    def stage_strides(self) -> tuple[int, int, int, int]:
        """Strides of the four stages: what the stem leaves to do, the first stage last."""
        doublings = (self.output_stride // (self.stem_strides[0] * self.stem_strides[1])).bit_length() - 1
        later = [2 if i < doublings else 1 for i in range(3)]
        return 2 if doublings == 4 else 1, later[0], later[1], later[2]


class Output(NamedTuple):
    """Both outputs of a forward pass.

    Attributes:
        feature_map_BCHW: Output of the last stage after its ReLU, F_conv in the paper's eq. 3.
        logits_BK: Output of the fc layer, F_fc in the paper's eq. 2; (B, 0) of a feature network.
    """

    feature_map_BCHW: Tensor
    logits_BK: Tensor


class _NoLogits(nn.Module):
    """What a feature network has in the place of its fc layer: nothing that learns."""

    def forward(self, x_BC: Tensor) -> Tensor:
        return x_BC[:, :0]


class Model(nn.Module):
    """A ResNet that returns its feature map beside its logits.

    Attributes:
        spec: What the model was built from.
        recompute: Whether activations are recomputed in the backward pass; see activation_checkpointing.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.recompute = False
        architecture = _ARCHITECTURES[spec.name]
        norm = partial(nn.GroupNorm, int(GROUPS * spec.width))
        width, (stride, pooling) = spec.first_channels, spec.stem_strides
        kernel = 7 if spec.stem == "standard" else 3
        self.conv1 = nn.Conv2d(3, width, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.bn1 = norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if pooling == 2 else nn.Identity()
        in_channels = width
        for i, (n_blocks, stride) in enumerate(zip(architecture.blocks, spec.stage_strides, strict=True)):
            stage = _stage(architecture.block, in_channels, width << i, n_blocks, stride, norm)
            self.add_module(f"layer{i + 1}", stage)
            in_channels = (width << i) * architecture.block.expansion
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(in_channels, spec.n_classes) if spec.n_classes else _NoLogits()

    def parts(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """The stem and the four stages in order: what is recomputed as a whole under checkpointing."""
        yield self._stem
        for i in range(1, 5):
            yield self.get_submodule(f"layer{i}")

    def _stem(self, image_BCHW: Tensor) -> Tensor:
        x_BCHW: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(image_BCHW))))
        return x_BCHW

    def forward(self, image_BCHW: Tensor) -> Output:
        """Classify standardised images of one size.

        Args:
            image_BCHW: (B, 3, H, W) floating point, H and W at least MIN_SIDE_PX.

        Raises:
            ValueError: The image has another shape.
        """
        check_image(image_BCHW)
        x_BCHW = image_BCHW
        for part in self.parts():
            if self.recompute and torch.is_grad_enabled():
                # No part draws random numbers, so there is no generator state to keep.
                x_BCHW = checkpoint(part, x_BCHW, use_reentrant=False, preserve_rng_state=False)
            else:
                x_BCHW = part(x_BCHW)
        return Output(x_BCHW, self.fc(self.avgpool(x_BCHW).flatten(1)))


def _stage(
    block: type[BasicBlock | Bottleneck],
    in_channels: int,
    planes: int,
    n_blocks: int,
    stride: int,
    norm: partial[nn.GroupNorm],
) -> nn.Sequential:
    out_channels = planes * block.expansion
    shortcut = None
    # By channels: at a lowered stride the projection stays, and with it the parameters. The first stage of a
    # BasicBlock network has none, as in torchvision, but where the small stem leaves it a stride.
    if in_channels != out_channels or stride == 2:
        conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)
        shortcut = nn.Sequential(conv, norm(out_channels))
    first = block(in_channels, planes, stride, shortcut, norm_layer=norm)
    rest = [block(out_channels, planes, norm_layer=norm) for _ in range(n_blocks - 1)]
    return nn.Sequential(first, *rest)


def check_image(image_BCHW: Tensor) -> None:
    """Refuse a batch that is not (B, 3, H, W) with H and W of MIN_SIDE_PX or more, by ValueError."""
    if image_BCHW.ndim != 4 or image_BCHW.shape[1] != 3:
        raise ValueError(f"an image batch is (B, 3, H, W); got shape {tuple(image_BCHW.shape)}")
    height, width = image_BCHW.shape[2:]
    if min(height, width) < MIN_SIDE_PX:
        raise ValueError(
            f"an image of {width} x {height} px is too small: below {MIN_SIDE_PX} px a side the first stage has "
            "too few values to normalise; leave it out, or use a higher magnification"
        )


def build_model(
    name: str,
    *,
    n_classes: int,
    output_stride: int = 32,
    width: float = 1.0,
    stem: str = "standard",
    seed: int | None,
) -> Model:
    """A model with fresh weights, as build_from gives it of a :class:`ModelSpec` of these fields.

    Raises:
        ValueError: A name, class count, stride, width or stem that does not exist.
    """
    spec = ModelSpec(name=name, n_classes=n_classes, output_stride=output_stride, width=width, stem=stem)
    return build_from(spec, seed=seed)


def build_from(spec: ModelSpec, *, seed: int | None) -> Model:
    """A model with fresh weights (model_init.he_init), in float32 on the CPU.

    Args:
        spec: What to build. The weights of one seed are the same at each output stride.
        seed: Seed of the weights; PyTorch's global generator is then neither read nor changed. None draws from it.
    """
    # Built without storage first: PyTorch's layers would otherwise draw weights of their own to be thrown away.
    with torch.device("meta"):
        model = Model(spec)
    model.to_empty(device="cpu")
    he_init(model, None if seed is None else torch.Generator().manual_seed(seed))
    return model


def activation_checkpointing(model: Model, enabled: bool) -> None:
    """Trade time for memory: keep the inputs of stem and stages only, and recompute the rest going backwards.

    Outputs and gradients stay the same; a training step takes about a third more arithmetic. The largest part,
    the stem, still has to fit.
    """
    model.recompute = enabled
