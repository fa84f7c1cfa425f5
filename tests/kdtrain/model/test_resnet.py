"""The networks: sizes, agreement with torchvision, output strides, recomputation and limits."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torchvision
from torch import nn

from kdtrain.model.resnet import (
    MIN_SIDE_PX,
    MODEL_NAMES,
    OUTPUT_STRIDES,
    STEMS,
    WIDTHS,
    Model,
    ModelSpec,
    activation_checkpointing,
    build_from,
    build_model,
)


def _image(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(7))


def _torchvision(name: str) -> nn.Module:
    network = getattr(torchvision.models, name)(norm_layer=partial(nn.GroupNorm, 32), num_classes=3)
    assert isinstance(network, nn.Module)
    return network


def test_resnet10_has_the_published_size() -> None:
    """resnet10 has 1 231 011 parameters for 3 classes and maps 64 x 96 px to 256 channels of 2 x 3 cells."""
    model = build_model("resnet10", n_classes=3, seed=0)
    output = model(_image(64, 96))
    assert sum(p.numel() for p in model.parameters()) == 1_231_011
    assert output.feature_map_BCHW.shape == (1, 256, 2, 3)
    assert output.logits_BK.shape == (1, 3)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_outputs_are_those_of_torchvision_with_group_normalisation(name: str) -> None:
    """With the same weights, logits and layer 4 equal those of torchvision's network with GroupNorm for BatchNorm."""
    model, reference = build_model(name, n_classes=3, seed=1), _torchvision(name)
    reference.load_state_dict(model.state_dict(), strict=True)
    maps: list[torch.Tensor] = []
    reference.get_submodule("layer4").register_forward_hook(lambda module, given, output: maps.append(output))
    image = _image(70, 97, batch=2)
    with torch.no_grad():
        output, logits = model(image), reference(image)
    torch.testing.assert_close(output.logits_BK, logits, rtol=0, atol=1e-6)
    torch.testing.assert_close(output.feature_map_BCHW, maps[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in MODEL_NAMES if n != "resnet10"])
def test_parameters_and_layers_are_named_as_in_torchvision(name: str) -> None:
    """Every parameter has torchvision's name and shape, every convolution its stride."""
    with torch.device("meta"):
        ours, theirs = Model(ModelSpec(name=name, n_classes=3)), _torchvision(name)
    shapes = [{n: p.shape for n, p in net.state_dict().items()} for net in (ours, theirs)]
    strides = [
        {n: m.stride for n, m in net.named_modules() if hasattr(m, "kernel_size")} for net in (ours, theirs)
    ]
    assert shapes[0] == shapes[1]
    assert strides[0] == strides[1]


@pytest.mark.parametrize(("stride", "cells"), [(32, (2, 3)), (16, (4, 6)), (8, (8, 12)), (4, (16, 24))])
@pytest.mark.parametrize("name", ["resnet10", "resnet50"])
def test_output_stride_refines_the_map_and_keeps_the_weights(
    name: str, stride: int, cells: tuple[int, int]
) -> None:
    """64 x 96 px give 64 / stride x 96 / stride cells, from the very weights of stride 32."""
    model = build_model(name, n_classes=2, output_stride=stride, seed=3)
    with torch.no_grad():
        assert model(_image(64, 96)).feature_map_BCHW.shape[2:] == cells
    reference = build_model(name, n_classes=2, seed=3).state_dict()
    assert model.state_dict().keys() == reference.keys()
    assert all(torch.equal(value, reference[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("stride", OUTPUT_STRIDES)
def test_every_shape_has_its_map(stride: int, width: float, stem: str) -> None:
    """37 x 50 px give 37 / stride x 50 / stride cells, rounded up, of 256 x width channels."""
    spec = ModelSpec(name="resnet10", n_classes=2, output_stride=stride, width=width, stem=stem)
    with torch.no_grad():
        output = build_from(spec, seed=0)(_image(37, 50))
    rows, columns = -(-37 // stride), -(-50 // stride)
    assert output.feature_map_BCHW.shape == (1, spec.feature_channels, rows, columns)
    assert spec.feature_channels == 256 * width
    assert output.logits_BK.isfinite().all()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_group_keeps_its_channels_at_every_width(name: str, width: float) -> None:
    """Half the channels are normalised in half the groups; the last stage has (512 or 2048) x width channels."""
    with torch.device("meta"):
        narrow, full = (Model(ModelSpec(name=name, n_classes=2, width=w)) for w in (width, 1.0))
    sizes = [
        [m.num_channels // m.num_groups for m in net.modules() if isinstance(m, nn.GroupNorm)]
        for net in (narrow, full)
    ]
    assert sizes[0] == sizes[1]
    assert narrow.fc.in_features == narrow.spec.feature_channels == full.fc.in_features * width


@pytest.mark.parametrize(
    ("stride", "strides"),
    [(32, (2, 2, 2, 2, 2)), (16, (2, 1, 2, 2, 2)), (8, (2, 1, 2, 2, 1)), (4, (1, 1, 2, 2, 1))],
)
def test_the_small_stem_is_one_convolution(stride: int, strides: tuple[int, ...]) -> None:
    """3x3 and no pooling; stem and stages together make the output stride."""
    model = Model(ModelSpec(name="resnet10", n_classes=2, output_stride=stride, stem="small"))
    assert model.conv1.kernel_size == (3, 3)
    assert not any(isinstance(module, nn.MaxPool2d) for module in model.modules())
    firsts = [model.conv1, *(model.get_submodule(f"layer{i}.0.conv1") for i in range(1, 5))]
    assert tuple(conv.stride[0] for conv in firsts) == strides


@pytest.mark.parametrize(
    ("width", "stem", "message"), [(0.3, "standard", "width 0.3"), (1, "tiny", "'tiny'")]
)
def test_impossible_shapes_are_refused(width: float, stem: str, message: str) -> None:
    """A width or stem that does not exist is refused with what there is."""
    with pytest.raises(ValueError, match=message):
        build_model("resnet10", n_classes=2, width=width, stem=stem, seed=0)


def test_convolutions_are_not_dilated_at_a_lowered_stride() -> None:
    """At output stride 8 the last two stages have stride 1 and spacing 1 throughout."""
    model = build_model("resnet50", n_classes=2, output_stride=8, seed=0)
    last = [m for i in (3, 4) for m in model.get_submodule(f"layer{i}").modules() if isinstance(m, nn.Conv2d)]
    assert {(m.stride, m.dilation) for m in last} == {((1, 1), (1, 1))}


def _gradients(model: Model, image: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    output = model(image)
    (output.logits_BK.square().sum() + output.feature_map_BCHW.mean()).backward()
    return [output.logits_BK, *(p.grad for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("name", ["resnet10", "resnet50"])
def test_recomputing_activations_changes_no_gradient(name: str) -> None:
    """With activations recomputed, logits and all gradients stay bit-identical, and the stem runs twice."""
    model, image = build_model(name, n_classes=3, seed=0), _image(40, 56)
    runs: list[int] = []
    model.conv1.register_forward_hook(lambda module, given, output: runs.append(1))
    plain = _gradients(model, image)
    activation_checkpointing(model, True)
    recomputed = _gradients(model, image)
    assert len(runs) == 1 + 2
    assert len(plain) == len(recomputed) == 1 + len(list(model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(plain, recomputed, strict=True))


def test_images_of_a_batch_do_not_influence_each_other() -> None:
    """Logits of an image are the same alone and in a batch: what gradient accumulation rests on."""
    model, images = build_model("resnet10", n_classes=3, seed=0), _image(64, 64, batch=3)
    with torch.no_grad():
        alone = torch.cat([model(image[None]).logits_BK for image in images])
        torch.testing.assert_close(model(images).logits_BK, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet10", "resnet18", "resnet50"])
def test_smallest_image_trains(name: str) -> None:
    """An image of 5 x 5 px gives finite logits and gradients."""
    model = build_model(name, n_classes=3, seed=0)
    assert all(value.isfinite().all() for value in _gradients(model, _image(MIN_SIDE_PX, MIN_SIDE_PX)))


def test_smaller_image_is_refused_with_its_size() -> None:
    """4 px high is refused before any layer runs, naming width x height and the limit."""
    with pytest.raises(ValueError, match=r"9 x 4 px is too small: below 5 px"):
        build_model("resnet10", n_classes=3, seed=0)(_image(4, 9))


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 4, 64, 64)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    """An image without a batch axis, or with an alpha channel, is refused with its shape."""
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\); got shape \("):
        build_model("resnet10", n_classes=3, seed=0)(torch.zeros(shape))


def test_seed_alone_decides_the_weights() -> None:
    """A seed gives the same weights whatever the global generator holds, and leaves that one as it was."""
    torch.manual_seed(1)
    first = build_model("resnet10", n_classes=3, seed=5).state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again = build_model("resnet10", n_classes=3, seed=5).state_dict()
    other = build_model("resnet10", n_classes=3, seed=6).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_without_seed_the_global_generator_decides() -> None:
    """seed=None draws from PyTorch's global generator, so that torch.manual_seed repeats it."""
    torch.manual_seed(1)
    first = build_model("resnet10", n_classes=3, seed=None).fc.weight
    second = build_model("resnet10", n_classes=3, seed=None).fc.weight
    torch.manual_seed(1)
    assert torch.equal(first, build_model("resnet10", n_classes=3, seed=None).fc.weight)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("name", "n_classes", "stride", "message"),
    [
        ("resnet9", 3, 32, "no model 'resnet9'; choose one of resnet10, resnet18"),
        ("resnet10", 1, 32, "2 classes or more, got 1"),
        ("resnet10", 3, 2, r"output stride 2 is not one of \(32, 16, 8, 4\)"),
    ],
)
def test_impossible_models_are_refused(name: str, n_classes: int, stride: int, message: str) -> None:
    """A model, class count or stride that does not exist is refused with what was given and what there is."""
    with pytest.raises(ValueError, match=message):
        build_model(name, n_classes=n_classes, output_stride=stride, seed=0)
