"""Costs against hand counts, torchvision's published figures, and what autograd really keeps."""

from __future__ import annotations

import pytest
import torch
import torchvision

from kdtrain.model.flops import count, gflops_of_sizes, mean_gflops, projector_gflops
from kdtrain.model.resnet import Model, ModelSpec, build_model


def _meta(name: str, n_classes: int = 3, output_stride: int = 32) -> Model:
    with torch.device("meta"):
        return Model(ModelSpec(name=name, n_classes=n_classes, output_stride=output_stride))


def test_resnet10_counts_as_by_hand() -> None:
    """resnet10 at 64 x 64 px: kernel area · inputs · outputs · output pixels of every layer."""
    expected = {
        "conv1": 7 * 7 * 3 * 32 * 32 * 32,
        "layer1.0.conv1": 3 * 3 * 32 * 32 * 16 * 16,
        "layer1.0.conv2": 3 * 3 * 32 * 32 * 16 * 16,
        "layer2.0.conv1": 3 * 3 * 32 * 64 * 8 * 8,
        "layer2.0.conv2": 3 * 3 * 64 * 64 * 8 * 8,
        "layer2.0.downsample.0": 32 * 64 * 8 * 8,
        "layer3.0.conv1": 3 * 3 * 64 * 128 * 4 * 4,
        "layer3.0.conv2": 3 * 3 * 128 * 128 * 4 * 4,
        "layer3.0.downsample.0": 64 * 128 * 4 * 4,
        "layer4.0.conv1": 3 * 3 * 128 * 256 * 2 * 2,
        "layer4.0.conv2": 3 * 3 * 256 * 256 * 2 * 2,
        "layer4.0.downsample.0": 128 * 256 * 2 * 2,
        "fc": 256 * 3,
    }
    flops = count(_meta("resnet10"), 64, 64)
    assert dict(flops.by_layer) == expected
    assert flops.macs == sum(expected.values()) == 5016 * 64 * 64 + 256 * 3


@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 64), (1024, 2048), (32_000, 64_000)])
def test_resnet10_takes_5016_multiply_adds_per_pixel(height: int, width: int) -> None:
    """Where both sides are multiples of 32 it is exact, up to sizes that no memory would hold."""
    assert count(_meta("resnet10"), height, width).macs == 5016 * height * width + 256 * 3


def test_flops_are_two_per_multiply_add() -> None:
    """A megapixel costs resnet10 5.26 GMACs, hence 10.52 GFLOPs."""
    flops = count(_meta("resnet10"), 1024, 1024)
    assert flops.gmacs == pytest.approx(5.2597, abs=1e-4)
    assert flops.gflops == 2 * flops.gmacs


@pytest.mark.parametrize("name", ["ResNet18", "ResNet34", "ResNet50", "ResNet101", "ResNet152"])
def test_larger_networks_cost_what_torchvision_states(name: str) -> None:
    """At 224 x 224 px and 1000 classes, multiply-adds and parameters are those that torchvision publishes."""
    stated = getattr(torchvision.models, f"{name}_Weights").IMAGENET1K_V1.meta
    model = _meta(name.lower(), n_classes=1000)
    assert round(count(model, 224, 224).gmacs, 3) == stated["_ops"]
    assert sum(p.numel() for p in model.parameters()) == stated["num_params"]


def test_lower_output_stride_costs_more() -> None:
    """At output stride 16 layer 4 of resnet10 has 4 times the pixels, at 8 it has 16 times, and layer 3 has 4."""
    by_layer = {stride: count(_meta("resnet10", 3, stride), 64, 64).by_layer for stride in (32, 16, 8)}
    assert by_layer[16]["layer4.0.conv2"] == 4 * by_layer[32]["layer4.0.conv2"]
    assert by_layer[8]["layer4.0.conv2"] == 16 * by_layer[32]["layer4.0.conv2"]
    assert by_layer[8]["layer3.0.conv2"] == 4 * by_layer[32]["layer3.0.conv2"]
    assert by_layer[16]["layer3.0.conv2"] == by_layer[32]["layer3.0.conv2"]


def test_mean_is_over_images_not_pixels() -> None:
    """The mean of 64 x 64 and 32 x 96 px is half the sum of both."""
    model = _meta("resnet10")
    total = count(model, 64, 64).gflops + count(model, 32, 96).gflops
    assert mean_gflops(model, [(64, 64), (32, 96)]) == pytest.approx(total / 2)
    with pytest.raises(ValueError, match="no images"):
        mean_gflops(model, [])


def test_counting_leaves_the_model_alone() -> None:
    """A real model is counted without a hook left on it, and counts are read-only."""
    model = build_model("resnet10", n_classes=3, seed=0)
    flops = count(model, 64, 64)
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(TypeError):
        flops.by_layer["conv1"] = 0  # type: ignore[index]


def test_too_small_images_have_no_cost() -> None:
    """An image that the model refuses is refused here too."""
    with pytest.raises(ValueError, match="64 x 4 px is too small"):
        count(_meta("resnet10"), 4, 64)


@pytest.mark.parametrize(("name", "output_stride"), [("resnet10", 32), ("resnet10", 16), ("resnet18", 8)])
def test_the_costs_of_many_sizes_are_the_counts_of_each(name: str, output_stride: int) -> None:
    """Any sides, from the smallest on, twice in one list: equal to the last multiply-add."""
    model = _meta(name, output_stride=output_stride)
    sizes = [(5, 5), (5, 6), (36, 37), (37, 36), (68, 69), (1000, 333), (333, 1000), (64, 64), (5, 5)]
    assert gflops_of_sizes(model.spec, sizes) == [count(model, *size).gflops for size in sizes]


def test_an_image_too_small_among_many_is_refused() -> None:
    """The message names its size."""
    with pytest.raises(ValueError, match=r"4 px is too small|4 x"):
        gflops_of_sizes(_meta("resnet10").spec, [(64, 64), (4, 64)])


def test_a_projector_costs_a_product_of_matrices_a_cell() -> None:
    """Half of resnet10 at stride 8 on 66 x 97 px: 9 x 13 cells x 128 x 256 products."""
    spec = ModelSpec(name="resnet10", n_classes=2, output_stride=8, width=0.5)
    assert projector_gflops(spec, 256, [(66, 97)]) == [pytest.approx(2 * 9 * 13 * 128 * 256 / 1e9)]


@pytest.mark.parametrize("stem", ["standard", "small"])
def test_many_sizes_cost_as_each_at_every_shape(stem: str) -> None:
    """Counts made of sides alone are those of a forward pass on shapes, for narrow networks of any stem and stride."""
    for stride in (32, 16, 8, 4):
        spec = ModelSpec(name="resnet10", n_classes=2, output_stride=stride, width=0.25, stem=stem)
        with torch.device("meta"):
            model = Model(spec)
        sizes = [(66, 97), (40, 33), (129, 64)]
        assert gflops_of_sizes(spec, sizes) == [count(model, *size).gflops for size in sizes]
